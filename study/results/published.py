"""The result table of Kimura et al. 2024 as data (Table 3, as printed), and what is odd about it.

Mean and standard deviation over 10 trials, test set. Whether the deviation is that of a sample is not said; it is taken
as one.
"""

from __future__ import annotations

from typing import NamedTuple

TRIALS = 10
PAPER = "Kimura et al. 2024, Table 3"
PRINTED_COLUMNS = tuple(
    (dataset, objective) for dataset in ("acl-arc", "ohsumed", "imdb") for objective in ("accuracy", "macro_f1")
)
PRINTED = """
bert-base     stl        71.34 0.35  63.07 0.69  76.69 3.41  68.76 3.47  88.05 0.05  87.15 0.56
bert-base     rtm        70.77 0.86  62.15 0.48  76.98 2.03  67.47 2.40  88.05 0.05  88.19 0.08
bert-base     l3masking  71.31 0.98  63.15 0.90  76.81 1.49  66.10 3.50  88.10 0.21  88.08 0.08
roberta-base  stl        71.73 4.06  59.44 6.70  70.07 0.54  60.92 0.91  88.84 0.32  88.89 0.30
roberta-base  rtm        78.94 1.76  70.30 2.20  69.92 0.64  64.83 0.37  91.29 0.27  91.30 0.22
roberta-base  l3masking  79.12 1.60  73.30 2.90  73.38 0.48  65.02 0.61  91.32 0.15  91.13 0.09
scibert       stl        80.36 2.45  71.84 2.73  -     -     -     -     -     -     -     -
scibert       rtm        80.14 1.38  70.88 3.06  -     -     -     -     -     -     -     -
scibert       l3masking  82.50 1.90  74.10 2.40  -     -     -     -     -     -     -     -
clinicalbert  stl        -     -     -     -     71.02 0.42  62.85 0.63  -     -     -     -
clinicalbert  rtm        -     -     -     -     70.75 0.36  62.70 0.61  -     -     -     -
clinicalbert  l3masking  -     -     -     -     71.66 0.78  63.70 0.60  -     -     -     -
"""
SWAPPED = {"acl-arc": "ohsumed", "ohsumed": "acl-arc"}  # whose BERT-base columns look exchanged
REMARKS = (  # on the table as a whole
    f"Printed: mean and standard deviation over {TRIALS} trials, taken as that of a sample; the paper leaves it open.",
    "The released code runs RoBERTa alone and holds no plain fine-tuning: how other rows were made is not published.",
    "Encoders and datasets are matched by their names, methods by theirs; variants meet the plain row of their method.",
    "The poster prints the same numbers without the BERT-base rows, and marks fewer of them as best.",
)


class Published(NamedTuple):
    """One printed cell, as fractions."""

    encoder: str
    dataset: str
    method: str
    objective: str
    mean: float
    std: float


def table3() -> dict[tuple[str, str, str, str], Published]:
    """The 48 printed cells by (encoder, dataset, method, objective)."""
    found = {}
    for line in PRINTED.split("\n")[1:-1]:
        encoder, method, *numbers = line.split()
        for (dataset, objective), mean, std in zip(PRINTED_COLUMNS, numbers[::2], numbers[1::2], strict=True):
            if mean != "-":
                place = (encoder, dataset, method, objective)
                found[place] = Published(encoder, dataset, method, objective, float(mean) / 100, float(std) / 100)
    return found


def oddities(cell: Published) -> tuple[str, ...]:
    """What a reader should know before holding a result against this cell; one sentence each."""
    notes = []
    if cell.encoder == "bert-base" and cell.dataset in SWAPPED:
        other = table3()[cell.encoder, SWAPPED[cell.dataset], cell.method, cell.objective]
        notes.append(
            f"The BERT-base columns of ACL-ARC and Ohsumed look exchanged: level and spread fit the other dataset; "
            f"the other column prints {100 * other.mean:.2f} ± {100 * other.std:.2f}."
        )
    if (cell.encoder, cell.dataset, cell.objective) == ("bert-base", "imdb", "accuracy") and cell.method != "l3masking":
        notes.append("STL and RTM print the same 88.05 ± 0.05 here: one may be a slip of copying.")
    if cell.dataset == "acl-arc" and cell.objective == "accuracy" and not is_mean_of_counts(cell.mean):
        notes.append(
            "No 10 counts of right answers among 139 texts have this mean, so trials seem to have been rounded first."
        )
    if cell.dataset == "ohsumed":
        notes.append(
            "The paper gives Ohsumed 4,043 validation texts, as many as it has test texts; 335 is likelier, and "
            "whether the two sets were kept apart cannot be seen."
        )
    if cell.method == "l3masking":
        notes.append(
            "The paper's formula is 1 - likelihood with a mean that is kept; its code uses the negative log-likelihood "
            "and cuts at 1, so that the mean may fall."
        )
    return tuple(notes)


def is_mean_of_counts(mean: float, texts: int = 139, trials: int = TRIALS) -> bool:
    """Whether a mean accuracy, printed in percent with two decimals, is that of some whole number of right answers."""
    answers = texts * trials
    return any(round(100 * count / answers, 2) == round(100 * mean, 2) for count in _near(mean * answers))


def _near(value: float) -> tuple[int, int, int]:
    return int(value) - 1, int(value), int(value) + 1
