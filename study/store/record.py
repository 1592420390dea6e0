"""What the files of a study hold, field by field: a record, a failure, and the manifest of a score folder.

Everything that writes or reads such a file uses these types. docs/records.md explains the same fields to a user, and a
test compares the two. A metric value is a fraction in [0, 1]; an epoch is one pass over the primary training data.
"""
# No `from __future__ import annotations` here: with it, Python cannot tell which fields are not required.

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, TypeVar, cast

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

SCHEMA = 1  # of a record; part of every trial's key


class Row(TypedDict):
    """What the seeds and objectives of one row of the result table have in common."""

    encoder: str  # name in the space file
    dataset: str  # name in the space file
    method: str  # name of the arm in l3masking.methods.METHODS
    # name in the space file; "best": found by a search; "search": a training of a search; None: the plain row
    variant: str | None
    mask_mean: float | None  # average mask probability, in [0, 1]; None for an arm that masks nothing


class Identity(Row):
    """What names one record or failure among the others of its study."""

    key: str  # 32 hexadecimal digits, the name of the file: hash of everything that may change the result
    objective: str  # metric of the validation split that chose the weights: accuracy | macro_f1
    seed: int  # of all random streams of the training, 0 and up


Entry = TypeVar("Entry", bound=Identity)  # a record, a part of one, or a failure


class Failure(Identity):
    """failures/<key>.json: why a trial has no record."""

    reason: str  # type and first line of the exception, or how the process ended
    traceback: str  # of the exception; empty where the process died
    attempts: int  # attempts that failed so far, 1 and up
    checksum: NotRequired[str]  # 32 hexadecimal digits over all other fields; added when the file is written


class Probabilities(TypedDict):
    """Probabilities of classes, packed: study.store.packed reads and writes them."""

    shape: list[int]  # texts and classes
    float16: str  # base64 of the numbers, row by row, IEEE 754 half precision, little-endian


class EvaluationResult(TypedDict):
    """How the selected model does on a further set, which is read once."""

    metrics: dict[str, float]  # metric -> value on the set, in [0, 1], over the set's own classes
    labels: list[str]  # names of the set's classes, sorted
    absent: list[str]  # those of which the set has no text
    predictions: "list[int] | NDArray[np.integer]"  # predicted class of each text, index into these labels
    probabilities: NotRequired[Probabilities]  # of each class for each text; absent before 2026-12-01
    data_hash: str  # of the set: its texts, labels and label map


class Evaluated(Identity):
    """The part of a record that becomes a cell of the tables."""

    validation: dict[str, float]  # metric -> value on the validation split with the chosen weights, in [0, 1]
    test: NotRequired[dict[str, float]]  # metric -> value on the test split, in [0, 1]; absent in a search
    # predicted class of each test text, index into `labels`; absent in a search. Tables hold it as an array
    test_predictions: NotRequired["list[int] | NDArray[np.integer]"]
    # evaluation set -> result; absent in a search, and where the dataset has no such sets
    evaluations: NotRequired[dict[str, EvaluationResult]]
    # epochs until the best validation value of the main stage, above 0; of equal values the latest, whose weights count
    epochs_to_best: float
    epochs_to_first_best: NotRequired[float]  # the same for the first of equal values; absent before 2026-11-27
    epochs_to_stop: float  # epochs until the main stage ended, at least epochs_to_best
    # how the training diverged under bf16, before it was made again in float32; absent elsewhere
    retried_in_float32: NotRequired[str]


class Run(TypedDict):
    """Where and when a record was made. The one part that differs when a trial is repeated."""

    # wall time of the training, which serves all its objectives, without what a killed process did in vain; above 0
    seconds: float
    host: str  # name of the machine
    device: str  # name of the GPU, or architecture of the processor
    threads: int  # CPU threads that PyTorch used, 1 and up
    versions: dict[str, str]  # of Python, torch, transformers, tokenizers and numpy
    commit: str | None  # of the program's checkout; None if it is not one
    attempts: int  # attempts that this record took, failed ones included; 1 and up
    started: str  # when the process that finished it began, ISO 8601 in UTC, to the second
    resumed: NotRequired[int]  # times that the training went on from a checkpoint, 1 and up; absent if it never did
    micro_batch: NotRequired[int]  # most texts at a time, 1 and up, where memory was short; absent if it never was
    # file of models/<key>/ -> BLAKE2b (32 hexadecimal digits) of the weights in it; only of a run that kept the model
    weights: NotRequired[dict[str, str]]
    checksum: NotRequired[str]  # 32 hexadecimal digits over the rest of `run`; added when the record is written


