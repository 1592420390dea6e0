"""No damaged file of a study is used: cut off anywhere, with flipped bits, swapped, zeroed or foreign, of every kind.

A run names what is damaged and computes it again.
"""

from __future__ import annotations

import json
import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest
import torch
from small_study import NoMirror, assignments, command, records, resolved_text, results, tables

from l3masking.errors import InputError
from l3masking.training.checkpoint import Snapshot
from l3masking.training.checkpoint_files import checkpoints, write_checkpoint
from study.adapted import adapted_encoder, adapted_place
from study.artefacts import finished_parts, manifest_of, put_part
from study.plan.inputs import held_encoder
from study.plan.resolved import planned
from study.results.looks import LOOKS_FILE, record_look
from study.store.data_facts import read_facts
from study.store.store import Store, content_key
from study.store.whole_files import file_digest
from study.trial import kept_of
from study.use.model_export import check_weights

TRUNCATIONS, FLIPS = 64, 256
KEY = content_key("a training that failed")
FAILURE: dict[str, Any] = {
    "key": KEY,
    "encoder": "tiny",
    "dataset": "words",
    "method": "stl",
    "variant": None,
    "mask_mean": None,
    "objective": "accuracy",
    "seed": 1,
    "reason": "ValueError: 17",
    "traceback": "line 3",
    "attempts": 2,
}


class Kind(NamedTuple):
    """A kind of file of a study."""

    path: Path  # of one such file
    other: bytes  # content of another file of this kind
    read: Callable[[], Any]  # what is used of it: None or InputError if it is not


def part_of(folder: Path) -> Any:
    try:
        return manifest_of(folder), [path.read_bytes() for path in finished_parts(folder)]
    except FileNotFoundError:
        return None


def snapshot_of(folder: Path) -> Any:
    found = next(checkpoints(folder), None)
    return None if found is None else (found.facts, {name: t.tolist() for name, t in found.tensors.items()})


def kinds(root: Path) -> dict[str, Kind]:
    """Every kind of file that results are read from; `root`: a copy of a finished study."""
    store = Store(root)
    keys = sorted(records(root))
    for key, more in ((KEY, {}), (content_key("another"), {"seed": 2})):
        store.fail({**FAILURE, **more, "key": key})  # type: ignore[typeddict-item]
    (facts,) = (root / "data").iterdir()
    (scores,) = (root / "scores").iterdir()
    (part,) = scores.glob("part-*")
    for folder, value in ((root / "one", 1), (root / "two", 2)):
        write_checkpoint(folder, Snapshot({"update": value}, {"x": torch.full((40,), value / 3)}))
    model = root / "models" / keys[0]
    model.mkdir(parents=True)
    shutil.copy(root / "one" / "00000001.safetensors", model / "model.safetensors")
    weights = {"model.safetensors": file_digest(model / "model.safetensors")}

    def kept_model() -> bytes:
        check_weights(model, weights)
        return (model / "model.safetensors").read_bytes()

    def raw(path: Path) -> bytes:
        return path.read_bytes()

    changed = raw(facts).replace(b'"labels":[', b'"labels":[1,')
    manifest = raw(scores / "manifest.json").replace(b'"fast"', b'"own"')
    resolved = (root / "resolved.yaml").read_text().replace("lr: 0.005", "lr: 0.006")
    return {
        "record": Kind(
            root / "records" / f"{keys[0]}.json",
            raw(root / "records" / f"{keys[1]}.json"),
            lambda: store.read(keys[0]),
        ),
        "failure": Kind(
            root / "failures" / f"{KEY}.json",
            raw(root / "failures" / f"{content_key('another')}.json"),
            lambda: store.failure(KEY),
        ),
        "data": Kind(facts, changed, lambda: read_facts(root, facts.stem)),
        "resolved": Kind(root / "resolved.yaml", resolved.encode(), lambda: planned(root)),
        "manifest": Kind(scores / "manifest.json", manifest, lambda: part_of(scores)),
        "part": Kind(part, raw(scores / "manifest.json"), lambda: part_of(scores)),
        "checkpoint": Kind(
            root / "one" / "00000001.safetensors",
            raw(root / "two" / "00000001.safetensors"),
            lambda: snapshot_of(root / "one"),
        ),
        "checkpoint facts": Kind(
            root / "one" / "00000001.json", raw(root / "two" / "00000001.json"), lambda: snapshot_of(root / "one")
        ),
        "model": Kind(model / "model.safetensors", raw(root / "two" / "00000001.safetensors"), kept_model),
        "looks": Kind(
            root / LOOKS_FILE,
            raw(root / LOOKS_FILE).replace(b'"seeds": 2', b'"seeds": 3'),
            lambda: record_look(root, []) or None,
        ),
    }


