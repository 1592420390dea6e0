"""What is wrong in a space file is refused by place, value and nearest name, all at once."""

from __future__ import annotations

import pytest
from space_files import GOOD, refusal

from l3masking.data.table import DATASETS
from l3masking.encoders.table import EncoderSpec
from study.space.reader import Generated, Pair, Resources
from study.space.spec import SECTIONS
from study.space.yaml import dump_yaml

BROKEN = {  # what is added to GOOD -> words of the one line about it
    "serch: {trials: 20}": ["serch", "unknown key", "known: name"],
    "seed: 3": ["seed", "unknown key", "nearest: seeds"],
    "lr: 1e-5": ["lr: unknown key", "it belongs into optim.lr"],
    "optim: {learning_rate: 1e-4}": ["optim.learning_rate", "unknown key", "known: lr"],
    "optim: {head_Ir: 1e-4}": ["optim.head_Ir", "unknown key (its value: 0.0001)", "nearest: head_lr"],
    "optim: {lr: fast}": ["optim.lr", '"fast"', "expected a number"],
    "optim: {lr: '1e-5'}": ["optim.lr", '"1e-5"', "expected a number"],
    "optim: {lr: true}": ["optim.lr", "true is not allowed", "expected a number"],
    "optim: {lr: .nan}": ["optim.lr", "line 7", ".nan is not a finite number"],
    "optim: {lr: .inf}": ["optim.lr", ".inf is not a finite number"],
    "optim: {lr: 1e999}": ["optim.lr", "1e999 is not a finite number"],
    "optim: {lr: -1}": ["optim.lr is -1", "above 0"],
    "optim: {betas: 0.9}": ["optim.betas", "expected a list"],
    "optim: {betas: [0.9]}": ["optim.betas[1]", "needs a value"],
    "optim: {betas: [0.9, 0.98, 0.99]}": ["optim.betas", "more than 2"],
    "optim: 3": ["optim: 3 is not allowed", "keys and values"],
    "optim: {lr: 1e-4}\noptim: {lr: 1e-5}": ["optim: line 8", "a second time (first on line 7)"],
    "train: {batch: 32.5}": ["train.batch", "a whole number"],
    "train: {batch: 0}": ["train.batch is 0", "at least 1"],
    "stop: {count_warmup: on}": ["stop.count_warmup", '"on"', "true or false"],
    "evaluate: {unit: epoch}": ["evaluate.unit", "nearest: epochs", "known: updates, epochs"],
    "masking: {mean: 1.2}": ["masking.mean is 1.2", "[0, 1]"],
    "masking: {mean: -0.1}": ["masking.mean is -0.1", "[0, 1]"],
    "masking: {floor: 0.5}": ["masking.floor is 0.5", "masking.mean"],
    "masking: {weighting: complment}": ["masking.weighting", "nearest: complement"],
    "scoring: {metric: word-l2r}": ["scoring.metric", "nearest: word_l2r", "original"],
    "scoring: {max_length: 2}": ["scoring.max_length is 2", "at least 3"],
    "precision: fp16": ["precision", '"fp16"', "known: float32, bf16"],
    "preset: papr": ["preset", "nearest: paper"],
    "methods: [stl, l3maskin]": ["methods[1]", "nearest: l3masking", "rtm"],
    "methods: [stl, rtm, stl]": ["methods[2]", "stl is there already"],
    "methods: stl": ["methods", "expected a list"],
    "methods: []": ["methods", "expected a list"],
    "objectives: [accuracy, f1]": ["objectives[1]", "macro_f1"],
    "seeds: 0": ["seeds", "expected how many"],
    "seeds: true": ["seeds", "expected how many"],
    "seeds: ten": ["seeds", '"ten"', "expected how many"],
    "seeds: [0, 1, 1]": ["seeds[2]", "1 is there already"],
    "seeds: [0, -1]": ["seeds[1]", "a whole number from 0 to 999999"],
    "seeds: [1000000]": ["seeds[0]", "a whole number from 0 to 999999"],
    "pairs: []": ["pairs", "at least one"],
    "pairs: [{encoder: bert-bas, dataset: imdb}]": ["pairs[0].encoder", "nearest: bert-base", "clinicalbert"],
    "pairs: [{encoder: mine, dataset: acl_arc}]": ["pairs[0].dataset", "nearest: acl-arc", "ohsumed"],
    "pairs: [{encoder: mine}]": ["pairs[0].dataset", "needs a value"],
    "pairs: [{encoder: mine, data: imdb, dataset: imdb}]": ["pairs[0].data", "unknown key", "nearest: dataset"],
    "pairs: [{encoder: mine, dataset: hub}, {encoder: mine, dataset: hub}]": ["pairs[1]", "there already"],
    "pairs: [mine]": ["pairs[0]", "keys and values"],
    "name: ../../x": ["name", '"../../x" is no name'],
    "name: .hidden": ["name", "without a dot in front"],
    "name: 2026": ["name", "2026 is no name"],
    f"name: {'a' * 65}": ["name", "1 to 64"],
    "description: [a]": ["description", "expected text"],
    "variants: {v: {masking.weigthing: surprisal}}": ["variants.v.masking.weigthing", "nearest: masking.weighting"],
    "variants: {v: {masking.mean: 2}}": ["variants.v.masking.mean is 2", "[0, 1]"],
    "variants: {v: {masking: {mean: lots}}}": ["variants.v.masking.mean", '"lots"', "a number"],
    "variants: {v: {precision: fp16}}": ["variants.v.precision", "known: float32, bf16"],
    "variants: {v: {seeds: 3}}": ["variants.v.seeds", "unknown key"],
    "variants: {v: }": ["variants.v", "dotted keys and values"],
    "variants: {a/b: {masking.mean: 0.2}}": ["variants.a/b", "is no name"],
    "variants: [v]": ["variants", "expected names"],
    "resources: {gpu: 1.5}": ["resources.gpu is 1.5", "whole number, or auto"],
    "resources: {gpu: autos}": ['resources.gpu: "autos" is not allowed', "expected a number, or auto"],
    "resources: {gpu: true}": ["resources.gpu: true is not allowed", "expected a number, or auto"],
    "resources: {checkpoint_minutes: -1}": ["resources.checkpoint_minutes is -1", "0 or more, or null"],
    "resources: {checkpoint_minutes: .inf}": ["resources.checkpoint_minutes"],
    "resources: {patience_minutes: 0}": ["resources.patience_minutes is 0", "above 0, or null"],
    "resources: {patience_minutes: .nan}": ["resources.patience_minutes"],
    "resources: {cpu: 0}": ["resources.cpu is 0", "above 0"],
    "resources: {threads: 0}": ["resources.threads is 0", "at least 1"],
    "resources: {gpus: 1}": ["resources.gpus", "nearest: gpu"],
    "resources: {executor: local}": ["resources.executor", "known: ray, serial"],
    "hf_token: hf_CANARY123456789": ["hf_token", "looks like a secret"],
    "resources: {password: geheim}": ["resources.password", "looks like a secret"],
    "description: use hf_CANARY123456789": ["description", "looks like a Hub token"],
}


