"""A trained model put to use: kept by a repeated training, exported with its card, and used for predictions."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest
import torch
from huggingface_hub import ModelCard
from small_study import NoMirror, Said, command, marks, records, write_study
from terminals import under_terminal
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from study.store.packed import unpacked
from study.store.store import Store
from study.store.whole_files import write_atomic
from study.use.chosen import choose

CELL = "tiny/words/stl"


class Used(NamedTuple):
    """A small finished study, and what happened until its models were kept."""

    here: Path  # of small.yaml and the data
    out: Path  # of the study; read only
    refused: Said  # the first export
    repeated: Said  # of the command that it named
    before: dict[str, tuple[int, int]]  # marks of the records
    first_models: set[str]  # after that command
    planned: Said  # `plan`, before the second model
    best: dict[str, Any]  # record


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Used:
    here = tmp_path_factory.mktemp("used")
    train = {"batch": 8, "accumulate": 1, "max_epochs": 15}  # so long that texts get different classes
    space, out = write_study(here, methods=["stl"], objectives=["accuracy"], train=train), here / "out"
    with mock.patch("study.run.Mirror", NoMirror):
        assert command("run", space, "--out", out).code == 0
        before = marks(out)
        refused = command("export-model", out, CELL, "--out", here / "nothing")
        words = shlex.split(re.search("`(l3study run .*?)`", refused.err)[1])  # type: ignore[index]
        repeated = command(*words[1:])
        first = Store(out).models()
        planned = command("plan", space, "--out", out, "--set", "resources.save_models=true")
        assert command("run", space, "--out", out, "--set", "resources.save_models=true").code == 0
    found = records(out).values()
    best = max(found, key=lambda record: (record["validation"]["accuracy"], -record["seed"]))
    return Used(here, out, refused, repeated, before, first, planned, best)


@pytest.fixture(scope="module")
def model(used: Used) -> Path:
    """The exported best seed. Read only."""
    assert command("export-model", used.out, CELL, "--out", used.here / "model").code == 0
    return used.here / "model"


def predicted(*words: object) -> tuple[list[list[str]], str]:
    """The lines of a prediction, and what was said beside them."""
    said = command("predict", *words)
    assert said.code == 0, said.err
    return [line.split(",") for line in said.out.splitlines()], said.err


def texts(used: Used) -> list[str]:
    return [json.loads(line)["text"] for line in (used.here / "test.jsonl").read_text().splitlines()]


def test_without_a_model_the_command_that_keeps_it_is_named_and_true(used: Used) -> None:
    assert used.refused.code == 2
    assert used.refused.err.count("\n") == 1
    seed = used.best["seed"]
    assert f"no trained model is kept for seed {seed} (accuracy): run `l3study run" in used.refused.err
    assert "repeats the training" in used.refused.err
    assert not (used.here / "nothing").exists()
    assert used.repeated.code == 0, used.repeated.err
    assert "1 trainings chosen of 2, 1 left to run" in used.repeated.out
    assert used.first_models == {used.best["key"]}
    assert marks(used.out) == used.before, "no record is written again"
    assert Store(used.out).models() == records(used.out).keys()
    assert "models: a run repeats 1 finished trainings" in used.planned.out


def test_the_best_seed_by_validation_is_exported_and_predicts_what_was_recorded(used: Used, model: Path) -> None:
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= {f.name for f in model.iterdir()}
    assert len(set(used.best["test_predictions"])) > 1, "a model that gives every text the same class shows nothing"
    read = AutoModelForSequenceClassification.from_pretrained(model).eval()
    given = AutoTokenizer.from_pretrained(model)(texts(used), padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        assert read(**given).logits.argmax(dim=-1).tolist() == used.best["test_predictions"]
    assert list(read.config.id2label.values()) == used.best["labels"]
    assert read.config.l3masking["max_length"] == 16
    rows, said = predicted(model, used.here / "test.jsonl", "--batch", 5)
    assert rows[0] == ["row", "label", "probability", "p: first", "p: second", "p: third"]
    assert [row[0] for row in rows[1:]] == [str(number) for number in range(1, 13)]
    assert [row[1] for row in rows[1:]] == [used.best["labels"][index] for index in used.best["test_predictions"]]
    recorded = unpacked(used.best["test_probabilities"])
    for row, expected in zip(rows[1:], recorded, strict=True):
        values = [float(value) for value in row[3:]]
        assert values == pytest.approx(expected, abs=1e-3)  # half precision
        assert sum(values) == pytest.approx(1, abs=2e-6)
        assert float(row[2]) == max(values)
    assert said == "12 texts predicted into 3 classes\n"


def test_the_card_says_what_the_model_is(used: Used, model: Path) -> None:
    card = ModelCard.load(model / "README.md")
    assert (card.data.license, card.data.pipeline_tag) == ("unknown", "text-classification")
    assert card.data.library_name == "transformers"
    assert card.data.get("base_model") is None
    by_name = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert by_name["test accuracy"] == used.best["test"]["accuracy"]
    assert by_name["validation macro F1"] == used.best["validation"]["macro_f1"]
    values = [record["test"]["accuracy"] for record in records(used.out).values()]
    assert by_name["test accuracy, mean over 2 seeds"] == pytest.approx(sum(values) / 2)
    text = " ".join(card.text.split())
    for part in (
        f"This is seed {used.best['seed']}: of the finished seeds it has the highest validation accuracy",
        "n = 2 (2 of 2 seeds finished)",
        f"record of seed {used.best['seed']} | {used.best['key']}",
        f"| encoder revision | {used.best['revision']} |",
        f"Content hash `{used.best['data_hash']}`",
        "| train | 24 | 0 |",
        "Energy: not measured",
        "| its data | unknown |",
        "| scoring | max\\_length 16",
        "first; second; third",
        'pipeline("text-classification", "FOLDER")',
    ):
        assert part in text, part
    assert str(used.here) not in card.content


def test_an_export_repeats_byte_for_byte(used: Used, model: Path, tmp_path: Path) -> None:
    said = command("export-model", used.out, CELL, "--out", tmp_path / "again", "--objective", "accuracy")
    assert said.code == 0, said.err
    assert f"seed     {used.best['seed']}: best validation accuracy of 2 seeds" in said.out
    assert "class    AutoModelForSequenceClassification" in said.out
    names = sorted(path.name for path in model.iterdir())
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == names
    assert all((tmp_path / "again" / name).read_bytes() == (model / name).read_bytes() for name in names)


def test_all_seeds_are_averaged(used: Used, tmp_path: Path) -> None:
    said = command("export-model", used.out, CELL, "--out", tmp_path / "all", "--seeds", "all", "--license", "mit")
    assert said.code == 0, said.err
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["README.md", "seed-0", "seed-1"]
    card = ModelCard.load(tmp_path / "all" / "README.md")
    assert card.data.license == "mit"
    assert [result.metric_name for result in card.data.eval_results] == ["test accuracy, mean over 2 seeds"]
    assert "mit, as stated by whoever exported it" in card.text
    single = [predicted(tmp_path / "all" / f"seed-{seed}", used.here / "test.jsonl")[0] for seed in (0, 1)]
    both, said_of_both = predicted(tmp_path / "all", used.here / "test.jsonl")
    assert said_of_both == "12 texts predicted into 3 classes by 2 models together\n"
    for one, other, mean in zip(single[0][1:], single[1][1:], both[1:], strict=True):
        expected = [(float(a) + float(b)) / 2 for a, b in zip(one[3:], other[3:], strict=True)]
        assert [float(value) for value in mean[3:]] == pytest.approx(expected, abs=2e-6)


REFUSED = {
    "no such cell": (["tiny/words/slt"], "tiny/words/slt: the study has no such cell; nearest: tiny/words/stl"),
    "no such objective": ([CELL, "--objective", "macro_f1"], "--objective is 'macro_f1': not a known value"),
    "no such seeds": ([CELL, "--seeds", "worst"], "--seeds is 'worst': not a known value"),
    "a sentence as licence": ([CELL, "--license", "do what you like"], "--license 'do what you like': expected an"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_exported_costs_one_line(case: str, used: Used, tmp_path: Path) -> None:
    words, line = REFUSED[case]
    said = command("export-model", used.out, *words, "--out", tmp_path / "model")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert said.err.startswith(f"l3study: {line}")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_left_alone(used: Used, model: Path, tmp_path: Path) -> None:
    before = (model / "config.json").read_bytes()
    said = command("export-model", used.out, CELL, "--out", model)
    assert said.code == 2
    assert "something is there already" in said.err
    assert (model / "config.json").read_bytes() == before
    (tmp_path / "empty").mkdir()
    assert command("export-model", used.out, CELL, "--out", tmp_path / "empty").code == 0
    assert not list(tmp_path.glob(".*"))


def copied(used: Used, folder: Path) -> Path:
    shutil.copytree(used.out, folder / "out")
    return folder / "out"


def test_failed_seeds_are_said(used: Used, tmp_path: Path) -> None:
    out = copied(used, tmp_path)
    other = next(record for record in records(out).values() if record["key"] != used.best["key"])
    (out / "records" / f"{other['key']}.json").unlink()
    who = ("key", "encoder", "dataset", "method", "variant", "mask_mean", "objective", "seed")
    Store(out).fail({**{name: other[name] for name in who}, "reason": "no", "traceback": "", "attempts": 1})  # type: ignore[typeddict-item]
    said = command("export-model", out, CELL, "--out", tmp_path / "model", "--seeds", "all")
    assert said.code == 0, said.err
    assert "note     1 of 2 seeds have no record (1 failed)" in said.out
    assert "n = 1 (1 of 2 seeds finished, 1 failed)" in (tmp_path / "model" / "README.md").read_text()
    (out / "records" / f"{used.best['key']}.json").unlink()
    said = command("export-model", out, CELL, "--out", tmp_path / "none")
    assert "no training of this cell has finished (1 of 2 failed)" in said.err


def test_a_repetition_with_other_results_keeps_no_model(used: Used, tmp_path: Path) -> None:
    """The record comes from elsewhere: the model of this machine would not be the recorded one."""
    out, key = copied(used, tmp_path), used.best["key"]
    shutil.rmtree(out / "models" / key)
    changed = json.loads((out / "records" / f"{key}.json").read_text())
    changed["test"]["accuracy"] = 0.123
    changed.pop("checksum")
    (out / "records" / f"{key}.json").unlink()
    Store(out).commit(changed)
    kept = (out / "records" / f"{key}.json").read_bytes()
    with mock.patch("study.run.Mirror", NoMirror):
        said = command("run", used.here / "small.yaml", "--out", out, "--set", "resources.save_models=true")
    assert said.code == 1, said.err
    assert "differs in test" in said.err
    assert "its model is not kept: the training gave other results than its record" in said.out
    assert not (out / "models" / key).exists()
    assert (out / "records" / f"{key}.json").read_bytes() == kept
    said = command("export-model", out, CELL, "--out", tmp_path / "model")
    assert f"Seed {used.best['seed']} gave other results when repeated (conflicts/)" in said.err


def test_a_model_of_other_classes_is_refused(used: Used, tmp_path: Path) -> None:
    out = copied(used, tmp_path)
    write_atomic(out / "models" / used.best["key"] / "labels.json", b'["first", "second", "fourth"]')
    said = command("export-model", out, CELL, "--out", tmp_path / "model")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "its classes are not those of the record" in said.err
    assert not (tmp_path / "model").exists()


def test_equal_seeds_are_chosen_by_number(used: Used) -> None:
    from study.plan.resolved import planned

    choice = choose(used.out, planned(used.out), CELL, None, "best")
    assert choice.seeds == (used.best["seed"],)
    assert choose(used.out, planned(used.out), CELL, "accuracy", "all").seeds == (0, 1)


# ---- files of texts

PLAIN = "the red cat\r\n\nwe see oak\n \u200b \n" + "red " * 40 + "\n"


def test_a_plain_text_has_one_text_a_line(used: Used, model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(PLAIN.encode())
    rows, said = predicted(model, tmp_path / "a.txt")
    assert [row[0] for row in rows] == ["row", "1", "2", "3", "4", "5"]
    assert [bool(row[1]) for row in rows[1:]] == [True, False, True, False, True]
    assert rows[2] == ["2", "", "", "", "", ""]
    assert said == "5 texts predicted into 3 classes; cut after 16 tokens: 1; blank and without a prediction: 2\n"


def test_every_format_gives_the_same(used: Used, model: Path, tmp_path: Path) -> None:
    given = ["the red cat", "we see, oak", ""]
    (tmp_path / "a.txt").write_text("".join(f"{text}\n" for text in given))
    (tmp_path / "a.csv").write_text("id,sentence\n" + "".join(f'{n},"{text}"\n' for n, text in enumerate(given)))
    (tmp_path / "a.tsv").write_text("sentence\tid\n" + "".join(f"{text}\t{n}\n" for n, text in enumerate(given)))
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"sentence": text}) + "\n" for text in given))
    expected = predicted(model, tmp_path / "a.txt")
    for name in ("a.csv", "a.tsv", "a.jsonl"):
        assert predicted(model, tmp_path / name, "--text-column", "sentence") == expected
    said = command("predict", model, tmp_path / "a.txt", "--format", "jsonl", "--out", tmp_path / "out" / "b.jsonl")
    assert (said.code, said.out) == (0, "")
    entries = [json.loads(line) for line in (tmp_path / "out" / "b.jsonl").read_text().splitlines()]
    assert [entry["label"] for entry in entries] == [row[1] or None for row in expected[0][1:]]
    assert entries[0].keys() == {"row", "label", "probability", "probabilities"}
    assert list(map(str, entries[0]["probabilities"].values())) == expected[0][1][3:]
    assert entries[2] == {"row": 3, "label": None, "probability": None, "probabilities": None}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.jsonl"]


def test_a_bar_on_the_terminal_leaves_the_predictions_alone(used: Used, model: Path, tmp_path: Path) -> None:
    words = ["l3study", "predict", str(model), str(used.here / "test.jsonl")]
    code = f"""
