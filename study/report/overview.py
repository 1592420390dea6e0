"""The top of report.html, and its answers to the questions of the paper: what the study's own tests allow to say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from l3masking.methods import METHODS, label_of
from study.report.layout import OBJECTIVES, convergence
from study.report.sections import Item, Pairs, Paragraphs, Part, Section
from study.report.wording import by_question, sentence, title
from study.results.aggregate import Cell
from study.results.compare import answers_to
from study.results.comparison import Arm, Comparison, Question
from study.results.effort_pairs import EffortComparison
from study.results.paper_questions import PaperQuestion, paper_questions
from study.results.set_comparisons import SetComparison
from study.results.verdicts import LEVEL, verdict

Headed = tuple[str, list[Item]]  # a heading and a few lines
LONGEST_LINE = 240  # letters of a line there
FIRST, LAST = ("better", "worse"), "undecided"  # outcomes, in the order in which they are told
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
    counts = _counted(group)
    decided = bool(counts["better"] or counts["worse"])
    if len(group) == 1:
        entry = group[0]
        return Item(f"{entry.encoder} / {entry.dataset}, {_objective(entry)}: {sentence(entry)}", decided)
    parts = [f"{outcome} on {count}" for outcome, count in counts.items()]
    return Item(f"{title(group[0])}: {', '.join(parts)} of {len(group)} pairs of encoder and dataset.", decided)


def _counted(group: Iterable[Comparison]) -> Counter[str]:
    """How often each outcome occurs: what is decided first, what is undecided last."""
    counts = Counter(map(_outcome, group))
    order = [*FIRST, *(name for name in counts if name not in (*FIRST, LAST)), LAST]
    return Counter({name: counts[name] for name in order if counts[name]})


def _outcome(entry: Comparison) -> str:
    """What a confirmatory comparison says of its first row."""
    found = verdict(entry)
    if found == "decisive":
        return "better" if (entry.difference or 0) > 0 else "worse"
    return {
        "nothing": "not run",
        "untested": "untested (one seed)",
        "incomplete": "open until all planned comparisons are complete",
        "on_this_test_set": "decided for this test set alone",
        "unequal_search": "not comparable (search budgets differ)",
    }.get(found, "undecided")


def _by_metric(question: PaperQuestion, comparisons: Sequence[Comparison]) -> list[tuple[str, str]]:
    asked = _asked(question, comparisons)
    own = [entry for entry in asked if entry.confirmatory]
    if not own:
        why = "its comparisons are exploratory" if asked else _absent(question)
        return [("This study", f"Undecided: {why}."), *_evidence(asked)]
    counts = _counted(own)
    total = len(own)
    if counts["better"] == total:
        text = f"Yes, on all {total} pairs of encoder and dataset." if total > 1 else "Yes."
    elif counts["worse"] == total:
        text = f"No, it is worse on all {total} pairs of encoder and dataset." if total > 1 else "No, it is worse."
    elif counts["better"] or counts["worse"]:
        parts = ", ".join(f"{outcome} on {count}" for outcome, count in counts.items())
        text = f"It depends on encoder and dataset: {parts} of {total} pairs."
    else:
        text = f"Undecided: {', '.join(f'{outcome} on {count}' for outcome, count in counts.items())} of {total}."
        text = "Undecided." if set(counts) == {"undecided"} else text
    return [("This study", text), *_evidence(own)]


def _by_tokens(
    question: PaperQuestion, comparisons: Sequence[Comparison], profile: Sequence[str]
) -> list[tuple[str, str]]:
    rows = [("Tokens", line) for line in profile or [NO_PROFILE]]
    asked = _asked(question, comparisons)
    control = METHODS[question.second]
    if not asked:
        return [
            *rows,
            ("Effect", f"Undecided: the study has no row {control.label}, which masks other tokens equally often."),
        ]
    counts = Counter("decided" if verdict(entry) == "decisive" else "undecided" for entry in asked)
    text = f"The choice of tokens, against {control.label}: decided on {counts['decided']} of {len(asked)} comparisons."
    return [*rows, ("Effect", text), *_evidence(asked)]


def _by_epochs(question: PaperQuestion, effort: Sequence[EffortComparison]) -> list[tuple[str, str]]:
    name = f"{question.first} vs {question.second}"
    asked = [entry for entry in effort if entry.question == name and entry.quantity == "epochs_to_best"]
    own = [entry for entry in asked if entry.n]
    if not own:
        why = "no seed has finished in both rows" if asked else _absent(question)
        return [("This study", f"Undecided: {why}.")]
    counts = Counter(map(_epochs_outcome, own))
    text = ", ".join(f"{outcome} on {count}" for outcome, count in counts.items())
    text = "Undecided" if set(counts) == {"undecided"} else text[0].upper() + text[1:]
    lines = [(f"{entry.encoder} / {entry.dataset}", _epochs_in_words(entry)) for entry in own]
    return [("This study", f"{text} of {len(own)} comparisons (epochs to the best value, exploratory)."), *lines]


def _epochs_outcome(entry: EffortComparison) -> str:
    if entry.p_adjusted is None or entry.p_adjusted >= LEVEL or entry.difference is None:
        return "undecided"
    return "fewer epochs" if entry.difference < 0 else "more epochs"


def _epochs_in_words(entry: EffortComparison) -> str:
    text = f"{entry.first_mean:.1f} against {entry.second_mean:.1f} epochs, selected by {_objective(entry)}"
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