def damages(whole: bytes, other: bytes) -> Iterator[tuple[str, bytes]]:
    """What may become of a file, with a name."""
    draw = random.Random(6)
    for offset in sorted({0, 1, len(whole) - 1, *draw.sample(range(len(whole)), min(TRUNCATIONS, len(whole)))}):
        yield f"cut at {offset}", whole[:offset]
    for bit in draw.sample(range(8 * len(whole)), FLIPS):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit} flipped", bytes(flipped)
    for zeros in (1, 40, 512):
        yield f"{zeros} zeros at the end", whole[: -min(zeros, len(whole))] + bytes(min(zeros, len(whole)))
    yield "another file of this kind", other
    yield "a foreign file", b'{"results": 3}'
    yield "twice", whole + whole


NAMES = [
    "record",
    "failure",
    "data",
    "resolved",
    "manifest",
    "part",
    "checkpoint",
    "checkpoint facts",
    "model",
    "looks",
]
UNNAMED = ("part", "checkpoint", "checkpoint facts")  # a run names parts; of checkpoints the one before is taken
EQUAL_AT_MOST = 16  # of about 330: flips that change no value, such as 1e-05 to 1E-05, or the name of a checksum


@pytest.mark.parametrize("name", NAMES)
def test_no_damage_is_used(finished_study: Path, tmp_path: Path, name: str) -> None:
    root = Path(shutil.copytree(finished_study / "out", tmp_path / "out"))
    found = kinds(root)
    assert list(found) == NAMES
    kind = found[name]
    whole, value = kind.path.read_bytes(), kind.read()
    assert value is not None
    equal: list[str] = []
    for what, content in damages(whole, kind.other):
        kind.path.write_bytes(content)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            used, said = tried(kind.read)
        if used is not None:
            equal.append(what)
            assert plain(used) == plain(value), f"{name}, {what}: other values are used"
        elif name not in UNNAMED:
            said += " ".join(str(warning.message) for warning in caught)
            assert kind.path.name in said, f"{name}, {what}: not named"
    kind.path.write_bytes(whole)
    assert plain(kind.read()) == plain(value)
    assert len(equal) <= EQUAL_AT_MOST, equal


def tried(read: Callable[[], Any]) -> tuple[Any, str]:
    """What is read, and the words of a refusal."""
    try:
        return read(), ""
    except InputError as refused:
        return None, str(refused)


def plain(value: Any) -> Any:
    """Without checksums, whose name a flip may change."""
    if isinstance(value, dict):
        rest = {name: plain(inner) for name, inner in value.items()}
        return {name: inner for name, inner in rest.items() if not looks_like_checksum(name)}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def looks_like_checksum(name: str) -> bool:
    return len(name) == len("checksum") and sum(a != b for a, b in zip(name, "checksum", strict=True)) <= 1


