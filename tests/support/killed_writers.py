"""Writers of a store that are killed again and again: python tests/support/killed_writers.py FOLDER KIND KILLS.

Each writer is forked, tells by a pipe what it has written for certain, and is killed by SIGKILL 5 to 60 ms after its
first word, so that a slow disk makes no empty test. It writes in turn a record, a part of an artefact, and a failure,
which takes the place of an earlier one. At the end all is read: printed is a JSON object with the counts.
KIND: `store`, as the program writes; or `plain`, with `open(..., "wb")`, which shows that counts can be other than 0.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from study.artefacts import parts, put_part
from study.store.seal import seal
from study.store.store import Store
from study.store.whole_files import canonical, content_key

PAYLOAD = 100_000  # characters
PIECE = 256  # bytes that the baseline writes at a time
SHARDS = 100_000  # numbers of parts have five digits
FAILED = content_key("failed")  # key of the failure that is written again and again
SCORES = content_key("scores")  # of the artefact


def content_of(number: int) -> tuple[str, Any]:
    """What a writer writes `number`-th: its sort, and the value."""
    text = str(number) + "x" * PAYLOAD
    if number % 3 == 0:
        return "record", {"schema": 1, "key": content_key(number), "payload": text, "run": {}}
    return (
        ("part", text.encode()) if number % 3 == 1 else ("failure", {"key": FAILED, "attempts": number, "text": text})
    )


def by_the_store(store: Store, number: int) -> str:
    """Write it as the program does; what can then be told."""
    sort, value = content_of(number)
    if sort == "record":
        store.commit(value)
        return f"record {value['key']}"
    if sort == "part":
        return f"part {put_part(store.artefact_dir('scores', SCORES), number % SHARDS, value, 'parquet')}"
    store.fail(value)
    return f"failure {number}"


def plainly(store: Store, number: int) -> str:
    """The same, in small pieces into the final file."""
    sort, value = content_of(number)
    if sort == "record":
        path, content = store.root / "records" / f"{value['key']}.json", seal(value)
    elif sort == "part":
        digest = hashlib.blake2b(value, digest_size=16).hexdigest()
        path, content = store.artefact_dir("scores", SCORES) / f"part-{number % SHARDS:05d}-{digest}.parquet", value
    else:
        path, content = store.root / "failures" / f"{FAILED}.json", canonical(value)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb", buffering=0) as stream:
        for start in range(0, len(content), PIECE):
            stream.write(content[start : start + PIECE])
    return f"failure {number}" if sort == "failure" else f"{sort} {value['key'] if sort == 'record' else path.name}"


WRITERS = {"store": by_the_store, "plain": plainly}


def write_for_ever(store: Store, kind: str, number: int, pipe: int) -> None:
    """A writer, from its start to its violent end."""
    with store.lock():  # which the one before held when it was killed
        while True:
            os.write(pipe, f"{WRITERS[kind](store, number)}\n".encode())
            number += 1


def killed(store: Store, kind: str, kills: int) -> list[str]:
    """Start and kill so many writers; all that they have told."""
    draw, told = random.Random(5), list[str]()
    for kill in range(kills):
        reader, pipe = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            write_for_ever(store, kind, 1000 * kill, pipe)
        os.close(pipe)
        with os.fdopen(reader) as stream:
            told.append(stream.readline().strip())
            time.sleep(draw.uniform(0.005, 0.06))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            told += stream.read().splitlines()
    return told


def main() -> None:
    root, kind, kills = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    store = Store(root)
    told = killed(store, kind, kills)
    with store.lock():
        pass
    scores, failure = store.artefact_dir("scores", SCORES), store.failure(FAILED)
    files = [*root.glob("records/*"), *scores.glob("*"), *root.glob("failures/*"), *root.glob("quarantine/*")]
    whole = {f"record {record['key']}" for record in store.records()}
    whole |= {f"part {path.name}" for _, path in parts(scores)}
    last = max(int(line.split()[1]) for line in told if line.startswith("failure"))
    lost = len({line for line in told if not line.startswith("failure")} - whole)
    if failure is not None and content_of(int(failure["attempts"])) == ("failure", failure):
        lost += int(failure["attempts"]) < last
        whole.add("failure")
    else:
        lost += 1
    counts = {
        "told": Counter(line.split()[0] for line in told),
        "lost": lost,
        "torn": len(files) - len(whole),
        "twice": len(told) - len({*told}) + len([*root.glob("conflicts/*")]),
        "temporary": len([*root.rglob("*.tmp")]),
    }
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