class Kept(Evaluated):
    """What tables, comparisons and timing need of a record. Curves are many times larger, and are left out."""

    updates: int  # optimizer updates of the main stage until its stop, 1 and up
    mlm_passes: float  # passes over the masked-LM texts until then, 0 and up; 0 for an arm without that task
    trajectory: str  # 32 hexadecimal digits: key of the training, which the records of its objectives share
    run: Run  # where and when; not under the checksum


class CurvePoint(TypedDict):
    """One evaluation of the main stage."""

    update: int  # optimizer updates so far, 1 and up
    epoch: float  # epochs so far, above 0
    validation: dict[str, float]  # metric -> value on the validation split, in [0, 1]; loss: cross-entropy in nats
    train_loss: dict[str, float]  # task (primary, mlm) -> mean training loss since the last evaluation, nats, from 0
    task_weights: dict[str, float]  # task (primary, mlm) -> weight of its loss; the weights sum to 1
    empty_mlm_batches: int  # masked-LM batches so far in which no token was masked, 0 and up


class FinalStage(TypedDict):
    """The classification-only stage after the main stage."""

    enabled: bool  # whether the settings ask for it
    epochs: int  # epochs that it took, 0 and up
    kept: bool  # whether its weights were better on the validation split, and so are the chosen ones


class MaskProbabilities(TypedDict):
    """Summary of the mask probabilities over all eligible tokens of the masked-LM texts."""

    mean: float  # over all eligible tokens, in [0, 1]
    largest_deviation: float  # of a text's own mean from the average that was asked for, in [0, 1]
    max: float  # the largest probability, in [0, 1]
    share_capped: float  # share of tokens whose probability is 1, in [0, 1]


class Adaptation(TypedDict):
    """The masked-LM training before fine-tuning."""

    updates: int  # optimizer updates, 1 and up
    best_update: int  # the update whose weights were kept
    passes: float  # passes over the training texts, above 0
    texts: int  # texts, held-out ones included, 1 and up
    masked_share: float  # masked tokens among all tokens fed to the model, in [0, 1]
    losses: list[dict[str, float]]  # per evaluation: update, train and dev loss in nats per masked token


class NewRecord(Kept):
    """A record before it has its checksum."""

    schema: int  # version of this layout, SCHEMA
    study: str  # name of the study that made it
    revision: str  # of the encoder: commit on the Hub, or hash of a local folder
    data_hash: str  # hash of the dataset's content
    settings: Mapping[str, Any]  # section -> setting -> value: those alone that may change the result
    labels: list[str]  # names of the classes, sorted; predictions are indices into them
    # of each class for each test text; absent in a search, and before 2026-12-01. No part of a `Kept`: it is large
    test_probabilities: NotRequired[Probabilities]
    overlap: dict[str, int]  # rows, repeats and texts shared between splits; dropped_<split>: rows left out; 0 and up
    mask_probability: MaskProbabilities | None  # None for an arm that masks nothing
    # eligible tokens of the masked-LM texts by their mask probability, in 100 equal bins over [0, 1]; None for an arm
    # that masks nothing; absent before 2026-12-01
    mask_histogram: NotRequired[list[int] | None]
    planned_updates: NotRequired[int]  # of the main stage where nothing stops it early; absent before 2026-12-01
    primary_examples: int  # primary training examples seen until then, 1 and up
    empty_mlm_batches: int  # masked-LM batches until then in which no token was masked, 0 and up
    final_stage: FinalStage  # what the classification-only stage did
    adaptation: NotRequired[Adaptation]  # absent for an arm without masked-LM training before fine-tuning
    curve: list[CurvePoint]  # evaluations of the main stage until its stop, in order, at least one


class Record(NewRecord):
    """records/<key>.json: the result of one trial for one objective."""

    checksum: str  # 32 hexadecimal digits: BLAKE2b of everything but `run` and itself


class MadeWith(TypedDict):
    """Speed settings of the run that scored. Log-likelihoods may differ in their last digits under others."""

    token_budget: int  # input tokens of one batch, at most: fewer where memory is short; 1 and up
    gpu: float  # GPUs of a scoring worker, 0 and up
    threads: int  # CPU threads of a scoring worker, 1 and up


class ScoreManifest(TypedDict):
    """scores/<key>/manifest.json, written last: a score folder without it is unfinished."""

    key: str  # 32 hexadecimal digits, the name of the folder: hash of everything that may change a score
    parts: list[str]  # names of the Parquet files, in the order of the shards
    scoring: dict[str, Any]  # the scoring settings
    scoring_pass: str  # "fast", or "own" for the model's own forward pass; follows from the encoder's type
    made_with: MadeWith  # not part of the key
    checksum: NotRequired[str]  # 32 hexadecimal digits over all other fields; added when the file is written


def part(entry: Mapping[str, object], kind: type[T]) -> T:
    """The fields of `entry` that `kind`, one of the types above, declares."""
    return cast(T, {name: entry[name] for name in kind.__annotations__ if name in entry})
