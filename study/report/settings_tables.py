"""The settings of a study beside those of the presets (Table 2 of Kimura et al. 2024): plain values, and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from l3masking.training.presets import PRESETS
from study.report.escape import csv_text, latex_text, markdown_table, markdown_text
from study.space.relevant import reads
from study.space.spec import SECTIONS, StudySpec, plain
from study.store.store import write_atomic

COMPARED = ("default", "paper", "reference")  # the presets that each table shows beside the study's own
SETTINGS_CAPTION = (
    "Settings that may change a result: those of the study and of its preset, and those of the presets default, paper "
    "(Table 2 of Kimura et al. 2024) and reference (their released code). Bold: differs from the preset of the study. "
    "A variant has a value only where it differs from the study."
)
SETTINGS_FORMATS = ("md", "csv", "tex")


class SettingRow(NamedTuple):
    """One setting. Values are texts, as a space file has them."""

    key: str  # section.name, or precision
    study: str
    preset: str  # of the study's preset
    differs: bool  # the study's from the preset's
    presets: tuple[str, ...]  # of COMPARED
    variants: tuple[str | None, ...]  # of the study's variants, in order; None: as the study
    read_by: tuple[str, ...]  # methods of the study that read it


def settings_rows(spec: StudySpec) -> list[SettingRow]:
    """A row for each setting, in the order of docs/spaces.md."""
    own, preset = _flat(spec.settings()), _flat(preset_settings(spec.preset))
    compared = [_flat(preset_settings(name)) for name in COMPARED]
    variants = [_flat(spec.variant(name).settings()) for name in spec.variants]
    whole = spec.settings()
    return [
        SettingRow(
            key=key,
            study=_words(value),
            preset=_words(preset[key]),
            differs=value != preset[key],
            presets=tuple(_words(values[key]) for values in compared),
            variants=tuple(None if values[key] == value else _words(values[key]) for values in variants),
            read_by=tuple(name for name in spec.methods if "." not in key or reads(whole, spec.arm(name), key)),
        )
        for key, value in own.items()
    ]


def preset_settings(name: str) -> dict[str, Any]:
    """Every setting of a preset, as plain nested values. A preset says nothing of `precision`: its default holds."""
    given = PRESETS[name]
    sections = {section: plain(cls(**given.get(section, {}))) for section, cls in SECTIONS.items()}
    return sections | {"precision": StudySpec.precision}


def export_settings(root: Path, spec: StudySpec, formats: Sequence[str]) -> list[Path]:
    """Write `root`/tables/settings.md, .csv and .tex, as far as `formats` names them; return their paths."""
    rows = settings_rows(spec)
    makers = {"md": settings_markdown, "csv": settings_csv, "tex": settings_latex}
    written = [root / f"tables/settings.{name}" for name in SETTINGS_FORMATS if name in formats]
    for path in written:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, makers[path.suffix[1:]](spec, rows).encode())
    return written


def settings_header(spec: StudySpec) -> list[str]:
    """The heads of the columns, in the order of `settings_entries`."""
    return ["Setting", "Study", f"Preset ({spec.preset})", *COMPARED, *(f"variant {name}" for name in spec.variants)]


def settings_entries(row: SettingRow) -> list[str]:
    """A row as one text for each column; empty where a variant has the value of the study."""
    return [row.key, row.study, row.preset, *row.presets, *(value or "" for value in row.variants)]


def settings_markdown(spec: StudySpec, rows: Sequence[SettingRow]) -> str:
    """One Markdown table; what differs from the preset is bold."""
    lines = [list(map(markdown_text, settings_entries(row))) for row in rows]
    for row, line in zip(rows, lines, strict=True):
        if row.differs:
            line[1] = f"**{line[1]}**"
    header = [markdown_text(name) for name in settings_header(spec)]
    return f"# Settings\n\n{SETTINGS_CAPTION}\n\n{markdown_table(header, 'l' * len(header), lines)}\n"


def settings_csv(spec: StudySpec, rows: Sequence[SettingRow]) -> str:
    """One line for each setting, with what `SettingRow` holds; `read_by` names methods, separated by blanks."""
    header = ["setting", "study", "preset", "differs", *COMPARED]
    header += [*(f"variant:{name}" for name in spec.variants), "read_by"]
    lines = (
        [
            *(row.key, row.study, row.preset, str(row.differs).lower(), *row.presets),
            *(value or None for value in row.variants),
            " ".join(row.read_by),
        ]
        for row in rows
    )
    return csv_text(header, lines)


def settings_latex(spec: StudySpec, rows: Sequence[SettingRow]) -> str:
    """One LaTeX table over several pages; what differs from the preset is bold."""
    header = settings_header(spec)
    lines = []
    for row in rows:
        entries = list(map(latex_text, settings_entries(row)))
        if row.differs:
            entries[1] = rf"\textbf{{{entries[1]}}}"
        lines.append(" & ".join(entries) + r" \\")
    return "\n".join(
        [
            "% needs \\usepackage{booktabs,longtable}",
            r"\begin{small}",
            rf"\begin{{longtable}}{{{'l' * len(header)}}}",
            rf"\caption{{{latex_text(SETTINGS_CAPTION)}}} \\",
            r"\toprule",
            " & ".join(map(latex_text, header)) + r" \\",
            r"\midrule",
            r"\endhead",
            *lines,
            r"\bottomrule",
            r"\end{longtable}",
            r"\end{small}",
            "",
        ]
    )


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted key -> value, of sections and of what stands beside them."""
    flat: dict[str, Any] = {}
    for section, values in settings.items():
        if isinstance(values, Mapping):
            flat |= {f"{section}.{name}": value for name, value in values.items()}
        else:
            flat[section] = values
    return flat


def _words(value: Any) -> str:
    """A value as a space file has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_words, value))}]"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
