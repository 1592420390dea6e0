"""The top of report.html, and its answers to the questions of the paper: what the study's own tests allow to say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from l3masking.methods import METHODS, label_of
from study.report.epoch_wording import UNITS
from study.report.layout import OBJECTIVES, convergence
from study.report.sections import Item, Pairs, Paragraphs, Part, Section
from study.report.wording import by_question, sentence, title
from study.results.aggregate import Cell
from study.results.compare import answers_to
from study.results.comparison import Arm, Comparison, Question
from study.results.effort_pairs import EffortComparison, effort_answers
from study.results.paper_questions import PaperQuestion, paper_questions
from study.results.set_comparisons import SetComparison
from study.results.verdicts import LEVEL, leaves_zero_out, verdict

Headed = tuple[str, list[Item]]  # a heading and a few lines
BETTER, WORSE, UNDECIDED = "better", "worse", "undecided"
FEWER, MORE = "fewer", "more"  # of what is counted
OPEN = "open until all planned comparisons are complete"
LONGEST_LINE = 240  # letters of a line there
MOST_LINES = 6  # below one heading of the summary, which is to fit one screen
UNDECLARED = (
    "The space declares no confirmatory comparison, so this study decides nothing: all comparisons are exploratory."
)
NO_PROFILE = (
    "`l3study pos STUDY` gives the profile of mask probabilities by part of speech (Tables 4 and 5); the next "
    "`l3study export` shows it here."
)


def summary(cells: Sequence[Cell], comparisons: Iterable[Comparison], cautions: Sequence[str] = ()) -> list[Headed]:
    """What a reader should see first. `cautions`: what to know of the data, most important first."""
    confirmatory = [entry for entry in comparisons if entry.confirmatory]
    found = [_in_short(group) for group in by_question(confirmatory)] or [Item(UNDECLARED)]
    lines = [*convergence_in_short(cells), *cautions]
    return [("In short", _cut(found)), ("Before you rely on it", _cut(list(map(Item, lines))))]


def answers(
    comparisons: Sequence[Comparison],
    effort: Sequence[EffortComparison],
    profile: Sequence[str] = (),
) -> Section:
    """The four questions of the paper; `profile`: lines on the tokens that are masked more and less often."""
    own = [entry for entry in comparisons if not isinstance(entry, SetComparison)]
    parts: list[Part] = []
    for question in paper_questions():
        if question.measured == "metric":
            rows = _by_metric(question, own)
        elif question.measured == "tokens":
            rows = _by_tokens(question, own, profile)
        else:
            rows = _by_epochs(question, effort)
        parts.append(Pairs(title=f"{question.name}. {question.text}", rows=[*rows, ("Paper", question.claim)]))
    intro = Paragraphs(
        lines=["The questions of Kimura et al. 2024, answered from this study's own numbers."], small=True
    )
    return Section("answers", "Answers", [intro, *parts])


def convergence_in_short(cells: Sequence[Cell]) -> list[str]:
    """The lines on rows that had not converged; one line if there are many."""
    lines = [line for line in convergence(cells) if line.startswith("Not converged")]
    if len(lines) > 1 or any(len(line) > LONGEST_LINE for line in lines):
        return ["Some rows had not converged; they are listed below the results."]
    return lines


def _in_short(group: Sequence[Comparison]) -> Item:
    """One confirmatory question over all encoders and datasets."""
    counts = Counter(map(_outcome, group))
    decided = bool(counts[BETTER] or counts[WORSE])
    if len(group) == 1:
        entry = group[0]
        return Item(f"{entry.encoder} / {entry.dataset}, {_objective(entry)}: {sentence(entry)}", decided)
    return Item(f"{title(group[0])}: {_counted(counts, _pairs(group))}.", decided)


def _outcome(entry: Comparison) -> str:
    """What a confirmatory comparison says of its first row."""
    found, above = verdict(entry), (entry.difference or 0) > 0
    if found == "decisive":
        return BETTER if above else WORSE
    if found == "on_this_test_set":
        return f"{BETTER if above else WORSE} for its test set alone"
    return {
        "nothing": "without a shared seed",
        "untested": "untested (one seed, or nothing varies)",
        "incomplete": OPEN,
        "unequal_search": "not comparable (search budgets differ)",
    }.get(found, UNDECIDED)


def _counted(counts: Counter[str], what: str) -> str:
    """How often each outcome occurs, what is decided first: "better on 1, undecided on 7 of 8 pairs"."""
    known = sorted(counts, key=lambda outcome: (outcome == UNDECIDED, outcome not in (BETTER, WORSE), outcome))
    return f"{', '.join(f'{outcome} on {counts[outcome]}' for outcome in known if counts[outcome])} of {what}"


def _pairs(entries: Sequence[Comparison]) -> str:
    """How many comparisons these are: pairs of encoder and dataset where all are under one objective."""
    if len({entry.objective for entry in entries}) > 1:
        return f"{len(entries)} comparisons"
    return f"{len(entries)} pair{'s' * (len(entries) != 1)} of encoder and dataset"


def _answered(asked: Sequence[Comparison]) -> str:
    """What the confirmatory ones of these comparisons of two rows say together, for the first row."""
    own = [entry for entry in asked if entry.confirmatory]
    if not own:
        return "Undecided: its comparisons are exploratory."
    counts = Counter(map(_outcome, own))
    (first, *others), what = own, _pairs(own)
    where = f"on all {what}" if others else f"on {first.encoder} / {first.dataset}, by {_objective(first)}"
    if set(counts) == {BETTER}:
        return f"Yes, {where}."
    if set(counts) == {WORSE}:
        return f"No, it is worse {where}."
    if counts[BETTER] and counts[WORSE]:
        return f"It depends on encoder and dataset: {_counted(counts, what)}."
    if counts[BETTER]:
        return f"In part: {_counted(counts, what)}."
    if counts[WORSE]:
        return f"No where it is decided: {_counted(counts, what)}."
    if set(counts) == {UNDECIDED}:
        return "Undecided."
    return f"Undecided: {_counted(counts, what)}." if others else f"Undecided: {_outcome(first)}."


def _by_metric(question: PaperQuestion, comparisons: Sequence[Comparison]) -> list[tuple[str, str]]:
    asked = _asked(question, comparisons)
    if not asked:
        return [("This study", f"Undecided: {_absent(question)}.")]
    own = [entry for entry in asked if entry.confirmatory]
    return [("This study", _answered(asked)), *_evidence(own or asked)]


def _by_tokens(
    question: PaperQuestion, comparisons: Sequence[Comparison], profile: Sequence[str]
) -> list[tuple[str, str]]:
    rows = [("Tokens", line) for line in profile or [NO_PROFILE]]
    asked = _asked(question, comparisons)
    control = METHODS[question.second].label
    if not asked:
        return [
            *rows,
            ("Effect", f"Undecided: the study has no row {control}, which masks other tokens equally often."),
        ]
    text = f"Better than {control}, which masks other tokens equally often? {_answered(asked)}"
    return [*rows, ("Effect", text), *_evidence(asked)]


def _by_epochs(question: PaperQuestion, effort: Sequence[EffortComparison]) -> list[tuple[str, str]]:
    asked = effort_answers(Question(Arm(question.first), Arm(question.second)), effort)
    found = [entry for entry in asked if entry.quantity == "epochs_to_best"]
    if not found:
        return [("This study", f"Undecided: {_absent(question)}.")]
    if not any(entry.n for entry in found):
        return [("This study", "Undecided: no seed has finished in both rows.")]
    counts = Counter(map(_epochs_outcome, found))
    text = _counted(counts, f"{len(found)} comparison{'s' * (len(found) != 1)}")
    text = "Undecided" if set(counts) == {UNDECIDED} else text[0].upper() + text[1:]
    lines = [(f"{entry.encoder} / {entry.dataset}", _epochs_in_words(entry)) for entry in found if entry.n]
    what = UNITS[found[0].unit].counted
    fresh = "; to confirm on fresh seeds" if {*counts} & {f"{FEWER} {what}", f"{MORE} {what}"} else ""
    return [("This study", f"{text} ({what} to the best value, exploratory{fresh})."), *lines]


def _epochs_outcome(entry: EffortComparison) -> str:
    if not entry.n:
        return "without a shared seed"
    if entry.p_adjusted is None or entry.difference is None:
        return "untested (one seed)"
    if entry.complete < entry.family:
        return OPEN
    if entry.p_adjusted >= LEVEL or not leaves_zero_out(entry.ci_low, entry.ci_high):
        return UNDECIDED
    return f"{FEWER if entry.difference < 0 else MORE} {UNITS[entry.unit].counted}"


def _epochs_in_words(entry: EffortComparison) -> str:
    what = f"{UNITS[entry.unit].counted}, selected by {_objective(entry)}"
    text = f"{entry.first_mean:.1f} against {entry.second_mean:.1f} {what}"
    if entry.p_adjusted is None or entry.ci_low is None or entry.ci_high is None:
        return f"{text} (one seed: no test)"
    return f"{text} (difference {entry.ci_low:.1f} to {entry.ci_high:.1f}, adjusted p = {entry.p_adjusted:.3g})"


def _asked(question: PaperQuestion, comparisons: Iterable[Comparison]) -> list[Comparison]:
    """The comparisons of its two rows, first minus second."""
    return answers_to(Question(Arm(question.first), Arm(question.second)), comparisons)


def _evidence(entries: Iterable[Comparison]) -> list[tuple[str, str]]:
    return [(f"{entry.encoder} / {entry.dataset}, {_objective(entry)}", sentence(entry)) for entry in entries]


def _absent(question: PaperQuestion) -> str:
    return f"the study does not have both {label_of(question.first)} and {label_of(question.second)}"


def _objective(entry: Comparison | EffortComparison) -> str:
    return OBJECTIVES.get(entry.objective, entry.objective)


def _cut(items: list[Item]) -> list[Item]:
    """As many as fit, and how many more there are."""
    more = len(items) - MOST_LINES
    return items if more <= 0 else [*items[: MOST_LINES - 1], Item(f"{more + 1} further lines stand below.")]
