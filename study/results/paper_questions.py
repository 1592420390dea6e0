"""The four questions of Kimura et al. 2024 as data: what each asks, which rows answer it, and what the paper says."""

from __future__ import annotations

from typing import Literal, NamedTuple

from l3masking.methods import OTHER_TOKENS, QUESTIONS
from study.results.published import table3

TO_RTM, TO_STL, _ = QUESTIONS
AnsweredBy = Literal["metric", "tokens", "epochs"]  # what answers a question: tests of the metric, a profile, epochs


class PaperQuestion(NamedTuple):
    """One question of the paper."""

    name: str
    text: str
    measured: AnsweredBy
    first: str  # arm
    second: str  # arm that it is held against
    claim: str  # what the paper says


def paper_questions() -> list[PaperQuestion]:
    """Q1 to Q4; the counts in the claims come from the printed table."""
    return [
        PaperQuestion(
            "Q1",
            "Does learning from the tokens that the vanilla model finds unlikely beat plain fine-tuning?",
            "metric",
            *TO_STL,
            f"The paper says yes: {_printed(*TO_STL)}.",
        ),
        PaperQuestion(
            "Q2",
            "Does L3Masking beat random token masking?",
            "metric",
            *TO_RTM,
            f"The paper says yes: {_printed(*TO_RTM)}.",
        ),
        PaperQuestion(
            "Q3",
            "Which tokens are masked more often, and what does that change?",
            "tokens",
            *OTHER_TOKENS,
            "For RoBERTa and SciBERT on ACL-ARC, the paper finds foreign words, plural nouns and brackets among the "
            "tokens with the highest mask probabilities, and wh-pronouns and numbers among those with the lowest "
            "(Tables 4 and 5).",
        ),
        PaperQuestion(
            "Q4",
            "Does L3Masking need fewer epochs?",
            "epochs",
            *TO_RTM,
            "The paper says yes for BERT and RoBERTa, and no for SciBERT and ClinicalBERT (Figure 3, without numbers "
            "and without a test).",
        ),
    ]


def _printed(first: str, second: str) -> str:
    """How often the printed mean of one arm is above that of another."""
    printed = table3()
    pairs = [
        (cell.mean, printed[cell.encoder, cell.dataset, second, cell.objective].mean)
        for (_, _, method, _), cell in printed.items()
        if method == first
    ]
    above, equal = (sum(test(*pair) for pair in pairs) for test in (float.__gt__, float.__eq__))
    text = f"its Table 3 prints a higher mean in {above} of {len(pairs)} combinations of encoder, dataset and metric"
    return f"{text}, and an equal one in {equal}" if equal else text
