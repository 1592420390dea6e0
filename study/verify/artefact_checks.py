"""What trainings share, and kept models: whether all parts are there, whole, and under the key of what made them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from l3masking.precision import Precision
from study.artefacts import PART_NAME, levels
from study.plan.needs import score_key
from study.plan.trials import Identities
from study.store.record import ScoreManifest
from study.store.seal import DamagedError, verified
from study.store.store import MODEL_FILES, MODELS
from study.store.whole_files import KEY
from study.verify.plan_checks import Claimed
from study.verify.schema_checks import layout_problems
from study.verify.untouched import Untouched
from study.verify.verification import Advance, Verification

SCORES, IMPORTANCE, ADAPTED = "scores", "importance", "adapted"
SCORE_FIELDS = {"text", "input_ids", "positions", "words", "log_likelihood"}


def check_artefacts(
    folder: Untouched, claimed: Claimed | None, verdict: Verification, progress: Advance, *, on_demand: bool
) -> None:
    """Look at each folder of scores, importance and adapted encoders.

    on_demand: whether parts that are not here lie at a URL, from where they are fetched only when they are needed.
    """
    rooms = [(room, name) for room in (SCORES, IMPORTANCE, ADAPTED) for name in folder.names(room)]
    wanted = _keys_of_plan(claimed) if claimed and any(room == IMPORTANCE for room, _ in rooms) else None
    for number, (room, name) in enumerate(rooms):
        progress("shared artefacts", number, len(rooms))
        key = name.rpartition("/")[2]
        if not KEY.fullmatch(key) or not folder.is_folder(name):
            verdict.note(f"{name}: not a folder of {room} by its name, and not read")
            continue
        verdict.checked[f"{room} folders"] += 1
        try:
            manifest = _manifest(folder, name, key, room)
        except DamagedError as damage:
            verdict.wrong(f"{name}/manifest.json", str(damage))
            continue
        _check_parts(folder, name, manifest["parts"], verdict, on_demand=on_demand)
        if room == SCORES and claimed is not None and key not in _score_keys(manifest, claimed.resolved.identities):
            verdict.wrong(
                f"{name}/manifest.json",
                "its key does not follow from its settings and the encoders and data of the study",
            )
        if room == IMPORTANCE and wanted is not None and key not in wanted:
            verdict.note(f"{name}: belongs to no training of the plan: it is of earlier settings")
    progress("shared artefacts", len(rooms), len(rooms))


def _manifest(folder: Untouched, name: str, key: str, room: str) -> dict[str, Any]:
    manifest = folder.read_json(f"{name}/manifest.json")
    parts = manifest.get("parts")
    if not isinstance(parts, list) or not parts or not all(isinstance(part, str) for part in parts):
        raise DamagedError("names no parts: not the layout of a manifest")
    if room == SCORES and (problem := next(layout_problems(manifest, ScoreManifest), None)) is not None:
        raise DamagedError(f"{problem}: not the layout of a manifest")
    if not verified(manifest):
        raise DamagedError("its checksum does not match its content")
    if manifest.get("key") != key:
        raise DamagedError(f"is of the key {manifest.get('key')!r}: it is another manifest under this name")
    numbers = [int(match[1]) if (match := PART_NAME.fullmatch(part)) else None for part in parts]
    if numbers != [*range(len(parts))]:
        raise DamagedError("its parts are not numbered from 0 without a gap: a part was dropped or added")
    return manifest


def _check_parts(folder: Untouched, name: str, parts: list[str], verdict: Verification, *, on_demand: bool) -> None:
    rows: list[int] = []
    absent = 0
    for part in parts:
        file = f"{name}/{part}"
        try:
            content = folder.read(file)
            if hashlib.blake2b(content, digest_size=16).hexdigest() != part.partition(".")[0].rpartition("-")[2]:
                raise DamagedError("its content is not what its name says: it was changed or cut off")
            if part.endswith(".parquet"):
                rows.append(_rows(content, needs=SCORE_FIELDS if name.startswith(SCORES) else {"text"}))
        except DamagedError as damage:
            if on_demand and str(damage) == "missing":
                absent += 1
            else:
                verdict.wrong(file, str(damage))
    if absent:
        verdict.note(f"{name}: {absent} of {len(parts)} parts are at the URL and were not fetched")
    elif len(rows) == len(parts) and (min(rows) < 1 or len({*rows[:-1]}) > 1 or rows[-1] > rows[0]):
        verdict.wrong(
            f"{name}/manifest.json", f"its parts have {rows[:3]} ... {rows[-1]} rows: not one cut of the texts"
        )
    extra = {file.rpartition("/")[2] for file in folder.names(name)} - {*parts, "manifest.json"}
    if extra:
        verdict.note(f"{name}: {len(extra)} files are not named in its manifest, and not used")


def _rows(content: bytes, needs: Collection[str]) -> int:
    """Texts in a Parquet file; only its head is read."""
    try:
        head = pq.ParquetFile(io.BytesIO(content))
        columns = {*head.schema_arrow.names}
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DamagedError("no Parquet file") from error
    if lacking := sorted({*needs} - columns):
        raise DamagedError(f"lacks the columns {', '.join(lacking)}")
    return int(head.metadata.num_rows)


def _score_keys(manifest: dict[str, Any], identities: Identities) -> Iterator[str]:
    """The keys that scores under these settings have, of any encoder and texts of the study."""
    splits = [content for by_seed in identities.splits.values() for content in by_seed.values()]
    texts = [*identities.datasets.values(), *identities.corpora.values(), *identities.united.values(), *splits]
    for revision in identities.encoders.values():
        for content in texts:
            for precision in get_args(Precision):
                for entropy in (False, True):
                    yield score_key(revision, content, manifest["scoring"], precision, entropy=entropy)


def _keys_of_plan(claimed: Claimed) -> set[str]:
    """The keys of all artefacts that the trainings of the plan read."""
    from study.assign import Assigner  # torch, which only a study with importance needs

    spec, identities, _ = claimed.resolved
    assigner = Assigner(spec=spec, identities=identities, root=".", commit=None)
    jobs = [job for trial in claimed.trials if _is_known(identities, trial) for job in assigner.jobs(trial).values()]
    return {job.key for level in levels((job, spec.resources) for job in jobs) for job, _ in level}


def _is_known(identities: Identities, trial: Any) -> bool:
    return trial.encoder in identities.encoders and trial.data_hash is not None


class ModelFacts(NamedTuple):
    """What a record says of its model."""

    labels: list[str]
    weights: Mapping[str, str]  # file -> hash; empty if the model was not kept with the record


def check_models(
    folder: Untouched, known: Mapping[str, ModelFacts], verdict: Verification, progress: Advance, *, on_demand: bool
) -> None:
    """Whether each kept model is whole and that of its record. `known`: by the keys of records; on_demand: as above."""
    names, unhashed = folder.names(MODELS), 0
    for number, name in enumerate(names):
        progress("models", number, len(names))
        key = name.rpartition("/")[2]
        verdict.checked["models"] += 1
        missing = [file for file in MODEL_FILES if not folder.has(f"{name}/{file}")]
        if missing and on_demand:
            verdict.note(f"{name}: is at the URL and was not fetched")
        elif missing:
            verdict.wrong(name, f"lacks {', '.join(missing)}: the model is not whole")
        elif key not in known:
            verdict.wrong(name, "belongs to no record that is there")
        else:
            _check_labels(folder, f"{name}/labels.json", known[key].labels, verdict)
            unhashed += not known[key].weights
            for file, digest in known[key].weights.items():
                _check_weights(folder, f"{name}/{file}", digest, verdict)
    progress("models", len(names), len(names))
    if unhashed:
        verdict.note(f"the weights of {unhashed} models were not checked: their records hold no hash of them")


def _check_weights(folder: Untouched, name: str, wanted: str, verdict: Verification) -> None:
    try:
        found = folder.digest(name)
    except DamagedError as damage:
        verdict.wrong(name, str(damage))
        return
    if found != wanted:
        verdict.wrong(name, "its weights are not those that the record names: they were changed or made again")


def _check_labels(folder: Untouched, name: str, wanted: Iterable[str], verdict: Verification) -> None:
    try:
        found = json.loads(folder.read(name))
    except (DamagedError, ValueError, RecursionError) as error:
        verdict.wrong(name, f"cannot be read ({error})")
        return
    if found != [*wanted]:
        verdict.wrong(name, "its classes are not those of the record")
