"""The search stage: tries settings on validation data alone and says which one was best.

Every training of a search writes a record without test values to `search/records/`, named by its content like all
records. The journal lists the settings that were tried. Findings follow from both, so an interrupted search continues
where it stopped, and repeating a finished one trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from study.assignment import Assignment
from study.plan.searches import Search
from study.search.journal import JOURNAL_FILE, open_journal
from study.space.search_section import SEARCH_FOLDER
from study.store.places import Place, inside, open_store
from study.store.record import Failure, Record
from study.trial import execute
from study.work.pulse import Pulse
from study.work.stopping import in_this_process

Assign = Callable[[Search, Mapping[str, Any], int], Assignment]  # search, values of its parameters, seed
Tried = Callable[["Attempt"], None]


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A setting that has been tried, or failed."""

    search: Search
    values: Mapping[str, Any]
    mean: float | None  # validation value, over `seeds` trainings; None: failed
    seeds: int
    reason: str | None  # why it failed; None: it did not


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The best setting of a search, kept in resolved.yaml."""

    encoder: str
    dataset: str
    method: str
    values: Mapping[str, Any]  # dotted key -> value
    validation: float  # mean of the objective over the search's seeds, a fraction
    trials: int  # settings tried, including those given up early
    seeds: int  # trainings of a setting that is not given up
    trainings: int  # in all: the budget of the search
    sampler: str  # and the version of Optuna
    optuna: str


class SearchStage:
    """The searches of one run. Importing it imports Optuna and Ray Tune, which only a search needs."""

    def __init__(self, place: Place, searches: Sequence[Search], assign: Assign) -> None:
        self.store = open_store(inside(place, SEARCH_FOLDER))
        self.searches, self.assign = list(searches), assign
        self.reopen()

    def reopen(self) -> None:
        """Read the journal again: settings that were running are first in the queue."""
        from study.search.searcher import Explorer

        self.explorer = Explorer(self.searches, open_journal(self.store.root))

    def serially(self, tried: Tried) -> None:
        """One setting after the other, in this process. Raises Stopped on SIGTERM or Ctrl-C."""
        count = 0
        with in_this_process() as flag:
            while (suggestion := self.explorer.suggest(name := f"serial-{count}")) != self.explorer.FINISHED:
                count += 1
                result: dict[str, Any] = {}
                for result in trainings(self.searches[suggestion["search"]], suggestion["values"], self.assign, flag):
                    if self.explorer.judge(name, result):
                        break
                self.explorer.on_trial_complete(name, result)
                tried(self.attempt(suggestion, result))

    def attempt(self, suggestion: Mapping[str, Any], result: Mapping[str, Any], reason: str | None = None) -> Attempt:
        """The outcome of a suggestion. Also puts the journal at the study's URL, if it has one."""
        self.store.push(JOURNAL_FILE)
        reason = reason or result.get("failed") or None
        return Attempt(
            search=self.searches[suggestion["search"]],
            values=suggestion["values"],
            mean=None if reason else result["value"],
            seeds=result.get("seeds", 0),
            reason=reason,
        )

    def sample(self, search: Search) -> Assignment:
        """One training of a search; as large as any other if the parameters change no sizes."""
        return self.assign(search, {}, search.config.seed_list[0])

    def records(self, attempt: Attempt) -> list[Record]:
        """The records of the trainings of an attempt, if there are any."""
        return [record for key in self._keys(attempt) if (record := self.store.read(key)) is not None]

    def failures(self, attempt: Attempt) -> list[Failure]:
        """The failures of the trainings of an attempt."""
        return [failure for key in self._keys(attempt) if (failure := self.store.failure(key)) is not None]

    def _keys(self, attempt: Attempt) -> list[str]:
        trials = [self.assign(attempt.search, attempt.values, s).trial for s in attempt.search.config.seed_list]
        return [key for trial in trials for key in trial.keys.values()]

    def findings(self) -> dict[str, Finding]:
        """Search key -> its finding; a search without a complete setting has none."""
        import optuna
        from optuna.trial import TrialState

        from study.search.searcher import sampler_of, trainings_of, tried

        found = {}
        for search, study in zip(self.searches, self.explorer.studies, strict=True):
            whole = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if whole:
                best = max(whole, key=lambda trial: (trial.value or 0.0, -trial.number))  # the first of equals
                found[search.key] = Finding(
                    encoder=search.encoder,
                    dataset=search.dataset,
                    method=search.method,
                    values=search.config.clean(best.params),
                    validation=best.value or 0.0,
                    trials=tried(study),
                    seeds=search.config.seeds,
                    trainings=trainings_of(study),
                    sampler=type(sampler_of(search, 0)).__name__,
                    optuna=optuna.__version__,
                )
        return found


def trainings(search: Search, values: Mapping[str, Any], assign: Assign, pulse: Pulse) -> Any:
    """Train one setting with each seed in turn; yields {"value": mean so far, "seeds": how many} after each.

    A training that has a record is not repeated. A failure ends it with {"failed": reason, "seeds": before it}. pulse:
    as in `execute`, of all these trainings.
    """
    done: list[float] = []
    for seed in search.config.seed_list:
        assignment = assign(search, values, seed)
        store, (key,) = open_store(assignment.root), assignment.trial.keys.values()
        record = store.read(key)
        if record is None:
            reason = execute(assignment, pulse)
            record = store.read(key)
            if reason is not None or record is None:
                yield {"failed": reason or "its record is damaged", "seeds": len(done)}
                return
        done.append(record["validation"][search.objective])
        yield {"value": fmean(done), "seeds": len(done)}