@pytest.mark.parametrize("added", BROKEN)
def test_broken_spaces(tmp_path, added):
    key = added.split(":")[0]
    text = "\n".join(line for line in GOOD.splitlines() if not line.startswith(f"{key}:")) + "\n" + added
    lines = refusal(tmp_path, text)
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"{tmp_path / 'space.yaml'}: ")
    for word in BROKEN[added]:
        assert word in lines[0]
    assert "CANARY" not in lines[0]
    assert "geheim" not in lines[0]


DECLARED = {
    "encoders: {mine: {path: enc, hub: a/b}}": ["encoders.mine", "not both"],
    "encoders: {mine: {pth: enc, hub: a/b}}": ["encoders.mine.pth", "nearest: path"],
    "encoders: {mine: enc}": ["encoders.mine", "keys and values"],
    "encoders: {mine: {generated: toywrld}}": ["encoders.mine.generated", "nearest: toyworld"],
    "encoders: {mine: {generated: toyworld, path: x}}": ["encoders.mine.path", "unknown key"],
    "encoders: {a b: {hub: a/b}, mine: {hub: a/b}}": ["encoders.a b", "is no name"],
    "encoders: {.mine: {hub: a/b}, mine: {hub: a/b}}": ["encoders..mine", "is no name"],
    "encoders: [mine]": ["encoders", "expected names"],
    "datasets: {local: {train: a.jsonl, validation: b.txt}}": ["datasets.local.validation is", ".jsonl"],
    "datasets: {local: {test: a.jsonl}}": ["datasets.local.train", "needs a value"],
    "datasets: {local: {train: 3}}": ["datasets.local.train", "expected text"],
    "datasets: {local: {train: [a.csv, 3]}}": ["datasets.local.train[1]", "3 is not allowed", "expected text ("],
    "datasets: {local: {train: [[a.csv]]}}": ["datasets.local.train[0]", "expected text ("],
    "datasets: {local: {train: {a: b}}}": ["datasets.local.train", "expected text or a list of texts"],
    "datasets: {local: {train: []}}": ["datasets.local.train is []", "a list names one file or more"],
    "datasets: {local: {train: [a.csv, b.txt]}}": ["datasets.local.train is", "b.txt", ".tsv"],
    "datasets: {local: {train: a.csv, mlm: 3}}": ["datasets.local.mlm", "expected text or a list of texts"],
    "datasets: {local: {train: [a.csv], blobs: {train: [3]}}}": ["datasets.local.blobs.train[0]", "expected text ("],
    "datasets: {local: {train: a.csv, blobs: {train: 3}}}": ["datasets.local.blobs.train", "expected text or a list"],
    "datasets: {local: {train: a.csv, label_strip: 1}}": ["datasets.local.label_strip", "true or false"],
    "datasets: {local: {train: a.csv, validation_share: 2}}": ["datasets.local.validation_share is 2"],
    "datasets: {local: {train: a.csv, rows: {train: x}}}": ["datasets.local.rows.train", "a whole number"],
    "datasets: {local: {train: a.csv, overlap: drop}}": ["datasets.local.overlap", "known: keep"],
    "datasets: {local: {train: a.csv, lable: y}}": ["datasets.local.lable", "nearest: label"],
}


