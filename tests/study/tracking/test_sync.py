"""`l3study sync`: MLflow made again from the records, anywhere, any number of times."""

import sqlite3

import pytest
from mlflow_store import QUIET, clean_environment, client_of, contents, empty_database, rows, runs_of
from small_study import command
from tracked_study import trial_records, write_study

from study.plan.grid import make_plan
from study.plan.resolved import planned
from study.store.store import Store
from study.tracking import database as mlflow_database
from study.tracking.mirror import STALE

pytestmark = QUIET


def finished(folder):
    """A finished study of one encoder, with a search; its database is empty."""
    pairs = [{"encoder": "bert-base", "dataset": "acl-arc"}]
    write_study(folder, searched=True, failing=[2], pairs=pairs, seeds=2)
    (folder / "tables").mkdir()
    (folder / "tables" / "results.md").write_text("| a |")
    empty_database(folder)
    return folder


@pytest.fixture
def root(tmp_path):
    return finished(tmp_path / "study")


@pytest.fixture(scope="module")
def synced(tmp_path_factory):
    """The same with its view in MLflow, and what `sync` said. A test that changes it leaves it as it was."""
    folder = finished(tmp_path_factory.mktemp("synced") / "study")
    with pytest.MonkeyPatch.context() as patch:
        clean_environment(patch)
        return folder, command("sync", folder)


def test_everything_is_there_and_a_second_time_changes_nothing(synced):
    root, said = synced
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0].startswith(f"sqlite:///{root}/mlflow.db is up to date (")
    assert lines[1] == f"l3study ui {root}"
    runs = runs_of(root, "tracked")
    for folder, role in (("records", "seed"), ("search/records", "search")):
        kept = {file.stem for file in (root / folder).iterdir()}
        assert kept == {key for (kind, key), run in runs.items() if kind == role and run.info.status == "FINISHED"}
    failed = {key for (_, key), run in runs.items() if run.info.status == "FAILED" and "trial_key" in run.data.tags}
    assert failed == {file.stem for file in (root / "failures").iterdir()}
    found = [run.data.metrics for (role, _), run in runs.items() if role == "search-study"]
    assert [metrics["best_masking.mean"] for metrics in found] == [0.3, 0.3]
    client, study = client_of(root), runs["study", "study"].info.run_id
    assert {file.path for file in client.list_artifacts(study)} == {"resolved.yaml", "tables"}
    tables = {file.path for file in client.list_artifacts(study, "tables")}
    assert tables == {"tables/results.md", "tables/results_table.json"}
    before, held = rows(root), contents(root, "tracked")
    assert command("sync", root).code == 0
    assert rows(root) == before
    assert contents(root, "tracked") == held


def test_another_store_gets_the_same(synced, tmp_path):
    root, _ = synced
    empty_database(tmp_path / "elsewhere")
    uri = f"sqlite:///{tmp_path}/elsewhere/mlflow.db"
    said = command("sync", root, "--tracking-uri", uri)
    assert said.code == 0
    assert f"mlflow ui --backend-store-uri {uri}" in said.out
    assert contents(uri, "tracked") == contents(root, "tracked")


def test_a_deleted_database_is_rebuilt(synced):
    root, _ = synced
    held = contents(root, "tracked")
    (root / "mlflow.db").unlink()
    empty_database(root)
    assert command("sync", root).code == 0
    assert contents(root, "tracked") == held


def test_a_record_more_is_a_run_more(root):
    records = trial_records(make_plan(*planned(root))[0])
    for record in records:
        (root / "records" / f"{record['key']}.json").unlink()
    assert command("sync", root).code == 0
    before = runs_of(root, "tracked")
    assert before["cell", "bert-base/acl-arc/stl"].info.status == "KILLED"
    for record in records:
        Store(root).commit(record)
    assert command("sync", root).code == 0
    after = runs_of(root, "tracked")
    assert after.keys() - before.keys() == {("seed", record["key"]) for record in records}
    assert after["cell", "bert-base/acl-arc/stl"].info.status == "FINISHED"


def test_a_store_that_is_away_is_one_line_and_an_exit_code(root):
    said = command("sync", root, "--tracking-uri", "http://me:secret@127.0.0.1:9")
    assert (said.code, said.out) == (3, "")
    assert [line for line in said.err.splitlines() if "INFO" not in line] == [said.err.splitlines()[-1]]
    assert said.err.splitlines()[-1].startswith(
        "l3study: http://***@127.0.0.1:9: the server does not answer: [Errno 111] Connection refused; nothing is lost"
    )
    assert "secret" not in said.err
    assert (root / STALE).exists()


def test_a_locked_database_is_one_line_and_is_repaired_by_the_next(root, monkeypatch):
    monkeypatch.setattr(mlflow_database, "BUSY_SECONDS", 0.1)
    holder = sqlite3.connect(root / "mlflow.db", isolation_level=None)
    holder.execute("begin exclusive")
    try:
        said = command("sync", root)
    finally:
        holder.close()
    assert said.code == 3
    assert "locked" in said.err.splitlines()[-1]
    assert (root / STALE).exists()
    assert command("sync", root).code == 0
    assert not (root / STALE).exists()


def test_a_missing_driver_names_what_to_install(root, monkeypatch):
    monkeypatch.setattr(mlflow_database.importlib.util, "find_spec", lambda name: None)
    said = command("sync", root, "--tracking-uri", "postgresql://me:secret@127.0.0.1/db")
    assert (said.code, said.out) == (3, "")
    assert said.err.rstrip().endswith("pip install 'psycopg[binary]'")
    assert "secret" not in said.err


def test_a_folder_without_a_study_and_a_study_at_work_are_refused(root, tmp_path):
    said = command("sync", tmp_path)
    assert said.code == 2
    assert "no study here" in said.err
    with Store(root).lock():
        said = command("sync", root)
    assert said.code == 2
    assert "another run works on this study" in said.err
