"""Space files: what is right resolves, and `--set` changes one key of it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from space_files import GOOD, refusal, write

from l3masking.data.table import DATASETS
from l3masking.encoders.table import ENCODERS, EncoderSpec
from l3masking.errors import InputError
from l3masking.training.settings import PRESETS, FinetuneConfig
from study.space.reader import Generated, Pair, Resources, StudySpec, read_space
from study.space.spec import SECTIONS, configs
from study.space.yaml import dump_yaml

SPACES = Path(__file__).parents[3] / "search_spaces"


def test_defaults(tmp_path):
    spec = read_space(write(tmp_path, GOOD))
    assert spec.name == "small"
    assert spec.pairs == (Pair(encoder="mine", dataset="local"), Pair(encoder="mine", dataset="hub"))
    assert spec.methods == ("stl", "rtm", "l3masking")
    assert spec.objectives == ("accuracy", "macro_f1")
    assert spec.seeds == tuple(range(10))
    assert spec.finetune == FinetuneConfig()
    assert spec.resources == Resources()
    for name, cls in SECTIONS.items():
        assert getattr(spec, name) == cls()
    assert read_space(write(tmp_path, GOOD.replace("name: small", ""), "from-file.yaml")).name == "from-file"


def test_paths_start_at_the_file_and_nothing_else_is_taken_for_one(tmp_path, monkeypatch):
    folder = tmp_path / "sub"
    folder.mkdir()
    path = write(folder, GOOD)
    monkeypatch.chdir(tmp_path)
    for given in (path, Path("sub/space.yaml"), "sub/space.yaml"):
        spec = read_space(given)
        assert spec.encoders["mine"] == EncoderSpec(path=str(folder / "enc"))
        local, hub = spec.datasets["local"], spec.datasets["hub"]
        assert (local.train, local.test) == (str(folder / "a.jsonl"), "/data/c.csv")
        assert (local.mlm, local.validation) == (str(folder / "units.txt"), None)
        assert (hub.train, hub.test, hub.mlm) == ("train", "test", "instance")
    monkeypatch.setenv("HOME", "/home/somebody")
    spec = read_space(write(folder, GOOD.replace("path: enc", "path: ~/enc")))
    assert spec.encoders["mine"].path == "/home/somebody/enc"
    spec = read_space(write(folder, GOOD.replace("path: enc", "path: ~no such user/enc")))
    assert spec.encoders["mine"].path == str(folder / "~no such user/enc"), "a name as any other"


def test_lists_and_patterns_start_at_the_file_too(tmp_path, monkeypatch):
    folder = tmp_path / "run [1]"
    folder.mkdir()
    (folder / "b[0].csv").write_text("")
    monkeypatch.setenv("HOME", "/home/somebody")
    text = """
    encoders: {mine: {path: enc}}
    datasets:
      local:
        train: [a.jsonl.gz, /data/b.tsv, "sub/*.csv", "b[0].csv", ~/c.json, "https://example.org/a.csv"]
        validation: "../v?.csv"
        mlm: [units.txt, "more/**/*.txt"]
        blobs: {train: [BLOB, BLOB, BLOB, BLOB, BLOB, BLOB]}
        label_strip: true
    """.replace("BLOB", "a" * 40)
    spec = read_space(write(folder, text))
    local = spec.datasets["local"]
    assert local.train == (
        str(folder / "a.jsonl.gz"),
        "/data/b.tsv",
        str(tmp_path / "run [[]1]" / "sub" / "*.csv"),
        str(folder / "b[0].csv"),
        "/home/somebody/c.json",
        "https://example.org/a.csv",
    )
    assert local.validation == str(tmp_path / "v?.csv")
    assert local.mlm == (str(folder / "units.txt"), str(tmp_path / "run [[]1]" / "more" / "**" / "*.txt"))
    assert local.blobs == {"train": ("a" * 40,) * 6}
    assert local.label_strip
    assert read_space(write(tmp_path, dump_yaml(spec.resolved()), "again.yaml")) == spec
    changed = read_space(write(folder, text), ["datasets.local.train=x.csv", "datasets.local.blobs={}"])
    assert changed.datasets["local"].train == str(folder / "x.csv")


def test_everything_said(tmp_path):
    spec = read_space(
        write(
            tmp_path,
            """
            name: full
            description: Überblick
            encoders: {toy: {generated: toyworld}}
            datasets: {toyworld: {generated: toyworld}}
            pairs: [{encoder: toy, dataset: toyworld}, {encoder: roberta-base, dataset: imdb}]
            methods: [l3_shuffled, stl]
            objectives: [macro_f1]
            seeds: [7, 0]
            preset: paper
            optim: {lr: 1e-5, betas: [0, 0.5]}
            train: {batch: 8}
            stop: {patience: 5}
            precision: bf16
            meta:
            variants:
              surprisal: {masking.weighting: surprisal, masking: {mean: 0.3}}
            resources: {gpu: 0.25, cpu: 2, workers: 3, executor: serial}
            """,
        )
    )
    assert spec.encoders == {"toy": Generated(generated="toyworld"), "roberta-base": ENCODERS["roberta-base"]}
    assert spec.datasets == {"toyworld": Generated(generated="toyworld"), "imdb": DATASETS["imdb"]}
    assert spec.methods == ("l3_shuffled", "stl")
    assert (spec.objectives, spec.seeds) == (("macro_f1",), (7, 0))
    paper = PRESETS["paper"]
    assert spec.optim.lr == 1e-5
    assert spec.optim.betas == (0, 0.5)
    assert spec.optim.head_lr == paper["optim"]["head_lr"], "the preset fills what the file leaves open"
    assert spec.stop.patience == 5, "what the file says wins over the preset"
    assert spec.stop.count_warmup is paper["stop"]["count_warmup"]
    assert spec.finetune.train.accumulate == paper["train"]["accumulate"]
    assert spec.finetune.precision == "bf16"
    assert spec.resources == Resources(gpu=0.25, cpu=2, workers=3, executor="serial")
    variant = spec.variant("surprisal")
    assert (variant.masking.weighting, variant.masking.mean) == ("surprisal", 0.3)
    assert dataclasses.replace(variant, masking=spec.masking) == spec
    assert spec.variant(None) is spec
    with pytest.raises(InputError, match="nearest: surprisal"):
        spec.variant("suprisal")


def test_resolved_is_read_back_as_the_same_study(tmp_path):
    text = GOOD + "preset: paper\nmasking: {floor: 1e-3}\nvariants: {v: {optim.betas: [0.1, 0.2], optim.lr: 1e-6}}\n"
    spec = read_space(write(tmp_path, text), ["pairs=[{encoder: scibert, dataset: local}]"])
    (tmp_path / "elsewhere").mkdir()
    resolved = spec.resolved()
    assert read_space(write(tmp_path / "elsewhere", dump_yaml(resolved))) == spec
    assert set(resolved) == {field.name for field in dataclasses.fields(StudySpec)}
    for name, cls in SECTIONS.items():
        assert set(resolved[name]) == {field.name for field in dataclasses.fields(cls)}


def test_configs_from_settings(tmp_path):
    spec = read_space(write(tmp_path, GOOD + "optim: {betas: [0, 0.1]}\nprecision: bf16"))
    assert configs(spec.settings()) == (
        spec.scoring,
        spec.masking,
        spec.finetune,
        spec.adapt,
        spec.selective,
        spec.mask_tuning,
    )
    partial = {"scoring": {"max_length": 32}, "final": {"enabled": False}, "precision": "float32"}
    scoring, masking, finetune, *_ = configs(partial)
    assert (scoring.max_length, masking.mean, finetune.final.enabled) == (32, 0.15, False)
    with pytest.raises(InputError, match=r"optim\.lrr: unknown key"):
        configs({"optim": {"lrr": 1}})


def test_sets(tmp_path):
    path = write(tmp_path, GOOD + "variants: {v: {masking.mean: 0.3}}\npairs: [{encoder: mine, dataset: hub}]")
    sets = [
        "optim.lr=1e-5",
        "masking.mean = 0.4",
        "seeds=[3, 4]",
        "name=other",
        "encoders.mine.path=enc2",
        "encoders.bert-base.revision=abc",
        "datasets.local.validation=b.csv",
        "variants.v.masking.mean=0.5",
        "variants.v.optim.clip=2",
        "pairs.0.dataset=local",
        "resources={threads: 2}",
    ]
    spec = read_space(path, sets)
    assert (spec.optim.lr, spec.masking.mean, spec.seeds, spec.name) == (1e-5, 0.4, (3, 4), "other")
    assert spec.encoders["mine"].path == str(tmp_path / "enc2")
    assert spec.encoders["bert-base"] == dataclasses.replace(ENCODERS["bert-base"], revision="abc")
    assert spec.datasets["local"].validation == str(tmp_path / "b.csv")
    assert spec.variants["v"] == {"masking.mean": 0.5, "optim.clip": 2}
    assert spec.pairs == (Pair(encoder="mine", dataset="local"),)
    assert spec.resources.threads == 2
    assert read_space(path).optim.lr == 1e-4, "a set changes no file"


def test_a_name_with_dots_is_one_name(tmp_path):
    path = write(tmp_path, "encoders: {a: {path: x}, a.b: {path: y}}\ndatasets: {local: {train: t.csv}}")
    assert read_space(path, ["encoders.a.b.path=z"]).encoders["a.b"].path == str(tmp_path / "z")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("optim.lrr=1", ["--set: optim.lrr", "unknown key", "nearest: lr"]),
        ("optm.lr=1", ["--set: optm", "nearest: optim"]),
        ("optim.lr=fast", ["--set: optim.lr", '"fast" is not allowed', "a number"]),
        ("masking.mean=7", ["--set: masking.mean is 7", "[0, 1]"]),
        ("optim.lr=[1", ["--set optim.lr line 1: not YAML"]),
        ("optim.lr=.nan", ["--set: optim.lr", "not a finite number"]),
        ("optim.lr", ["--set 'optim.lr': expected key=value"]),
        ("=3", ["expected key=value"]),
        ("name.x=1", ["--set: name.x", "cannot be set"]),
        ("pairs.9.dataset=imdb", ["--set: pairs.9.dataset", "a list of 1 entries"]),
        ("datasets.locl.train=b.csv", ["--set: datasets.locl.train", "nearest: local"]),
        ("encoders.bert-bse.revision=x", ["--set: encoders.bert-bse.revision", "nearest: bert-base"]),
        ("variants.w.masking.mean=0.5", ["--set: variants.w.masking.mean", "no variants of this name"]),
        ("hf_token=abc", ["--set: hf_token", "looks like a secret"]),
    ],
)
def test_wrong_sets(tmp_path, given, words):
    text = GOOD + "pairs: [{encoder: mine, dataset: hub}]"
    lines = refusal(tmp_path, text, (given,))
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize("path", sorted(SPACES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_space_is_right(path: Path) -> None:
    spec = read_space(path)
    others = {"selective": {"stl", "selective", "selective_random"}, "mask": {"stl", "mask_tuning"}}
    others["ablations"] = {"rtm", "l3masking"}  # STL reads none of the choices
    kind = "mask" if path.stem.startswith("mask_tuning") else path.stem
    assert set(spec.methods) >= others.get(kind, {"stl", "rtm", "l3masking"})
    assert spec.description


def test_mask_tuning_is_judged_on_the_sets_of_its_paper(tmp_path: Path) -> None:
    found = {}
    for task in ("", "_mnli", "_qqp"):
        spec = read_space(SPACES / f"mask_tuning{task}.yaml")
        found |= {name: list(data.evaluation_sets) for name, data in spec.datasets.items()}
    assert found == {
        "sst2": ["imdb-contrast", "imdb-counterfactual"],
        "mnli": ["mnli-mismatched", "hans", "anli-r1", "anli-r2", "anli-r3"],
        "qqp": [],
    }
    shipped = (SPACES / "mask_tuning_qqp.yaml").read_text(encoding="utf-8")
    named = re.sub("^    # ", "    ", shipped, flags=re.MULTILINE)
    spec = read_space(write(tmp_path, named, "named.yaml"))
    (paws,) = spec.datasets["qqp"].evaluation_sets.values()
    assert paws.label_map == {"not_duplicate": "0", "duplicate": "1"}
    assert dataclasses.replace(spec.datasets["qqp"], evaluation_sets={}) == DATASETS["qqp"]


def test_table2_is_the_table_of_the_paper_on_all_pairs_of_the_paper() -> None:
    """Every value that Table 2 names, and every pair of Table 3 that has results."""
    spec = read_space(SPACES / "table2.yaml")
    general = [(encoder, data) for encoder in ("bert-base", "roberta-base") for data in ("acl-arc", "ohsumed", "imdb")]
    pairs = {(pair.encoder, pair.dataset) for pair in spec.pairs}
    assert pairs == {*general, ("scibert", "acl-arc"), ("clinicalbert", "ohsumed")}
    assert spec.methods == ("stl", "rtm", "l3masking")
    assert spec.objectives == ("accuracy", "macro_f1")
    assert (spec.preset, spec.precision, spec.seeds, spec.variants) == ("paper", "float32", tuple(range(10)), {})
    assert (spec.optim.lr, spec.optim.head_lr, spec.meta.head_lr) == (1e-4, 1e-4, 1e-4)
    assert (spec.train.batch, spec.train.accumulate, spec.train.max_epochs) == (64, 1, 150)
    assert (spec.scoring.metric, spec.scoring.max_length, spec.model.dropout) == ("word_l2r", 128, 0.1)
    assert (spec.masking.mean, spec.masking.mask_share, spec.masking.random_share) == (0.15, 0.8, 0.1)
    assert (spec.masking.weighting, spec.masking.redistribute) == ("complement", "equal")
    assert (spec.stop.patience, spec.evaluate.every, spec.evaluate.unit) == (3, 1, "epochs")
    assert spec.stop.count_warmup is False
    assert spec.final.enabled is False


def test_the_paper_s_grid_has_the_settings_of_the_released_run_script() -> None:
    spec, table = read_space(SPACES / "paper.yaml"), read_space(SPACES / "table2.yaml")
    assert spec.pairs == table.pairs
    assert (spec.optim.lr, spec.optim.head_lr, spec.meta.head_lr, spec.final.lr) == (1e-4, 1e-3, 1e-3, 5e-6)
    assert (spec.train.batch, spec.train.accumulate) == (64, 2)
    assert (spec.stop.patience, spec.evaluate.every, spec.evaluate.unit) == (20, 30, "updates")
    assert spec.final.enabled


def test_the_quickstart_compares_three_methods_over_three_seeds() -> None:
    spec = read_space(SPACES / "quickstart.yaml")
    assert spec.methods == ("stl", "rtm", "l3masking")
    assert len(spec.seeds) >= 3
    assert {type(source) for source in (*spec.encoders.values(), *spec.datasets.values())} == {Generated}


KNOWN_SST2 = """
encoders: {mine: {hub: a/b}}
datasets:
  more:
    known: sst2
    validation_rows: 500
    evaluation_sets: {paws: {test: paws.tsv, label_map: {negative: "0", positive: "1"}}}
"""


def test_a_known_dataset_is_declared_with_what_differs(tmp_path):
    found = read_space(write(tmp_path, KNOWN_SST2)).datasets["more"]
    sets = DATASETS["sst2"].evaluation_sets
    assert list(found.evaluation_sets) == [*sets, "paws"]
    assert found.evaluation_sets["paws"].test == str(tmp_path / "paws.tsv")
    assert found.validation_rows == 500
    assert dataclasses.replace(found, evaluation_sets=sets, validation_rows=872) == DATASETS["sst2"]
    (line,) = refusal(tmp_path, KNOWN_SST2.replace("sst2", "sst3"))
    assert 'datasets.more: known: "sst3" is no dataset; nearest: sst2' in line
    renamed = write(tmp_path, KNOWN_SST2.replace("{paws:", "{paws.v2:"))
    changed = read_space(renamed, ["datasets.more.evaluation_sets.paws.v2.text=sentence"]).datasets["more"]
    assert changed.evaluation_sets["paws.v2"].text == "sentence"