@pytest.mark.parametrize("changed", DECLARED)
def test_broken_declarations(tmp_path, changed):
    key = changed.split(":")[0]
    kept = {"encoders": "encoders: {mine: {path: enc}}", "datasets": "datasets: {local: {train: a.jsonl}}"}
    text = "\n".join([*(line for name, line in kept.items() if name != key), changed])
    lines = refusal(tmp_path, text + "\npairs: [{encoder: mine, dataset: local}]")
    if key == "encoders" and "[" in changed:  # then the pair's encoder is unknown as well
        lines = lines[:1]
    assert len(lines) == 1, lines
    for word in DECLARED[changed]:
        assert word in lines[0]


@pytest.mark.parametrize("text", ["", "[]", "just text", "3"])
def test_what_is_no_mapping_is_no_space(tmp_path, text):
    assert "expected keys and values" in refusal(tmp_path, text)[0]


def test_a_study_without_pairs_is_refused(tmp_path):
    assert "pairs: at least one is needed" in refusal(tmp_path, "name: x\npairs: []")[0]
    no_encoders = refusal(tmp_path, "name: x\ndatasets: {local: {train: a.csv}}")
    assert len(no_encoders) == 1
    assert "encoders: none declared; declare one, such as {bert: {hub:" in no_encoders[0]
    no_datasets = refusal(tmp_path, "name: x\nencoders: {local: {path: a}}\ndatasets:")
    assert len(no_datasets) == 1
    assert "datasets: none declared; declare one, such as {mine: {train:" in no_datasets[0]


def test_all_problems_at_once(tmp_path):
    text = """
    name: ../x
    encoders: {mine: {pth: enc}}
    datasets: {local: {train: a.jsonl}}
    methods: [rmt]
    optim: {lr: 0, eps: -1, clip: 1}
    masking: {mean: 2, mask_share: 3}
    masking: {mean: 1}
    stop: {patience: .nan}
    seeds: [0, 0]
    """
    lines = refusal(tmp_path, text)
    for words in (
        "name: ",
        "encoders.mine.pth",
        "methods[0]",
        "optim.lr is 0.0",
        "optim.eps is -1.0",
        "masking.mean is 2",
        "masking.mask_share is 3",
        "masking: line 8",
        "stop.patience: line 9",
        "seeds[1]",
    ):
        assert sum(words in line for line in lines) == 1, (words, lines)
    assert not any("optim.clip" in line for line in lines)
    assert len(lines) == 10, lines


NASTY = ["../x", "/etc", "a/b", "..", ".", ".a", "", "a b", "a\\b", "a\n", "é", "CON:", "~", "$x"]
NASTY += ["x/../../y", "..\\..\\x", "a" * 65, "\u202egnp", "file:///etc", "a\x1b[31m", "%2e%2e%2fx", "a\x00b"]
NAMED = {
    "encoders": {"hub": "a/b"},
    "datasets": {"train": "a.csv"},
    "variants": {"masking.mean": 0.2},
    "corpora": {"files": "a.txt"},
    "arms": {"like": "rtm"},
    "policies": {"file": "a.py"},
}


@pytest.mark.parametrize("name", NASTY)
def test_nasty_names(tmp_path, name):
    """S8, S-c: what is no name becomes no part of a path."""
    for kind, inner in NAMED.items():
        space = {"encoders": {"mine": {"hub": "a/b"}}, "datasets": {"local": {"train": "a.csv"}}, "variants": {}}
        space["pairs"] = [{"encoder": "mine", "dataset": "local"}]
        space.setdefault(kind, {})[name] = inner
        (line,) = refusal(tmp_path, dump_yaml(space))
        assert "is no name" in line
    space = {"name": name, "encoders": {"mine": {"hub": "a/b"}}, "datasets": {"local": {"train": "a.csv"}}}
    assert "is no name" in refusal(tmp_path, dump_yaml(space))[0]


def test_every_configuration_refuses_an_unknown_key():
    for cls in (*SECTIONS.values(), Resources, Generated, Pair, EncoderSpec, type(DATASETS["imdb"])):
        assert cls.__pydantic_config__ == {"extra": "forbid"}, cls
