"""What the trainings of a plan share: how much of it there is, and how long its tables are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from study.estimate.sizes import DataSize
from study.plan.needs import Need, NeedKind, adaptation_key, artefacts_of
from study.plan.trials import Trial
from study.space.spec import StudySpec

# of texts of ACL-ARC, Ohsumed and IMDb under max_length 128: 13.8, 16.4 and 17.2; the text itself is among them
SCORED_TOKEN = 17  # bytes of a scored token in its Parquet file
AS_SHOWN: dict[NeedKind, str] = {"scores": "scores", "heuristic": "importance", "prediction": "importance"}


class TableRoom(NamedTuple):
    """Files that hold a number for each token of some texts."""

    size: int | None  # bytes at most, of those whose texts are known; None if there are none such
    vague: int  # tables of unknown length


def shared_work(spec: StudySpec, trials: Sequence[Trial]) -> dict[str, int]:
    """What trials share, by kind: how many of each are made once for all of them."""
    kinds = [AS_SHOWN[need.kind] for need in artefacts_read(spec, trials)]
    counts = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    adapted = len(adapted_encoders(trials))
    return counts | ({"adapted encoders": adapted} if adapted else {})


def artefacts_read(spec: StudySpec, trials: Iterable[Trial]) -> list[Need]:
    """The artefacts that any of the trials reads, each once."""
    cells = {trial.cell: trial for trial in trials}  # trials of a cell differ in the seed alone
    read = (need for trial in cells.values() for need in artefacts_of(trial, spec.datasets[trial.dataset]))
    return list({need.key: need for need in read}.values())


def with_what_they_need(needs: Iterable[Need]) -> list[Need]:
    """The artefacts and all that they are made from, each once."""
    return list({one.key: one for need in needs for one in need.chain()}.values())


def adapted_encoders(trials: Iterable[Trial]) -> list[str]:
    """The encoders that `adapt` stages give, each by the name of the encoder that it starts from."""
    keys: dict[tuple[Any, ...], str | None] = {}
    found: dict[tuple[str, int], str] = {}
    for trial in trials:
        if trial.cell not in keys:
            keys[trial.cell] = adaptation_key(trial)
        key = keys[trial.cell]
        if key is not None:
            found[key, trial.seed] = trial.encoder
    return list(found.values())


def tables(needs: Iterable[Need], sizes: Mapping[str, DataSize]) -> TableRoom:
    """The room of some tables: each as long as the texts that it describes."""
    found = [_table(need, sizes) for need in needs]
    known = [size for size in found if size is not None]
    return TableRoom(sum(known) if known or not found else None, len(found) - len(known))


def _table(need: Need, sizes: Mapping[str, DataSize]) -> int | None:
    texts = described_texts(need, sizes)
    # importance is told of texts as long as those of the classifier behind it
    length: int = need.chain()[0].settings["scoring"]["max_length"]
    return None if texts is None else texts * length * SCORED_TOKEN


def described_texts(need: Need, sizes: Mapping[str, DataSize]) -> int | None:
    """How many texts an artefact describes; None if nobody knows."""
    if need.dataset is None:  # the corpora of a study are the same beside each dataset
        return next(iter(sizes.values())).texts_of(need.corpus)
    size = sizes[need.dataset]
    return size.train if need.kind == "heuristic" else size.texts_of(need.corpus)
