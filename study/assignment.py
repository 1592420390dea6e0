"""A trial and all that a process needs to run it anywhere. Small and plain, so that it travels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from l3masking.errors import InputError
from l3masking.stages import Adapt
from study.plan.inputs import CorpusSource, DataSource, EncoderSource
from study.plan.trials import Trial
from study.score import TextSources
from study.space.spec import Resources
from study.store.places import Place


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A trial and all that a process needs to run it anywhere that sees the study's folder."""

    study: str
    trial: Trial
    encoder: EncoderSource
    data: DataSource
    root: Place  # where the study lies: a folder that this process sees too, or a URL
    needed: Mapping[tuple[str, str], Place]  # (kind, content hash of the texts) -> artefact that the trial reads
    corpus: CorpusSource | None = None  # for `adapt` stages; None: the text of the task
    lost: str | None = None  # why something that the trial reads could not be made; None: all of it is there
    keep_adapted: bool = False  # whether the weights after the `adapt` stages stay when the trial is done
    resources: Resources
    commit: str | None  # of this program's checkout, where it is one
    with_test: bool = True  # False: the test split is not read, and records have no test values (a search)

    def text_of(self, stage: Adapt) -> TextSources:
        """The texts that a stage trains on."""
        return self.data if stage.text == "task" or self.corpus is None else self.corpus

    def importance_on(self, source: TextSources) -> tuple[str, Place]:
        """How the importance of tokens in some texts was found, "heuristic" or "prediction", and where it lies."""
        for kind in ("heuristic", "prediction"):
            place = self.needed.get((kind, source.content_hash))
            if place is not None:
                return kind, place
        raise InputError(f"the importance of tokens in {source.name} was not computed: run the study again")
