"""A whole study passes; each kind of damage costs one line and exit code 1; nothing is written, and nothing is run."""

from __future__ import annotations

import dataclasses
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from harmful import Harm, harm
from small_study import SPACE, NoMirror, command, records, resolved_text, write_study

from l3masking.encoders.table import EncoderSpec
from study.plan.resolved import planned
from study.store.seal import checksum, seal, with_checksum
from study.store.store import KEPT_WEIGHTS, Store
from study.verify.data_checks import KnownLabels, say_misfits
from study.verify.origins import check_sources
from study.verify.verification import Verification
from study.verify.whole_study import verify_study


@pytest.fixture
def here(finished_study: Path, tmp_path: Path) -> Path:
    """A copy of the finished study that may be damaged."""
    shutil.copytree(finished_study / "out", tmp_path / "out")
    return tmp_path / "out"


def state(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """All that a reader could change: names, times and contents."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(root)): (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in files
    }


def record_files(root: Path) -> list[Path]:
    return sorted((root / "records").glob("*.json"))


def said(verdict: Verification) -> list[str]:
    return list(map(str, verdict.findings))


def sealed_again(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a record as somebody would who knows how to make its checksum right again."""
    record = json.loads(path.read_bytes())
    change(record)
    path.write_bytes(seal(record))


def changed_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    value = json.loads(path.read_bytes())
    change(value)
    path.write_text(json.dumps(value))


def forged_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """By somebody who makes the checksums right again."""
    value = json.loads(path.read_bytes())
    change(value)
    inner = {"run": with_checksum(value["run"])} if "run" in value else with_checksum(value)
    path.write_text(json.dumps(value | inner))


def test_a_study_as_it_was_left_is_right_and_stays_as_it_is(here: Path) -> None:
    before = state(here)
    found = command("verify", here)
    assert found.code == 0, found.out
    assert "0 findings" in found.out.splitlines()[-1]
    assert "12 records, 1 scores folders, 1 encoders, 1 datasets" in found.out
    assert "20 tables" in found.out
    assert "report.html were not compared" not in found.out, "the program that made it is this one"
    assert state(here) == before


def test_json_has_counts_findings_and_notes(here: Path) -> None:
    (here / "tables" / "results.csv").write_text("changed\n")
    found = command("verify", here, "--json")
    value = json.loads(found.out)
    assert found.code == 1
    assert value["checked"]["records"] == 12
    assert [finding["file"] for finding in value["findings"]] == ["tables/results.csv"]
    assert value.keys() == {"study", "program", "checked", "findings", "notes"}


def test_no_study_is_wrong_usage(tmp_path: Path) -> None:
    assert command("verify", tmp_path).code == 2


def flip(root: Path) -> str:
    path = record_files(root)[0]
    data = path.read_bytes()
    at = data.index(b'"epoch":') + len(b'"epoch":')
    path.write_bytes(data[:at] + (b"7" if data[at : at + 1] != b"7" else b"8") + data[at + 1 :])
    return f"records/{path.name}: its checksum does not match its content: it was changed after it was written"


def cut(root: Path) -> str:
    path = record_files(root)[0]
    path.write_bytes(path.read_bytes()[:200])
    return f"records/{path.name}: not whole JSON: it is cut off or overwritten"


def empty(root: Path) -> str:
    path = record_files(root)[0]
    path.write_bytes(b"")
    return f"records/{path.name}: not whole JSON: it is cut off or overwritten"


def foreign(root: Path) -> str:
    path = record_files(root)[0]
    record: Any = {"schema": 1, "key": path.stem, "results": [1, 2]}
    path.write_text(json.dumps(record | {"checksum": checksum(record)}))
    return f"records/{path.name}: lacks the field curve: not the layout of a record"


def further_field(root: Path) -> str:
    path = record_files(root)[0]
    sealed_again(path, lambda record: record.update(added=1))
    return f"records/{path.name}: has the field added, which this program does not know: not the layout of a record"


def newer(root: Path) -> str:
    path = record_files(root)[0]
    sealed_again(path, lambda record: record.update(schema=2))
    return f"records/{path.name}: schema 2, this program reads 1: a newer l3study wrote it, which can check it"


def settings(root: Path) -> str:
    path = record_files(root)[0]
    sealed_again(path, lambda record: record["settings"]["optim"].update(lr=1.0))
    text = "its key does not follow from its settings, seed, data and encoder: one of them was changed"
    return f"records/{path.name}: {text}"


def objective(root: Path) -> str:
    path = record_files(root)[0]
    other = {"accuracy": "macro_f1", "macro_f1": "accuracy"}
    sealed_again(path, lambda record: record.update(objective=other[record["objective"]]))
    return (
        f"records/{path.name}: its key does not follow from its training and objective: it was changed and sealed again"
    )


def value(root: Path) -> str:
    path = record_files(root)[0]
    before = json.loads(path.read_bytes())["test"]["accuracy"]
    sealed_again(path, lambda record: record["test"].update(accuracy=0.999))
    return f"records/{path.name}: test: predictions and labels give accuracy {before:.6g}, recorded is 0.999"


def prediction_out_of_range(root: Path) -> str:
    path = record_files(root)[0]
    sealed_again(path, lambda record: record["test_predictions"].__setitem__(0, 3))
    return f"records/{path.name}: test: a prediction is none of its 3 classes"


def prediction_beyond_any(root: Path) -> str:
    path = record_files(root)[0]
    sealed_again(path, lambda record: record["test_predictions"].__setitem__(0, 10**30))
    return f"records/{path.name}: test: a prediction is none of its 3 classes"


def less_probable(root: Path) -> str:
    path = record_files(root)[0]

    def change(record: dict[str, Any]) -> None:
        record["test_predictions"][0] = (record["test_predictions"][0] + 1) % 3

    sealed_again(path, change)
    return f"records/{path.name}: test: 1 predictions are not the most probable class"


def a_link(root: Path) -> str:
    path = record_files(root)[0]
    path.rename(root / "elsewhere.json")
    path.symlink_to(root / "elsewhere.json")
    return f"records/{path.name}: not a plain file"


def no_record(root: Path) -> str:
    path = next(path for path in record_files(root) if json.loads(path.read_bytes())["method"] == "rtm")
    record = json.loads(path.read_bytes())
    path.unlink()
    return f"records: missing: tiny / words / rtm / {record['objective']}, seeds {record['seed']}"


def failure_cut(root: Path) -> str:
    path = root / "failures" / f"{'0' * 32}.json"
    path.parent.mkdir()
    path.write_text("{")
    return f"failures/{path.name}: not whole JSON: it is cut off or overwritten"


def data_file(root: Path) -> Path:
    return next((root / "data").iterdir())


def label(root: Path) -> str:
    forged_json(data_file(root), lambda facts: facts["splits"]["test"]["labels"].__setitem__(0, 1))
    text = "test: its labels are not as many of each class as it counts: a label was changed"
    return f"data/{data_file(root).name}: {text}"


def data_cut(root: Path) -> str:
    data_file(root).write_bytes(data_file(root).read_bytes()[:-50])
    return f"data/{data_file(root).name}: not whole JSON: it is cut off or overwritten"


def data_newer(root: Path) -> str:
    changed_json(data_file(root), lambda facts: facts.update(schema=9))
    text = "schema 9, this program reads 1: a newer l3study wrote it, which can check it"
    return f"data/{data_file(root).name}: {text}"


def score_folder(root: Path) -> Path:
    return next((root / "scores").iterdir())


def part_dropped(root: Path) -> str:
    part = next(score_folder(root).glob("part-*"))
    part.unlink()
    return f"scores/{score_folder(root).name}/{part.name}: missing"


def part_changed(root: Path) -> str:
    part = next(score_folder(root).glob("part-*"))
    part.write_bytes(part.read_bytes()[:-1] + b"X")
    text = "its content is not what its name says: it was changed or cut off"
    return f"scores/{score_folder(root).name}/{part.name}: {text}"


def manifest_dropped(root: Path) -> str:
    (score_folder(root) / "manifest.json").unlink()
    return f"scores/{score_folder(root).name}/manifest.json: missing"


def manifest_flip(root: Path) -> str:
    path = score_folder(root) / "manifest.json"
    path.write_text(path.read_text().replace('"fast"', '"fasu"'))
    return f"scores/{score_folder(root).name}/manifest.json: its checksum does not match its content"


def seconds_flip(root: Path) -> str:
    changed_json(record_files(root)[0], lambda record: record["run"].update(seconds=1e9))
    return f"records/{record_files(root)[0].name}: the checksum of its `run` does not match its content"


def label_flip(root: Path) -> str:
    changed_json(data_file(root), lambda facts: facts["splits"]["test"]["labels"].__setitem__(0, 1))
    return f"data/{data_file(root).name}: its checksum does not match its content"


def manifest_settings(root: Path) -> str:
    forged_json(score_folder(root) / "manifest.json", lambda manifest: manifest["scoring"].update(max_length=99))
    text = "its key does not follow from its settings and the encoders and data of the study"
    return f"scores/{score_folder(root).name}/manifest.json: {text}"


def looks_changed(root: Path) -> str:
    changed_json(root / "looks.json", lambda value: value["looks"][0].update(seeds=1))
    return "looks.json: its checksum does not match its content"


def table_digit(root: Path) -> str:
    path = root / "tables" / "results.csv"
    lines = path.read_text().splitlines()
    lines[1] = lines[1].replace("0.", "0.9", 1)
    path.write_text("\n".join(lines) + "\n")
    return "tables/results.csv: not what the records give: line 2 has"


def table_removed(root: Path) -> str:
    (root / "tables" / "classes.csv").unlink()
    return "tables/classes.csv: missing: the records give this table"


def picture(root: Path) -> str:
    (root / "figures" / "results.png").write_bytes(b"\x89PNG another")
    return "figures/results.png: changed after it was drawn"


def page(root: Path) -> str:
    path = root / "report.html"
    path.write_text(path.read_text().replace("<body", "<script>alert(1)</script><body", 1))
    return "report.html: not what the records give: line"


def plan(root: Path) -> str:
    path = root / "resolved.yaml"
    value = yaml.safe_load(path.read_text())
    value["optim"]["lr"] = 1.0
    path.write_text(yaml.safe_dump(value))
    text = "none of the 12 records belongs to its plan: they were made with other settings, data or encoders"
    return f"resolved.yaml: {text}"


def plan_cut(root: Path) -> str:
    path = root / "resolved.yaml"
    path.write_text("name: [")
    return "resolved.yaml: cannot be read: "


DAMAGES = [
    *(flip, cut, empty, foreign, further_field, newer, settings, objective, value, prediction_out_of_range),
    prediction_beyond_any,
    *(
        less_probable,
        a_link,
        no_record,
        failure_cut,
        label,
        data_cut,
        data_newer,
        part_dropped,
        part_changed,
        manifest_dropped,
    ),
    *(
        manifest_settings,
        manifest_flip,
        seconds_flip,
        label_flip,
        looks_changed,
        table_digit,
        table_removed,
        picture,
        page,
        plan,
        plan_cut,
    ),
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_each_kind_of_damage_has_its_one_line(here: Path, damage: Callable[[Path], str]) -> None:
    wanted = damage(here)
    before = state(here)
    found = said(verify_study(here))
    assert len(found) == 1, found
    assert found[0].startswith(wanted)
    assert state(here) == before


def test_swapped_records_are_both_named(here: Path) -> None:
    first, second = record_files(here)[:2]
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])
    found = command("verify", here)
    assert found.code == 1
    assert found.out.splitlines()[:2] == [
        f"records/{first.name}: holds the key '{second.stem}': it is another record under this name",
        f"records/{second.name}: holds the key '{first.stem}': it is another record under this name",
    ]


