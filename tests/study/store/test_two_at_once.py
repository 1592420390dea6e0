"""Two runs in one folder, with a lock that works and one that everybody gets: they leave what one leaves."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from study.store.store import Store, content_key

# What a run does to its folder: a lock, eight parts of an artefact with their manifest, eight records.
RUN = textwrap.dedent(
    """
    import fcntl, random, sys, time
    from pathlib import Path
    if sys.argv[2] == "for everybody":
        fcntl.flock = lambda *_: None
    from l3masking.errors import InputError
    from study.artefacts import Done, Piece, Shard, finished_parts, make_artefacts, put_part
    from study.store.store import Store, content_key

    root, key = Path(sys.argv[1]), "ab" * 16
    store = Store(root)

    class Eight:
        key, room, suffix, may_fail, name = key, "scores", "txt", False, "eight"
        def needs(self): return ()
        def num_shards(self): return 8
        def shards(self, numbers): return (Shard(number, ()) for number in numbers)
        def facts(self, resources): return {"of": "both"}

    def execute(works, count):
        for work in works:
            time.sleep(random.uniform(0, 0.02))
            put_part(work.place, work.shard.number, b"part %d" % work.shard.number, "txt")
            print("made", work.shard.number, flush=True)
            yield Done(work.job.key, work.shard.number, 1, 0.0)

    try:
        with store.lock():
            print("held", flush=True)
            make_artefacts([(Eight(), None)], lambda job: root / "scores" / key, execute, lambda *_: None)
            assert len(finished_parts(root / "scores" / key)) == 8
            for number in range(8):
                name = content_key(number)
                if not store.has(name):
                    time.sleep(random.uniform(0, 0.02))
                    store.commit({"schema": 1, "key": name, "value": number, "run": {"host": sys.argv[3]}})
    except InputError as refused:
        print(refused, flush=True)
        sys.exit(2)
    """
)


def both(root: Path, lock: str) -> list[tuple[int, str]]:
    """Exit code and output of two such runs that begin together."""
    command = [sys.executable, "-W", "error", "-c", RUN, str(root), lock]
    runs = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in ("a", "b")]
    return [(run.wait(timeout=60), run.communicate()[0]) for run in runs]


@pytest.mark.parametrize("lock", ["works", "for everybody"])
def test_two_runs_in_one_folder_leave_what_one_leaves(tmp_path: Path, lock: str) -> None:
    ends = both(tmp_path, lock)
    codes = sorted(code for code, _ in ends)
    made = [line for _, said in ends for line in said.splitlines() if line.startswith("made")]
    if lock == "works":
        assert codes in ([0, 0], [0, 2])  # one after the other, or one is refused
        assert len(made) == len(set(made)) == 8, "each part was made once"
    else:
        assert codes == [0, 0], ends
        assert {*made} == {f"made {number}" for number in range(8)}
    refused = [said for code, said in ends if code == 2]
    assert all("another run works on this study (" in said for said in refused)
    assert sorted(r["value"] for r in Store(tmp_path).records()) == list(range(8))  # type: ignore[typeddict-item]
    folder = tmp_path / "scores" / ("ab" * 16)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert [int(name.split("-")[1]) for name in manifest["parts"]] == list(range(8))
    assert sorted(path.name for path in folder.iterdir()) == sorted([*manifest["parts"], "manifest.json"])
    assert not (tmp_path / "conflicts").exists()
    assert not list(tmp_path.rglob(".*.tmp"))
    assert Store(tmp_path).has(content_key(0))
