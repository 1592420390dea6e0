"""The embedded default: a small generated world with a general language, an encoder that knows it, and a task.

The world is made once per machine and recipe, and kept under the user's cache directory: built in a temporary folder,
renamed when whole, its manifest written last. A hit is verified against the manifest and computes nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import logging
import platform
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import filelock

import l3masking
from l3masking.data.sources import cache_folder
from l3masking.errors import EnvironmentFault
from l3masking.whole import made_whole, sweep
from study.store.whole_files import content_key
from study.toyworld.encoder_config import EncoderConfig
from study.toyworld.grammar import GrammarConfig, general_corpus, make_language
from study.toyworld.task import SPLITS, Example, TaskConfig, make_terms, task_examples

log = logging.getLogger(__name__)

# what the content of a world depends on beside its constants
RECIPE_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors")
SOURCES = (
    Path(__file__).with_name("grammar.py"),
    Path(__file__).with_name("task.py"),
    Path(__file__).with_name("encoder.py"),
    Path(__file__).with_name("encoder_config.py"),
    *(
        Path(l3masking.__file__).parent / name
        for name in ("rng.py", "scoring/words.py", "masking/collator.py", "masking/corruption.py", "training/mlm.py")
    ),
)


@dataclass(frozen=True, kw_only=True)
class WorldConfig:
    """All constants of a world."""

    seed: int = 0  # of everything that is drawn
    grammar: GrammarConfig = field(default_factory=GrammarConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)


@dataclass(frozen=True, kw_only=True)
class ToyWorld:
    """A finished world on disk. Read only."""

    encoder_folder: Path  # for load_encoder
    data_files: Mapping[str, Path]  # split ("train", "validation", "test") -> JSON lines with `text` and `label`
    domain_words: frozenset[str]  # the planted terms; in the task's texts they are nothing else
    terms: Mapping[str, tuple[str, ...]]  # label -> its terms, "" -> those of no class


def build_world(config: WorldConfig | None = None, *, cache: Path | None = None) -> ToyWorld:
    """The world of `config`, from the cache or made now (about half a minute on one core).

    cache: folder in place of the user's cache directory (which L3STUDY_CACHE sets). Of several processes that ask at
    the same time one builds and the others wait. Raises EnvironmentFault where the folder can't be written.
    """
    config = config or WorldConfig()
    final = _place(config, cache)
    try:
        if world := _read(final):
            return world
        final.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{final}.lock"):
            if world := _read(final):
                return world
            return _build(config, final)
    except OSError as error:
        raise EnvironmentFault(
            f"{final.parent}: can't keep the embedded world there ({error.strerror or error}); "
            "set L3STUDY_CACHE to a folder that can be written"
        ) from error


def find_world(config: WorldConfig | None = None, *, cache: Path | None = None) -> ToyWorld | None:
    """The world of `config` if it is in the cache, whole and undamaged, else None. Writes nothing."""
    return _read(_place(config or WorldConfig(), cache))


def domain_spans(text: str, domain_words: frozenset[str]) -> list[tuple[int, int]]:
    """(start, end) in characters of every domain word of a text, whose words are separated by one blank."""
    spans, start = [], 0
    for word in text.split(" "):
        if word in domain_words:
            spans.append((start, start + len(word)))
        start += len(word) + 1
    return spans


def recipe(config: WorldConfig) -> dict[str, object]:
    """All that the content of a world depends on, as plain values."""
    return {
        "config": dataclasses.asdict(config),
        "versions": {name: importlib.metadata.version(name) for name in RECIPE_PACKAGES},
        "python": ".".join(platform.python_version_tuple()[:2]),
        "sources": {path.name: _hash(path) for path in SOURCES},
        "threads": 1,
    }


def _place(config: WorldConfig, cache: Path | None) -> Path:
    return (cache or cache_folder()) / "toyworld" / content_key(recipe(config))


def _build(config: WorldConfig, final: Path) -> ToyWorld:
    """Make the world and put it in place. The caller holds the lock, so all temporary folders of this key are dead."""
    sweep(final.parent, final.name)
    if final.exists():
        log.warning("%s is damaged and is made again", final)
        shutil.rmtree(final)
    start = time.monotonic()
    from study.toyworld.encoder import make_encoder  # torch, which a world that is there does not need

    log.info("making the embedded world in %s: once, about half a minute", final)
    with made_whole(final) as temporary:
        temporary.mkdir()
        language = make_language(config.grammar, seed=config.seed)
        terms = make_terms(language, config.task, seed=config.seed)
        for split in SPLITS:
            examples = task_examples(language, terms, config.grammar, config.task, split=split, seed=config.seed)
            write_examples(temporary / f"{split}.jsonl", examples)
        corpus = general_corpus(language, config.grammar, seed=config.seed)
        loss = make_encoder(corpus, config.encoder, temporary / "encoder", seed=config.seed)
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        manifest = {
            "recipe": recipe(config),
            "terms": {**terms.of_class, "": terms.neutral},
            "pretraining_loss": loss,
            "files": {path.relative_to(temporary).as_posix(): _hash(path) for path in files},
        }
        (temporary / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="ascii")
    log.info("made the embedded world in %.0f s (masked-LM loss %.2f)", time.monotonic() - start, loss)
    world = _read(final)
    assert world is not None
    return world


def _read(folder: Path) -> ToyWorld | None:
    """The world in `folder`, if every file is there as the manifest says."""
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        whole = all(_hash(folder / name) == digest for name, digest in manifest["files"].items())
        terms = {label: tuple(words) for label, words in manifest["terms"].items()}
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError):
        return None
    if not whole:
        return None
    return ToyWorld(
        encoder_folder=folder / "encoder",
        data_files={split: folder / f"{split}.jsonl" for split in SPLITS},
        domain_words=frozenset(word for words in terms.values() for word in words),
        terms=terms,
    )


def write_examples(path: Path, examples: Iterable[Example]) -> None:
    """Write examples as JSON lines with `text` and `label`."""
    path.write_text("".join(json.dumps(example._asdict()) + "\n" for example in examples), encoding="ascii")


def source_hashes(*names: str) -> dict[str, str]:
    """Hashes of some files of this package."""
    return {name: _hash(Path(__file__).with_name(name)) for name in names}


def _hash(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