def test_other_labels_than_those_of_the_data_are_found_where_the_data_are(tmp_path: Path) -> None:
    """A study of its own: a model that predicts a single class is as accurate on labels in any order."""

    def change(facts: dict[str, Any]) -> None:
        test = facts["splits"]["test"]
        test["labels"] = sorted(test["labels"])  # the counts stay

    root, train = tmp_path / "out", SPACE["train"] | {"max_epochs": 8}
    with mock.patch("study.run.Mirror", NoMirror):
        assert command("run", write_study(tmp_path, methods=["stl"], train=train), "--out", root).code == 0
    made = records(root)
    assert len(made) == 4
    assert all(len(set(record["test_predictions"])) > 1 for record in made.values())
    forged_json(data_file(root), change)
    found = [line for line in said(verify_study(root)) if not line.startswith(("tables/", "figures/", "report"))]
    assert len(found) == 1
    start = f"data/{data_file(root).name}: its labels fit none of the 4 values in the records (test: predictions and"
    assert found[0].startswith(start)


def test_labels_that_fit_no_record_are_one_line_and_else_the_record_is_to_blame() -> None:
    known = KnownLabels(misfits={"ab": [("records/1.json", "test: this"), ("records/2.json", "test: that")]})
    verdict = Verification()
    say_misfits(known, verdict)
    assert said(verdict) == ["data/ab.json: its labels fit none of the 2 values in the records (test: this)"]
    known.fits["ab"] = 1
    verdict = Verification()
    say_misfits(known, verdict)
    assert said(verdict) == ["records/1.json: test: this", "records/2.json: test: that"]