def test_files_of_before_checksums_are_read(finished_study: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(finished_study / "out", tmp_path / "out"))
    (facts,) = (root / "data").iterdir()
    (manifest,) = root.glob("scores/*/manifest.json")
    for path in (facts, manifest):
        path.write_text(json.dumps({n: v for n, v in json.loads(path.read_bytes()).items() if n != "checksum"}))
    record = sorted((root / "records").iterdir())[0]
    value = json.loads(record.read_bytes())
    del value["run"]["checksum"]
    record.write_text(json.dumps(value))
    before = planned(root)
    (root / "resolved.yaml").write_text(resolved_text(root))
    assert planned(root) == before
    assert read_facts(root, facts.stem) is not None
    assert part_of(manifest.parent) is not None
    assert Store(root).has(record.stem)


def test_a_run_repairs_a_study_of_which_every_kind_of_file_is_damaged(finished_study: Path, tmp_path: Path) -> None:
    here = Path(shutil.copytree(finished_study, tmp_path / "here"))
    root = here / "out"
    before, exported = records(root), tables(root)
    (facts,) = (root / "data").iterdir()
    (part,) = root.glob("scores/*/part-*")
    scored = next(key for key, record in before.items() if record["method"] == "l3masking")
    victims = [root / "records" / f"{scored}.json", facts, part, part.with_name("manifest.json")]
    whole = {victim: victim.read_bytes() for victim in victims}
    for number, (victim, content) in enumerate(whole.items()):
        damaged = bytearray(content)
        damaged[len(content) * (number + 1) // 6] ^= 1
        victim.write_bytes(bytes(damaged))
    with mock.patch("study.run.Mirror", NoMirror):
        said = command("run", here / "small.yaml", "--out", root)
    assert said.code == 0, said.err
    for victim, content in whole.items():
        assert f"warning: {victim}: " in said.err
        assert victim.parent.name == "records" or victim.read_bytes() == content
    assert {key: results(record) for key, record in records(root).items()} == {
        key: results(record) for key, record in before.items()
    }
    assert tables(root) == exported
    assert (root / "quarantine" / victims[0].name).is_file()


@pytest.mark.parametrize("harm", ["part", "manifest"])
def test_damaged_adapted_weights_are_trained_again(finished_study: Path, tmp_path: Path, harm: str) -> None:
    one = assignments(finished_study / "small.yaml", tmp_path, "methods=[tapt]", "seeds=1", "adapt.epochs=1")[0]
    vanilla, kept = held_encoder(one.encoder, "cpu"), kept_of(one)
    kept.clock = lambda: kept.began  # the manifest holds the seconds
    encoder, facts = adapted_encoder(one, vanilla, kept)
    whole = {path: path.read_bytes() for path in tmp_path.glob("adapted/*/*")}
    for path, content in whole.items():
        if path.name.startswith(harm):
            damaged = bytearray(content)
            damaged[len(content) // 2] ^= 1
            path.write_bytes(bytes(damaged))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        again, told = adapted_encoder(one, vanilla, kept)
    assert bool(caught) == (harm == "manifest")
    assert told == facts
    for name, value in again.model.state_dict().items():
        assert torch.equal(value, encoder.model.state_dict()[name])
    assert {path: path.read_bytes() for path in tmp_path.glob("adapted/*/*")} == whole


def test_whole_adapted_weights_beside_others_are_used(finished_study: Path, tmp_path: Path) -> None:
    """Two machines may have made them with other bits: the manifest says which count."""
    one = assignments(finished_study / "small.yaml", tmp_path, "methods=[tapt]", "seeds=1", "adapt.epochs=1")[0]
    vanilla, kept = held_encoder(one.encoder, "cpu"), kept_of(one)
    _, facts = adapted_encoder(one, vanilla, kept)
    for content in (b"one", b"two", b"three", b"four"):  # named by their hash: some sort behind
        put_part(adapted_place(one), 0, content, "safetensors")
    with mock.patch("study.adapted._train", side_effect=AssertionError("trained again")):
        assert adapted_encoder(one, vanilla, kept)[1] == facts
