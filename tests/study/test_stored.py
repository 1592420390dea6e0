"""Small studies of every schema that was ever written: read by this version, with the tables that they had."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from mlflow_store import QUIET, clean_environment, empty_database, runs_of
from small_study import command, records
from stored_studies import STORED

from study.artefacts import finished_parts
from study.plan.grid import make_plan
from study.plan.resolved import planned
from study.search.journal import open_journal
from study.store.data_facts import read_facts
from study.store.record import SCHEMA

pytestmark = QUIET

SCHEMAS = [str(number) for number in range(1, SCHEMA + 1)]
WORDS = {"sentence", "definition", "notes", "conclusion"}  # columns that later versions may say in other words


@pytest.fixture(params=SCHEMAS)
def stored(request: pytest.FixtureRequest) -> Path:
    return STORED / request.param


@pytest.fixture
def root(stored: Path, tmp_path: Path) -> Path:
    """A copy to work on, without its tables."""
    root = Path(shutil.copytree(stored, tmp_path / "study"))
    shutil.rmtree(root / "tables")
    return root


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def same(old: dict[str, str], new: dict[str, str]) -> bool:
    """Whether a row holds what an earlier one held; it may hold more."""
    for name in old.keys() - WORDS:
        before, now = number(old[name]), number(new.get(name, "no such column"))
        if before is None or now is None:
            if old[name] != new.get(name):
                return False
        elif now != pytest.approx(before, rel=1e-9, abs=1e-12):
            return False
    return True


def test_every_schema_has_a_small_study() -> None:
    assert sorted(path.name for path in STORED.iterdir()) == SCHEMAS
    for folder in STORED.iterdir():
        assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 100_000


def test_every_part_of_it_is_read(root: Path) -> None:
    resolved = planned(root)
    keys = {key for trial in make_plan(*resolved) for key in trial.keys.values()}
    assert keys == records(root).keys() != set()
    assert records(root / "search")
    for data_hash in resolved.identities.datasets.values():
        facts = read_facts(root, data_hash)
        assert facts is not None
        assert facts["splits"]["test"]["labels"]
    for folder in (root / "scores").iterdir():
        assert all(pq.read_table(part).num_rows for part in finished_parts(folder))
    (searched,) = open_journal(root / "search").get_all_studies()
    assert len(records(root / "search")) == len(open_journal(root / "search").get_all_trials(searched._study_id))


def test_it_is_shown_compared_and_verified_as_when_it_was_stored(stored: Path, root: Path) -> None:
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    for verb in ("status", "compare", "verify", "export"):
        said = command(verb, root)
        assert (said.code, said.err) == (0, ""), verb
    assert {path: path.read_bytes() for path in before} == before
    tables = list((stored / "tables").iterdir())
    assert tables
    for table in tables:
        new = rows(root / "tables" / table.name)
        assert not [old for old in rows(table) if not any(same(old, row) for row in new)], table.name


def test_its_mlflow_is_made_from_its_records(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch)
    empty_database(root)
    assert command("sync", root).code == 0
    runs = runs_of(root, "stored")
    shown = {key: run.data.metrics["test_accuracy"] for (role, key), run in runs.items() if role == "seed"}
    assert shown == {key: record["test"]["accuracy"] for key, record in records(root).items()}
