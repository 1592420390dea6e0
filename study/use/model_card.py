"""The model card of an exported model: its data, settings, results, selection, licences, energy and provenance.

Names come from users. In the Markdown each is escaped, in the metadata the library quotes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from l3masking.data.spec import DataSpec
from l3masking.data.textdata import SPLITS
from l3masking.encoders.table import EncoderSpec
from study.report.escape import markdown_table, markdown_text
from study.report.layout import OBJECTIVES, row_label
from study.space.spec import Generated
from study.store.record import Record
from study.use.card_metadata import NOT_KNOWN, CardFacts, metadata
from study.use.energy import energy_sentences

LABELS_SHOWN = 50
AUTO_CODE = """```python
from transformers import pipeline

classify = pipeline("text-classification", "FOLDER")
classify(["a text"], ARGUMENTS)
```"""
OWN_CODE = """```python
from l3masking.classifier import register
from transformers import pipeline

register()  # the class of this model is in the package l3masking of L3Masking Study
classify = pipeline("text-classification", "FOLDER")
classify(["a text"], ARGUMENTS)
```"""


def card_text(facts: CardFacts) -> str:
    """README.md of an exported folder: metadata as the Hub reads it, and the text."""
    from huggingface_hub import ModelCard

    sections = {
        "Use": _use(facts),
        "Intended use and limits": _limits(facts),
        "Data": _data(facts),
        "Results": _results(facts),
        "Settings": _settings(facts),
        "Licences": _licences(facts),
        "Energy and emissions": " ".join(markdown_text(line) for line in energy_sentences(facts.record["run"])),
        "Provenance": _provenance(facts),
    }
    body = "\n\n".join([_title(facts), *(f"## {title}\n\n{text}" for title, text in sections.items())])
    template = "---\n{{ card_data }}\n---\n\n{{ body }}\n\n"
    return str(ModelCard.from_template(metadata(facts), template_str=template, body=body))


def _title(facts: CardFacts) -> str:
    trial, labels = facts.trial, facts.record["labels"]
    arm = row_label(trial.method, trial.variant, [])
    what = "One classifier" if facts.seed is not None else f"{len(facts.choice.seeds)} classifiers, one per seed,"
    return (
        f"# {markdown_text(facts.choice.cell.key.name)}\n\n"
        f"{what} of texts into {len(labels)} classes: the encoder {markdown_text(trial.encoder)}, fine-tuned on "
        f"{markdown_text(trial.dataset)} with {markdown_text(arm)} ({markdown_text(trial.arm.summary)}). Made by the "
        f"study {markdown_text(facts.spec.name)} of L3Masking Study."
    )


def _use(facts: CardFacts) -> str:
    reading = facts.reading
    arguments = 'padding="max_length", truncation=True' if reading.padded else "truncation=True"
    if facts.seed is None:
        code = "Each folder `seed-<number>` holds a model. `l3study predict FOLDER FILE` averages their probabilities."
    else:
        code = (AUTO_CODE if facts.plain else OWN_CODE).replace("ARGUMENTS", arguments)
        code += "\n\nOr `l3study predict FOLDER FILE`."
    said = [f"The model reads {'pairs of texts' if reading.pairs else 'single texts'}."]
    if reading.whitespace == "collapse":
        said.append("Runs of white space count as one blank. `l3study predict` does this, a pipeline leaves it to you.")
    else:
        said.append("White space is kept.")
    said.append(f"Texts are cut after {reading.max_length} tokens, special ones included.")
    if reading.padded:
        said.append("Shorter texts are padded to this length, and the model attends to the padding, as in training.")
    return f"{code}\n\n{' '.join(said)} A pipeline does so with `{arguments}`."


def _limits(facts: CardFacts) -> str:
    trial, record = facts.trial, facts.record
    labels = [markdown_text(label) for label in record["labels"][:LABELS_SHOWN]]
    rest = len(record["labels"]) - len(labels)
    return "\n".join(
        [
            f"The model is meant for texts like those of {markdown_text(trial.dataset)}, and gives each of them one of "
            f"these classes, whatever it is: {'; '.join(labels)}{f' and {rest} more' if rest else ''}.",
            "",
            "* It was judged on the sets below alone. How well it does on other texts is not known.",
            "* Its probabilities were not calibrated.",
            "* Biases in the encoder's texts and errors in the labels were not examined; it may have learned them.",
            "* Do not use it alone for decisions about people.",
        ]
    )


def _data(facts: CardFacts) -> str:
    trial, record = facts.trial, facts.record
    counts = record["overlap"]
    rows = [(part, str(counts.get(f"{part}_rows", NOT_KNOWN)), _dropped(counts, part)) for part in SPLITS]
    lines = [
        f"{markdown_text(trial.dataset)}: {_source(facts.spec.datasets[trial.dataset])}. Content hash "
        f"`{record['data_hash']}`.",
        "",
        markdown_table(("split", "rows", "left out for overlap"), "lrr", rows),
        "",
        *_overlap_lines(counts),
    ]
    sets = record.get("evaluations", {})
    lines += [f"Further sets, read once: {', '.join(map(markdown_text, sets))}."] if sets else []
    return "\n".join(lines)


def _dropped(counts: Mapping[str, int], part: str) -> str:
    return str(counts.get(f"dropped_{part}", 0))


def _overlap_lines(counts: Mapping[str, int]) -> list[str]:
    """A warning for each split whose texts the model may have seen in training."""
    said = []
    for part in ("validation", "test"):
        shared = counts.get(f"{part}_in_train", 0)
        if shared and not counts.get(f"dropped_{part}") and not counts.get("dropped_train"):
            said.append(
                f"**Overlap:** {shared} of {counts.get(f'{part}_rows', NOT_KNOWN)} {part} texts also occur in train, "
                f"so {part} values are too high for unseen texts."
            )
    return said or ["No text of validation or test that was used occurs in train."]


def _source(spec: DataSpec | Generated) -> str:
    """Where data come from. Names of local files are left out: they may tell of people and machines."""
    if isinstance(spec, Generated):
        return "generated by L3Masking Study"
    if spec.hub:
        return f"Hub dataset {markdown_text(spec.hub)}, revision {markdown_text(spec.revision or NOT_KNOWN)}"
    addresses = [source for part in SPLITS for source in spec.sources(part) if source.startswith("https://")]
    return f"files at {', '.join(map(markdown_text, addresses))}" if addresses else "local files of the study"


def _results(facts: CardFacts) -> str:
    choice, cell = facts.choice, facts.choice.cell
    objective = OBJECTIVES.get(cell.objective, cell.objective)
    finished = f"{cell.n} of {cell.wanted} seeds finished" + (f", {cell.failed} failed" if cell.failed else "")
    spread = "" if cell.std is None else f" ± {100 * cell.std:.2f}"
    mean = "unknown" if cell.mean is None else f"{100 * cell.mean:.2f}{spread} percent"
    lines = [
        f"Test {objective} of the row over its seeds: {mean} (mean ± sample standard deviation), n = {cell.n} "
        f"({finished})."
    ]
    if facts.seed is None:
        lines.append("The classifiers together were not measured.")
        return "\n\n".join([*lines, _table([choice.records[seed] for seed in choice.seeds])])
    value = 100 * choice.records[facts.seed]["validation"][cell.objective]
    if choice.seeds == (choice.best,):
        lines.append(
            f"This is seed {facts.seed}: of the finished seeds it has the highest validation {objective} ({value:.2f} "
            "percent). Test values were not looked at for this choice. As the best of several, its validation value is "
            "too high for new texts; the mean over the seeds tells better what the method gives."
        )
    else:
        lines.append(f"This is seed {facts.seed}, one of {len(choice.seeds)} that were exported together.")
    lines.append(f"Its weights were selected by validation {objective}.")
    return "\n\n".join([*lines, _table([choice.records[facts.seed]])])


def _table(records: Sequence[Record]) -> str:
    """Percent per model and set."""
    rows = []
    for record in records:
        sets: dict[str, Mapping[str, float]] = {"validation": record["validation"], "test": record["test"]}
        sets |= {name: found["metrics"] for name, found in record.get("evaluations", {}).items()}
        rows += [
            (str(record["seed"]), markdown_text(name), *(f"{100 * values[metric]:.2f}" for metric in OBJECTIVES))
            for name, values in sets.items()
        ]
    return markdown_table(("seed", "set", *(f"{name}, percent" for name in OBJECTIVES.values())), "rlrr", rows)


def _settings(facts: CardFacts) -> str:
    rows = [(markdown_text(name), markdown_text(_words(value))) for name, value in facts.record["settings"].items()]
    return f"Those that may change the result of this arm.\n\n{markdown_table(('section', 'values'), 'll', rows)}"


def _words(value: Any) -> str:
    return ", ".join(f"{name} {inner}" for name, inner in value.items()) if isinstance(value, Mapping) else str(value)


def _licences(facts: CardFacts) -> str:
    stated = f"{markdown_text(facts.license)}, as stated by whoever exported it" if facts.license else NOT_KNOWN
    rows = [("this model", stated), ("its encoder", NOT_KNOWN), ("its data", NOT_KNOWN)]
    return (
        "The study records no licences. Those of the encoder and of the data may restrict the use of the model.\n\n"
        + markdown_table(("of", "licence"), "ll", rows)
    )


def _provenance(facts: CardFacts) -> str:
    trial, choice, record = facts.trial, facts.choice, facts.record
    encoder, run = facts.spec.encoders[trial.encoder], record["run"]
    place = "generated by L3Masking Study"
    if isinstance(encoder, EncoderSpec):
        place = f"Hub model {encoder.hub}" if encoder.hub else "a local folder"
    seeds = choice.seeds if facts.seed is None else (facts.seed,)
    rows = [
        ("study", facts.spec.name),
        ("cell", choice.cell.key.name),
        ("objective", choice.cell.objective),
        *((f"record of seed {seed}", choice.records[seed]["key"]) for seed in seeds),
        ("encoder", f"{trial.encoder}, {place}"),
        ("encoder revision", record["revision"]),
        ("data", record["data_hash"]),
        ("program commit", run["commit"] or NOT_KNOWN),
        *((f"version of {name}", version) for name, version in run["versions"].items()),
    ]
    return markdown_table(("of", "what"), "ll", [(markdown_text(name), markdown_text(value)) for name, value in rows])
