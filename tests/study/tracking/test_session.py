"""What a study's MLflow holds beyond its records: data, searches, what is current, tables, the page."""

import json
import shutil
import sqlite3
import time
from pathlib import Path

import pytest
from mlflow_store import QUIET, clean_environment, client_of, contents, empty_database, rows, runs_of
from tracked_study import make_failure, make_record, make_search_record, trial_records, write_study

from l3masking.data.table import DataSpec
from study.plan.grid import make_plan
from study.results.aggregate import cells
from study.results.gather import gather
from study.store.store import Store
from study.tracking import feed as mlflow_feed
from study.tracking.bulk import Bulk
from study.tracking.cells import cell_views
from study.tracking.client import PARENT
from study.tracking.database import relocate
from study.tracking.mirror import Mirror
from study.tracking.views import CELLS, SHARED, TABLE

pytestmark = QUIET

RECORDS = [make_record(0, key="0" * 32), make_record(1, key="1" * 32)]
FINDING = {"encoder": "bert", "dataset": "acl", "method": "l3masking", "values": {"masking.mean": 0.3}}
FINDING |= {"validation": 0.6875, "trials": 4, "sampler": "TPESampler", "optuna": "5.0.0"}


@pytest.fixture
def folder(tmp_path):
    empty_database(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return make_plan(*write_study(tmp_path_factory.mktemp("planned"), seeds=2, **PAIR))


PAIR = {
    "pairs": [{"encoder": "bert-base", "dataset": "acl-arc"}],
    "methods": ["stl", "l3masking"],
    "objectives": ["accuracy"],
}


def close(mirror):
    assert mirror.close(120) is None


def test_data_is_listed_on_cell_and_seed_runs_with_its_origin(folder):
    files = DataSpec(train="https://example.org/a.jsonl", blobs={"train": "0" * 40})
    mirror = Mirror(folder, "tiny", records=RECORDS, datasets={"acl": files})
    mirror.cells(cells(RECORDS, [], 2))
    close(mirror)
    close(Mirror(folder, "tiny", records=RECORDS, datasets={"acl": files}))  # again: nothing twice
    runs = runs_of(folder)
    for key in (("cell", "bert/acl/l3masking/mean=0.15"), ("seed", "0" * 32), ("seed", "1" * 32)):
        (given,) = runs[key].inputs.dataset_inputs
        assert (given.dataset.name, given.dataset.digest, given.dataset.source_type) == ("acl", "def", "http")
        assert json.loads(given.dataset.source) == {"url": "https://example.org/a.jsonl"}
        assert [(tag.key, tag.value) for tag in given.tags] == [("mlflow.data.context", "training")]
    assert not runs["study", "study"].inputs.dataset_inputs


def test_a_search_stands_beside_the_cells_and_in_none_of_them(folder):
    searched = [make_search_record(seed, key=f"{seed:032x}") for seed in (1_000_000, 1_000_001)]
    mirror = Mirror(folder, "tiny", records=RECORDS, searched=searched)
    mirror.add_search_failure(make_failure(make_search_record(1_000_002, key="b" * 32)))
    mirror.findings([FINDING])
    mirror.cells(cells(RECORDS, [], 2))
    close(mirror)
    runs = runs_of(folder)
    above = runs["search-study", "search/bert/acl/l3masking"]
    assert above.data.tags[PARENT] == runs["study", "study"].info.run_id
    assert above.data.metrics == {"validation_best": 0.6875, "settings_tried": 4, "best_masking.mean": 0.3}
    assert (above.info.status, above.data.tags["found"]) == ("FINISHED", "masking.mean=0.3")
    tried = [run for (role, _), run in runs.items() if role == "search"]
    assert sorted(run.info.status for run in tried) == ["FAILED", "FINISHED", "FINISHED"]
    assert {run.data.tags[PARENT] for run in tried} == {above.info.run_id}
    assert {run.data.tags["cell"] for run in tried} == {"search/bert/acl/l3masking"}
    assert [key for role, key in runs if role == "cell"] == ["bert/acl/l3masking/mean=0.15"]
    assert runs["cell", "bert/acl/l3masking/mean=0.15"].data.metrics["test_accuracy_n"] == 2
    before = rows(folder)
    again = Mirror(folder, "tiny", records=RECORDS, searched=searched)
    again.findings([FINDING])
    again.cells(cells(RECORDS, [], 2))
    close(again)
    assert rows(folder)["runs"] == before["runs"]
    assert rows(folder)["metrics"] == before["metrics"]


def test_an_unfinished_search_is_no_finished_run(folder):
    mirror = Mirror(folder, "tiny", searched=[make_search_record(key="7" * 32)])
    mirror.cells([])
    close(mirror)
    assert runs_of(folder)["search-study", "search/bert/acl/l3masking"].info.status == "KILLED"


def test_earlier_settings_are_not_current(folder, plan):
    old = [make_record(seed, key=f"{seed:032x}", encoder="bert-base", dataset="acl-arc") for seed in (0, 1)]
    mirror = Mirror(folder, "tiny", records=old)
    mirror.cells(cells(old, [], 2))
    close(mirror)
    assert {run.data.tags["current"] for (role, _), run in runs_of(folder).items() if role in ("cell", "seed")} == {
        "yes"
    }
    new = [record for trial in plan for record in trial_records(trial)]
    changed = [record | {"mask_mean": 0.25} if record["mask_mean"] else record for record in new]
    mirror = Mirror(folder, "tiny", records=[*old, *changed])
    mirror.plan([trial for trial in plan if trial.method == "stl"])
    mirror.cells(cells([record for record in changed if record["method"] == "stl"], [], 2))
    close(mirror)
    current = {key: run.data.tags["current"] for (_, key), run in runs_of(folder).items() if "current" in run.data.tags}
    assert [current[record["key"]] for record in old] == ["no", "no"]
    assert {current[record["key"]] for record in new if record["method"] == "stl"} == {"yes"}
    assert {current[record["key"]] for record in new if record["method"] != "stl"} == {"no"}
    assert current["bert-base/acl-arc/stl"] == "yes"
    assert current["bert-base/acl-arc/l3masking/mean=0.15"] == "no"
    assert current["bert-base/acl-arc/l3masking/mean=0.25"] == "no"


def test_a_renamed_variant_takes_its_seed_runs_along(folder, plan):
    records = [record | {"variant": "before"} for trial in plan[:1] for record in trial_records(trial)]
    mirror = Mirror(folder, "tiny", records=records)
    mirror.cells(cells(records, [], 1))
    close(mirror)
    mirror = Mirror(folder, "tiny", records=records)
    mirror.plan(plan[:1])
    mirror.cells(cells([record | {"variant": None} for record in records], [], 1))
    close(mirror)
    runs = runs_of(folder)
    seed = runs["seed", records[0]["key"]]
    assert (seed.data.tags["cell"], seed.data.tags["variant"]) == ("bert-base/acl-arc/stl", "none")
    assert seed.data.tags[PARENT] == runs["cell", "bert-base/acl-arc/stl"].info.run_id
    assert runs["cell", "bert-base/acl-arc/stl/before"].data.tags["current"] == "no"


def test_cells_follow_the_records_while_the_study_goes_on(folder, plan, monkeypatch):
    monkeypatch.setattr(mlflow_feed, "CELLS_SECONDS", 0.0)
    name = "bert-base/acl-arc/stl"
    mirror = Mirror(folder, "tiny")
    mirror.plan(plan)
    (first, second) = [trial for trial in plan if trial.method == "stl"]

    def shown():
        run = runs_of(folder).get(("cell", name))
        return (run.info.status, run.data.metrics.get("test_accuracy_n")) if run else None

    def awaited(wanted):
        deadline = time.monotonic() + 60
        while (mirror.page is None or shown() != wanted) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert shown() == wanted

    mirror.add(*trial_records(first))
    awaited(("RUNNING", 1))
    assert runs_of(folder)["study", "study"].info.status == "RUNNING"
    mirror.add(*trial_records(second))
    awaited(("FINISHED", 2))
    mirror.cells(cells([record for trial in (first, second) for record in trial_records(trial)], [], 2))
    close(mirror)
    run = runs_of(folder)["cell", name]
    assert run.data.metrics == cell_views(cells([*trial_records(first), *trial_records(second)], [], 2))[0].metrics
    assert {point.step for point in client_of(folder).get_metric_history(run.info.run_id, "test_accuracy_n")} == {0}


def test_the_study_run_holds_counts_tables_and_a_note(folder):
    mirror = Mirror(folder, "tiny", description="What *it* is", records=RECORDS)
    mirror.cells(cells(RECORDS, [make_failure(make_record(2, key="2" * 32))], 4))
    close(mirror)
    client, run = client_of(folder), runs_of(folder)["study", "study"]
    assert run.info.run_name == "tiny"
    assert run.data.metrics == {"records_n": 2, "records_failed": 1, "records_wanted": 4}
    assert json.loads(run.data.tags["mlflow.loggedArtifacts"]) == [{"path": TABLE, "type": "table"}]
    text = json.loads(Path(folder, "mlartifacts", run.info.run_id, "artifacts", TABLE).read_text())
    assert text["data"][0][text["columns"].index("n")] == 2
    experiment = client.get_experiment_by_name("tiny")
    assert mirror.page == f"#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning" + (
        f"&viewStateShareKey={CELLS}"
    )
    assert f"{SHARED}{CELLS}" in experiment.tags
    for note in (run.data.tags["mlflow.note.content"], experiment.tags["mlflow.note.content"]):
        assert note.startswith("What *it* is")
        assert f"({mirror.page})" in note
        assert f"runs/{run.info.run_id}/artifacts/{TABLE}" in note


def test_a_record_that_mlflow_refuses_holds_up_no_other_of_its_batch(folder, monkeypatch):
    records = [make_record(seed, key=f"{seed:032x}") for seed in range(4)]
    original = Bulk.insert

    def insert(bulk, runs):
        if records[2]["key"] in {run.view.key for run in runs}:
            raise sqlite3.IntegrityError("not this one")
        original(bulk, runs)

    monkeypatch.setattr(Bulk, "insert", insert)
    mirror = Mirror(folder, "tiny", records=records)
    assert "not this one" in mirror.close(120)
    kept = [key for role, key in runs_of(folder) if role == "seed"]
    assert sorted(kept) == [records[position]["key"] for position in (0, 1, 3)]
    monkeypatch.undo()
    clean_environment(monkeypatch)
    close(Mirror(folder, "tiny", records=records))
    statuses = [run.info.status for (role, _), run in runs_of(folder).items() if role == "seed"]
    assert statuses == ["FINISHED"] * 4


def test_a_batch_whose_answer_was_lost_is_found_and_not_repeated(folder, monkeypatch):
    original = Bulk.insert

    def insert(bulk, runs):
        original(bulk, runs)
        raise sqlite3.OperationalError("the answer was lost")

    monkeypatch.setattr(Bulk, "insert", insert)
    close(Mirror(folder, "tiny", records=RECORDS))
    assert len([key for role, key in runs_of(folder) if role == "seed"]) == len(RECORDS)


def test_an_outage_ends_though_no_further_record_comes(folder, monkeypatch):
    monkeypatch.setattr(mlflow_feed, "RETRY_SECONDS", 0.3)
    database = folder / "mlflow.db"
    away = folder / "away.db"
    database.rename(away)
    database.mkdir()  # what is there cannot be opened
    mirror = Mirror(folder, "tiny", records=RECORDS)
    deadline = time.monotonic() + 60
    while mirror.reason is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "is a folder" in mirror.reason
    database.rmdir()
    away.rename(database)
    while mirror.reason is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert mirror.reason is None
    assert runs_of(folder)["seed", "1" * 32].info.status == "FINISHED"
    close(mirror)


def test_a_moved_study_finds_its_artifacts(tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    empty_database(before)
    mirror = Mirror(before, "tiny", records=RECORDS)
    mirror.cells(cells(RECORDS, [], 2))
    close(mirror)
    held = contents(before)
    shutil.move(before, after)
    for _ in range(2):
        relocate(after / "mlflow.db", (after / "mlartifacts").as_uri())
    assert contents(after) == held
    for run in runs_of(after).values():
        assert run.info.artifact_uri == f"{(after / 'mlartifacts').as_uri()}/{run.info.run_id}/artifacts"
    experiment = client_of(after).get_experiment_by_name("tiny")
    assert experiment.artifact_location == (after / "mlartifacts").as_uri()
    assert "mlartifacts" not in client_of(after).get_experiment("0").artifact_location  # MLflow's own stays


def test_a_whole_study_is_mirrored_as_its_tables_have_it(tmp_path):
    spec, known, findings = write_study(tmp_path, searched=True, failing=[3])
    empty_database(tmp_path)
    store, trials = Store(tmp_path), make_plan(spec, known, findings)
    results = gather(store, spec, trials)
    mirror = Mirror(tmp_path, spec.name, records=store.records(), searched=Store(tmp_path / "search").records())
    mirror.plan(trials)
    for failure in store.failures():
        mirror.add_failure(failure)
    mirror.cells(results.cells)
    close(mirror)
    runs = runs_of(tmp_path, spec.name)
    assert sum(role == "search" for role, _ in runs) == len(list((tmp_path / "search" / "records").iterdir()))
    for cell in results.cells:
        key = "/".join(filter(None, (cell.encoder, cell.dataset, cell.method, cell.variant)))
        key += "" if cell.mask_mean is None else f"/mean={cell.mask_mean}"
        metrics = runs["cell", key].data.metrics
        assert metrics[f"test_{cell.objective}_mean"] == cell.mean
        assert metrics[f"test_{cell.objective}_n"] == cell.n == len(cell.values)
        assert metrics[f"test_{cell.objective}_failed"] == cell.failed
    assert {run.info.status for (role, _), run in runs.items() if role == "cell"} == {"FINISHED", "FAILED"}