import sys
sys.argv, sys.stdout = {words!r}, open({str(tmp_path / "out.csv")!r}, "w")
from study.cli import main
main()
"""
    said, exit_code = under_terminal(code, columns=80)
    assert exit_code == 0, said
    assert "100%" in said
    assert "12 texts predicted into 3 classes" in said
    assert "probability" not in said
    assert [line.split(",") for line in (tmp_path / "out.csv").read_text().splitlines()] == predicted(*words[2:])[0]


BAD_FILES = {
    "no column": ("a.csv", "sentence,id\nx,1\n", [], "no column `text`; the columns there are: 'sentence', 'id'. "
                  "Name the right one with --text-column"),
    "no key": ("a.jsonl", '{"sentence": "x"}\n', [], "line 1: no column `text`; the columns there are: 'sentence'"),
    "no pair column": ("a.csv", "text\nx\n", ["--pair-column", "b"], "this model reads single texts"),
    "no text": ("a.txt", "", [], "is empty: one text a line is needed"),
    "no rows": ("a.csv", "text\n", [], "holds no rows: it needs one or more with `text`"),
    "JSON lines": ("a.txt", '{"text": "x"}\n', [], "line 1 is a JSON object: let the name of the file end in .jsonl"),
    "null": ("a.jsonl", '{"text": null}\n', [], "`text` is null"),
    "other bytes": ("a.txt", "caf\u00e9", [], "is not UTF-8"),
    "an odd format": ("a.txt", "x", ["--format", "xml"], "--format is 'xml': not a known value"),
    "an odd device": ("a.txt", "x", ["--device", "tpu"], "--device is 'tpu': not a known value"),
    "no batch": ("a.txt", "x", ["--batch", "0"], "--batch 0: at least 1"),
    "no column in plain text": ("a.txt", "x", ["--text-column", "b"], "a plain text has no columns for --text-column"),
    "a number": ("a.jsonl", '{"text": 3}\n', [], "`text` is 3, of type int; a text must be a string"),
    "the input as output": ("a.txt", "x", ["--out", "a.txt"], "that is the input; give another file"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_file_that_cannot_be_read_costs_one_line(
    case: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, content, words, line = BAD_FILES[case]
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    monkeypatch.chdir(tmp_path)
    said = command("predict", model, name, *words)
    assert (said.code, said.err.count("\n"), said.out) == (2, 1, "")
    assert line in said.err
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_that_is_not_there_costs_one_line(model: Path, tmp_path: Path) -> None:
    for file, why in ((tmp_path / "no.csv", "No such file or directory"), (tmp_path, "Is a directory")):
        said = command("predict", model, file)
        assert (said.code, said.err) == (2, f"l3study: cannot read {file} ({why}): give a file with the texts\n")


def test_a_folder_that_is_no_export_is_refused(used: Used, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x\n")
    for folder, words in ((used.here / "encoder", "it has no `l3masking`"), (tmp_path, "config.json is missing")):
        said = command("predict", folder, tmp_path / "a.txt")
        assert (said.code, said.err.count("\n")) == (2, 1)
        assert words in said.err