def test_records_of_earlier_settings_are_no_fault(here: Path) -> None:
    path = here / "resolved.yaml"
    value = yaml.safe_load(path.read_text())
    value["methods"] = ["stl", "rtm"]
    value["compare"]["questions"] = []
    path.write_text(yaml.safe_dump(value))
    found = verify_study(here)
    assert not [finding for finding in found.findings if not finding.file.startswith(("tables", "figures", "report"))]
    assert "4 records belong to no training of the plan: they are of earlier settings" in found.notes


def test_a_link_in_the_place_of_a_folder_is_not_followed(here: Path) -> None:
    (here / "records").rename(here.parent / "elsewhere")
    (here / "records").symlink_to(here.parent / "elsewhere")
    found = verify_study(here)
    assert found.checked["records"] == 0
    assert len(found.findings) == 6, "one for each cell of the plan"


def test_nothing_of_a_study_is_run(here: Path, tmp_path: Path) -> None:
    mark = tmp_path / "it-ran"
    payload, part = pickle.dumps(Harm(mark)), next(score_folder(here).glob("part-*"))
    harm(here, mark)
    for name in ("data/labels.json", "models/x/model.safetensors"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(payload)
    part.write_bytes(payload)
    found = command("verify", here)
    assert not mark.exists()
    assert found.code == 1
    assert "Note: policy own: its code was not run" in found.out
    assert f"scores/{part.parent.name}/{part.name}: its content is not what its name says" in found.out


def test_a_tag_in_resolved_yaml_is_refused_and_not_run(here: Path, tmp_path: Path) -> None:
    mark = tmp_path / "it-ran"
    path = here / "resolved.yaml"
    path.write_text(resolved_text(here) + f"\nstolen: !!python/object/apply:os.system ['touch {mark}']\n")
    found = said(verify_study(here))
    assert len(found) == 1
    assert found[0].startswith("resolved.yaml: cannot be read: ")
    assert not mark.exists()


def test_names_in_the_output_hold_no_control_characters(here: Path) -> None:
    (here / "records" / "\x1b[31mred\u202e.json").write_text("{}")
    out = command("verify", here).out
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_mixed_versions_are_said_and_are_no_fault(here: Path) -> None:
    forged_json(record_files(here)[0], lambda record: record["run"]["versions"].update(torch="9.9"))
    assert command("export", here).code == 0  # tables say it too
    found = verify_study(here)
    assert found.findings == []
    assert any(note.startswith("records were made with more than one torch: ") for note in found.notes)


def test_data_and_encoder_of_this_machine_are_held_against_the_study(here: Path, finished_study: Path) -> None:
    folder = here.parent / "sources"
    shutil.copytree(finished_study, folder, ignore=shutil.ignore_patterns("out"))
    path = here / "resolved.yaml"
    path.write_text(resolved_text(here).replace(str(finished_study), str(folder)))
    assert verify_study(here).findings == []
    test = folder / "test.jsonl"
    test.write_text(test.read_text().replace("first", "second", 1))
    (folder / "encoder" / "config.json").write_text((folder / "encoder" / "config.json").read_text() + "\n")
    found = said(verify_study(here))
    assert [line.split(" has ")[0] for line in found] == [
        "resolved.yaml: encoder tiny",
        "resolved.yaml: dataset words",
    ]
    shutil.rmtree(folder)
    gone = verify_study(here)
    assert gone.findings == []
    assert sum("not on this machine" in note for note in gone.notes) == 2


@pytest.mark.parametrize(("there", "findings"), [("c" * 40, 0), ("d" * 40, 1)])
def test_the_hub_is_asked_only_with_online(
    here: Path, monkeypatch: pytest.MonkeyPatch, there: str, findings: int
) -> None:
    resolved = planned(here)
    spec = dataclasses.replace(resolved.spec, encoders={"tiny": EncoderSpec(hub="who/what")})
    identities = dataclasses.replace(resolved.identities, encoders={"tiny": "c" * 40})
    asked: list[EncoderSpec] = []

    def commit(entry: EncoderSpec) -> str:
        asked.append(entry)
        return there

    monkeypatch.setattr("study.verify.origins.hub_commit", commit)
    verdict = Verification()
    for online in (False, True):
        assert not asked
        check_sources(
            resolved._replace(spec=spec, identities=identities), KnownLabels(), verdict, lambda *_: None, online=online
        )
    assert [entry.revision for entry in asked] == ["c" * 40]
    assert len(verdict.findings) == findings
    assert any("--online asks whether the Hub has it" in note for note in verdict.notes)


def test_kept_models_are_whole_and_of_a_record(here: Path) -> None:
    path = record_files(here)[0]
    folder = here / "models" / path.stem
    folder.mkdir(parents=True)
    for name in ("config.json", *KEPT_WEIGHTS):
        (folder / name).write_text("{}")
    (folder / "labels.json").write_text(json.dumps(["first", "second", "third"]))
    found = verify_study(here)
    assert found.findings == []
    assert "the weights of 1 models were not checked: their records hold no hash of them" in found.notes
    forged_json(path, lambda record: record["run"].update(weights=Store(here).weights(path.stem)))
    found = verify_study(here)
    assert found.findings == []
    assert not any("weights" in note for note in found.notes)
    (folder / "model.safetensors").write_text("[]")
    text = "its weights are not those that the record names: they were changed or made again"
    assert said(verify_study(here)) == [f"models/{path.stem}/model.safetensors: {text}"]
    (folder / "model.safetensors").write_text("{}")
    (folder / "labels.json").write_text(json.dumps(["third", "second", "first"]))
    assert said(verify_study(here)) == [f"models/{path.stem}/labels.json: its classes are not those of the record"]
    (folder / "model.safetensors").unlink()
    assert said(verify_study(here)) == [f"models/{path.stem}: lacks model.safetensors: the model is not whole"]


def test_what_no_training_gives_ends_in_a_line(here: Path) -> None:
    def change(record: dict[str, Any]) -> None:
        record["epochs_to_stop"] = 0.0
        record["curve"] = [point | {"epoch": 1.0} for point in record["curve"]]

    for path in record_files(here):
        sealed_again(path, change)
    assert all(finding.file.startswith(("tables", "figures", "report")) for finding in verify_study(here).findings)


def test_a_study_at_a_url(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L3STUDY_CACHE", str(tmp_path / "cache"))
    before = state(here)
    found = command("verify", f"file://{here}")
    assert found.code == 0, found.out
    assert "1 of 1 parts are at the URL and were not fetched" in found.out
    assert state(here) == before
