"""A comparison in plain words, for readers who take one sentence away. Percent points here.

The verdict is that of study.results.verdicts; a sentence that is not "decisive" says what stands in the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from study.report.layout import OBJECTIVES, row_label
from study.results.comparison import Comparison
from study.results.paired import EXACT_PAIRS, FLIPS, TIE
from study.results.set_comparisons import SetComparison
from study.results.verdicts import LEVEL, Verdict, leaves_zero_out, verdict
from study.results.weighed import POWER, texts_part

NO_NUMBER = "–"  # where there is no number
TESTS = {
    "sign_flip": "exact sign-flip test over all flips of the paired differences",
    "sign_flip_sampled": f"sign-flip test over {FLIPS:,} flips from a named generator (more than {EXACT_PAIRS} pairs)",
    "welch": "Welch's test, unpaired",
}
PAIRINGS = {
    "batches": "Paired by seed: the same head, splits, order of batches and stream of masks on both sides.",
    "head": "Paired by seed: the same head and splits on both sides; not the same order of batches and masks.",
}
HOW = (
    "Differences are first minus second, in percentage points; paired ones over the seeds that both sides finished. "
    "Intervals are 95 %. p is two-sided. Confirmatory comparisons are those that the space file declares: "
    "one family. All others are exploratory: one family too. Holm's adjustment is over all comparisons that are "
    "planned in the family, finished or not. "
    f"Decisive: confirmatory, the family complete, adjusted p below {LEVEL:g}, and both intervals, over seeds and over "
    "seeds and test texts, exclude zero."
)
HOW_SETS = (
    "Comparisons on evaluation sets are exploratory and one family of their own: all questions, objectives and sets, "
    "values and gaps. A gap is the test value minus the value on the set, taken for each seed."
)
CONFIRMATORY, EXPLORATORY = "confirmatory", "exploratory"


def how(comparisons: Iterable[Comparison]) -> str:
    """How all of these are compared, and how complete their families are."""
    found = list(comparisons)
    sets = any(isinstance(entry, SetComparison) for entry in found)
    counts: dict[tuple[str, int, int], None] = {}
    for entry in found:
        name = kind(entry) + (" on evaluation sets" if isinstance(entry, SetComparison) else "")
        counts[name, entry.complete, entry.family] = None
    lines = [f"{name[0].upper()}{name[1:]}: {_progress(done, all_)}." for name, done, all_ in counts]
    return " ".join([HOW, *([HOW_SETS] if sets else []), *lines])


def kind(comparison: Comparison) -> str:
    """Which family a comparison belongs to."""
    return CONFIRMATORY if comparison.confirmatory else EXPLORATORY


def _progress(complete: int, planned: int) -> str:
    return f"{complete} of {planned} planned comparison{'s are' if planned != 1 else ' is'} complete"


def sentence(comparison: Comparison) -> str:
    """What to take away."""
    first, second = _with_means(comparison)
    if comparison.difference is None:
        if isinstance(comparison, SetComparison):
            return f"{first} and {second} share no seed with a value on {comparison.evaluation}: nothing to compare."
        if comparison.pairing is None:
            return f"{first if comparison.first.n == 0 else second} has no finished seed: nothing to compare."
        return f"{first} and {second} have no finished seed in common: nothing to compare."
    return f"{_what(comparison, first, second)} ({_how_sure(comparison)}).{_allowed(comparison)}"


def sides(comparison: Comparison) -> tuple[str, str]:
    """The two rows as tables call them."""
    first, second = (row_label(entry.method, entry.variant, []) for entry in (comparison.first, comparison.second))
    return first, second


def title(comparison: Comparison) -> str:
    """Of its question: "L3Masking against RTM, macro F1 (exploratory)"."""
    first, second = sides(comparison)
    objective = OBJECTIVES.get(comparison.objective, comparison.objective)
    text = f"{first} against {comparison.second.study or second}, {objective}"
    if isinstance(comparison, SetComparison):
        text += " on evaluation sets" if comparison.measure == "value" else ", generalisation gap"
    return f"{text} ({kind(comparison)})"


def place(comparison: Comparison) -> str:
    """Where the rows are compared, as tables say it: "bert / mnli", "bert / mnli on hans"."""
    text = f"{comparison.encoder} / {comparison.dataset}"
    return f"{text} on {comparison.evaluation}" if isinstance(comparison, SetComparison) else text


def by_question(comparisons: Iterable[Comparison]) -> list[list[Comparison]]:
    """Those of one question and objective together; confirmatory ones first, then as they came, sets apart."""
    found: dict[tuple[str, str, str | None], list[Comparison]] = {}
    for comparison in sorted(comparisons, key=lambda entry: not entry.confirmatory):
        measure = comparison.measure if isinstance(comparison, SetComparison) else None
        found.setdefault((comparison.question, comparison.objective, measure), []).append(comparison)
    return list(found.values())


def remarks(group: Sequence[Comparison]) -> list[str]:
    """What holds for all comparisons of a question: how they are paired and tested, and what they can show at most."""
    lines = [PAIRINGS[name] for name in ("batches", "head") if any(entry.pairing == name for entry in group)]
    if any(entry.pairing is None for entry in group):
        lines.append("Not paired: means and standard deviations alone are compared.")
    tests = [name for name in TESTS if any(entry.test == name for entry in group)]
    if tests:
        lines.append(f"Test: {'; '.join(TESTS[name] for name in tests)}.")
    floors = sorted({(c.n, c.floor, c.floor_holm) for c in group if c.floor is not None and c.floor_holm is not None})
    for n, floor, least in floors:
        line = f"Least p that the {n} differences can give: {p_text(floor)}"
        planned = group[0].family
        line += f"; after Holm over {planned} planned tests: {p_text(least)}." if planned > 1 else "."
        lines.append(line + ("" if least < LEVEL else " No result could be significant."))
    return lines


def p_text(p: float) -> str:
    """.00391, .25, 1: three digits, and none is printed as zero."""
    return "1" if p >= 1 else f"{p:.3g}".removeprefix("0") if p >= 1e-4 else f"{p:.0e}"


def points(value: float | None) -> str:
    """A fraction as percentage points with two decimals; a dash where there is none."""
    return NO_NUMBER if value is None else f"{100 * value:.2f}".replace("-0.00", "0.00")


def interval_text(low: float | None, high: float | None) -> str:
    """-0.40 to 2.00; an end beside zero keeps its sign: -0.69 to -0.003."""
    return NO_NUMBER if low is None or high is None else f"{_end(low)} to {_end(high)}"


def _end(value: float) -> str:
    beside_zero = points(value) == "0.00" and abs(value) > TIE
    return f"{100 * value:.1g}" if beside_zero else points(value)


def seeds_text(comparison: Comparison) -> str:
    """n=10, n=9/10; for means of different seeds both counts."""
    if comparison.pairing is None:
        return f"n={comparison.first.n} and {comparison.second.n}"
    short = comparison.n < comparison.wanted
    return f"n={comparison.n}/{comparison.wanted}" if short else f"n={comparison.n}"


def _with_means(comparison: Comparison) -> tuple[str, str]:
    """The rows with their average mask probabilities where these differ, and with the study where that is another."""
    first, second = comparison.first, comparison.second
    if second.study is not None:
        name, other = sides(comparison)
        return name, f"the {other} of {second.study}"
    differ = None not in (first.mask_mean, second.mask_mean) and first.mask_mean != second.mask_mean
    names = (row_label(entry.method, entry.variant, [entry.mask_mean] if differ else []) for entry in (first, second))
    return next(names), next(names)


def _what(comparison: Comparison, first: str, second: str) -> str:
    difference = comparison.difference or 0.0
    size, above = points(abs(difference)), difference > 0
    same = comparison.n > 1 and comparison.ci_low == comparison.ci_high == 0
    if isinstance(comparison, SetComparison) and comparison.measure == "gap":
        first, second = f"the gap of {first} to {comparison.evaluation}", f"that of {second}"
        text = f"{first} is {size} points {'above' if above else 'below'} {second}"
        text = f"{first} and {second} are equal to two decimals" if size == "0.00" else text
        text = f"{first} and {second} are the same under every seed" if same else text
        return text[0].upper() + text[1:]
    where = f" on {comparison.evaluation}" if isinstance(comparison, SetComparison) else ""
    if same:
        return f"{first} and {second} have the same value{where} under every seed"
    if size == "0.00":
        return f"{first} and {second} are equal{where} to two decimals"
    return f"{first} is {size} points {'above' if above else 'below'} {second}{where}"


def _allowed(comparison: Comparison) -> str:
    """What the numbers allow to say beside the verdict: equivalence, or how many seeds would decide."""
    within, size = comparison.p_equivalence, points(comparison.margin)
    told = f"p = {p_text(1 if within is None else within)}{', not adjusted' if comparison.family > 1 else ''}"
    known = comparison.joint_low is not None
    if comparison.conclusion == "equivalent":
        text = f"he rows are equivalent within {size} points"
        return f" T{text} ({told})." if _within_too(comparison) else f" On this test set t{text} ({told})."
    if comparison.conclusion in ("better", "worse") and within is not None and within < LEVEL:
        where = "" if _within_too(comparison) else " on this test set"
        return f" The difference is smaller than {size} points{where} ({told})."
    if comparison.conclusion != "undecided":
        return ""
    assumed = abs(comparison.difference or 0.0) if comparison.margin is None else comparison.margin
    if comparison.seeds_needed is None:
        few = texts_part(comparison) >= assumed**2 > 0
        told = f" No number of seeds would decide a true difference of {points(assumed)} points on these test texts."
        return told if few else ""
    declares = "" if comparison.confirmatory else " that declares this question alone"
    study = f"A new study with about {comparison.seeds_needed} seeds{declares} would"
    where = "" if known else " on this test set"
    if comparison.margin is None:
        return f" {study} decide it{where} (probability {POWER:g}) if the true difference is the observed one."
    what = f"find a difference of {size} points, or show that there is none as large"
    return f" {study} {what}{where} (probability {POWER:g} each)."


def _within_too(comparison: Comparison) -> bool:
    """Whether the interval over seeds and test texts lies within the margin too."""
    low, high, margin = comparison.joint_low, comparison.joint_high, comparison.margin
    return low is not None and high is not None and margin is not None and -margin < low and high < margin


def _how_sure(comparison: Comparison) -> str:
    """What stands in the brackets of a sentence: the numbers that decide, and the verdict."""
    found = verdict(comparison)
    if comparison.ci_low is None:
        return f"one seed: no interval over seeds and no test{_texts_alone(comparison)}"
    interval = f"interval {interval_text(comparison.ci_low, comparison.ci_high)}"
    if found == "untested" or comparison.p_holm is None:
        return f"{interval}; neither side varies: no test"
    zero_out = leaves_zero_out(comparison.ci_low, comparison.ci_high)
    interval += " excludes zero" if zero_out else " includes zero"
    told = f"adjusted p = {p_text(comparison.p_holm)}"
    if found == "incomplete":
        return f"{interval}, {told} so far: no verdict yet, {_progress(comparison.complete, comparison.family)}"
    if found == "undecided":
        if not zero_out:
            return f"{interval}: not decisive"
        few = comparison.floor_holm is not None and comparison.floor_holm >= LEVEL
        why = f", and these seeds cannot give less than {p_text(comparison.floor_holm or 1)}" if few else ""
        return f"{interval}, but {told}{why}: not decisive"
    return f"{interval}, {told}{_texts_too(comparison, found)}: {VERDICTS[found]}"


VERDICTS: dict[Verdict, str] = {
    "decisive": "decisive",
    "on_this_test_set": "on this test set, not beyond it",
    "to_confirm": "exploratory, a finding to confirm on fresh seeds",
    "unequal_search": "no verdict, because the two rows had no equal search budget",
}


def _texts_alone(comparison: Comparison) -> str:
    low, high = comparison.joint_low, comparison.joint_high
    return "" if low is None else f"; over test texts alone {interval_text(low, high)}"


def _texts_too(comparison: Comparison, found: Verdict) -> str:
    """What the interval over seeds and texts adds, where the seeds agree."""
    low, high = comparison.joint_low, comparison.joint_high
    texts = "texts" if isinstance(comparison, SetComparison) else "test texts"
    if low is None or high is None:
        return f", the labels of the {texts} are not known" if found == "on_this_test_set" else ""
    interval = f"over seeds and {texts} {interval_text(low, high)}"
    return f", {interval} excludes zero too" if leaves_zero_out(low, high) else f", but {interval} includes zero"
