"""What a verification has found: findings, which are wrong, and notes, which a reader must know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from study.report.layout import plain

Advance = Callable[[str, int, int], None]  # what is looked at, how many are done, how many there are


class Flaw(NamedTuple):
    """One thing that is not as the study claims."""

    file: str  # below the study's folder, with "/"
    problem: str

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}"


@dataclass
class Verification:
    """All that one verification has to say. Names and texts of the study are printable there."""

    findings: list[Flaw] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what was not checked, or is worth knowing; nothing wrong
    checked: Counter[str] = field(default_factory=Counter)  # kind of file -> how many were looked at

    def wrong(self, file: str, problem: str) -> None:
        """Add a finding."""
        self.findings.append(Flaw(plain(file), plain(problem)))

    def note(self, text: str) -> None:
        """Add a note, unless it is there."""
        if (said := plain(text)) not in self.notes:
            self.notes.append(said)

    def is_wrong(self, folder: str) -> bool:
        """Whether there is a finding in a folder of the study, such as "records/"."""
        return any(finding.file.startswith(folder) for finding in self.findings)

    def summary(self) -> str:
        """One line with all counts."""
        looked = ", ".join(f"{count} {kind}" for kind, count in self.checked.items()) or "nothing"
        return f"Checked {looked}: {len(self.findings)} findings, {len(self.notes)} notes."
