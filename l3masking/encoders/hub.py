"""Which revision an encoder is, and its files: from the Hub, its cache or a folder. Loads no weights and no torch."""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from l3masking.encoders.checks import check_config
from l3masking.encoders.families import position_limit
from l3masking.encoders.table import EncoderSpec
from l3masking.errors import InputError, Unavailable

COMMIT_ID = r"[0-9a-f]{40}"
HUB_SECONDS = 20  # for the one question which commit a revision is
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model")
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")  # a checkpoint in several parts is asked for on the Hub


def resolve_revision(spec: EncoderSpec, *, offline: bool = False) -> str:
    """What the encoder is: the commit of a Hub id, or a hash of a folder's files. Loads no weights into memory.

    Offline, the commit is that of the cached snapshot. Raises Unavailable where neither can be had.
    """
    from huggingface_hub import try_to_load_from_cache

    if spec.path is not None:
        return folder_hash(Path(spec.path))
    if spec.revision and re.fullmatch(COMMIT_ID, spec.revision):
        return spec.revision
    fault = unreachable(spec, OSError("offline"))
    if not offline:
        try:
            return hub_commit(spec)
        except Unavailable as error:
            fault = error
    cached = try_to_load_from_cache(str(spec.hub), "config.json", revision=spec.revision)
    if isinstance(cached, str):
        return Path(cached).parent.name
    raise fault


class Facts(NamedTuple):
    """What an encoder's configuration says of it."""

    model_type: str  # as transformers names it
    position_limit: int  # longest sequence, special tokens included


@cache
def read_facts(spec: EncoderSpec, revision: str) -> Facts:
    """From the configuration alone: no weights are fetched or read. Kept, as a revision does not change."""
    config = read_config(spec, location(spec, revision, offline=False))
    return Facts(config.model_type, position_limit(config))


def check_length(max_length: int, limit: int, who: str) -> None:
    """Raise InputError where an encoder has fewer positions than `max_length`."""
    if max_length > limit:
        raise InputError(f"scoring.max_length is {max_length}: {who} has {limit} positions, set {limit} or less")


def hub_commit(spec: EncoderSpec) -> str:
    """The commit that the Hub gives for a Hub id and revision. Raises Unavailable where it gives none."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of whichever client the Hub uses

    try:
        return str(HfApi().model_info(str(spec.hub), revision=spec.revision, timeout=HUB_SECONDS).sha)
    except (OSError, HTTPError) as error:
        raise unreachable(spec, error) from error


def is_cached(hub: str, commit: str) -> bool:
    """Whether a snapshot's configuration, tokenizer and weights all lie in the Hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    return all(
        any(isinstance(try_to_load_from_cache(hub, name, revision=commit), str) for name in names)
        for names in (("config.json",), TOKENIZER_FILES, WEIGHT_FILES)
    )


def folder_hash(folder: Path) -> str:
    """ "folder-" and SHA-256 (16 hex digits) over the names and contents of a folder's files, README apart."""
    if not folder.is_dir():
        raise InputError(f"encoder folder {folder} does not exist: correct `path`")
    if not (folder / "config.json").is_file():
        raise InputError(f"encoder folder {folder} has no config.json: give the folder that `save_pretrained` made")
    digest = hashlib.sha256()
    try:
        for file in sorted(folder.iterdir()):
            if file.is_file() and not file.name.startswith((".", "README")):
                digest.update(file.name.encode() + b"\0")
                with file.open("rb") as stream:
                    digest.update(hashlib.file_digest(stream, "sha256").digest())
    except OSError as error:
        raise InputError(
            f"encoder folder {folder}: cannot read {error.filename or folder} ({error.strerror}): correct its "
            "permissions, or copy the folder again"
        ) from error
    return f"folder-{digest.hexdigest()[:16]}"


def unreachable(spec: EncoderSpec, error: Exception) -> InputError | Unavailable:
    """One line for a model that can't be read: a folder that lacks a file, or a Hub that can't be reached."""
    if spec.path is not None:
        return InputError(
            f"encoder folder {spec.path}: {_first_line(error).rstrip('.')}; a file is missing or cut short"
        )
    return Unavailable(
        f"encoder {spec.hub} is neither cached nor reachable ({_first_line(error)}): check its id and the network"
    )


def location(spec: EncoderSpec, revision: str, offline: bool) -> dict[str, Any]:
    """Arguments that make transformers' loaders read this very revision."""
    if spec.path is not None:
        return {"trust_remote_code": False, "local_files_only": True}
    # whole in the cache: nothing to ask for. Else the Hub must answer once, before the loaders' slow retries
    local = offline or is_cached(str(spec.hub), revision)
    if not local:
        hub_commit(spec)
    return {"trust_remote_code": False, "local_files_only": local, "revision": revision}


def read_config(spec: EncoderSpec, where: dict[str, Any]) -> Any:
    from transformers import AutoConfig

    with reading(spec, "configuration"):
        config = AutoConfig.from_pretrained(spec.place, **where)
    check_config(config, spec.place)
    return config


def read_tokenizer(spec: EncoderSpec, where: dict[str, Any]) -> Any:
    from transformers import AutoTokenizer

    with reading(spec, "tokenizer"):
        return AutoTokenizer.from_pretrained(spec.place, use_fast=True, truncation_side="right", **where)


def load_tokenizer(spec: EncoderSpec, revision: str, *, offline: bool = False) -> Any:
    """The tokenizer of an encoder alone: no weights are read. `revision`: as `resolve_revision` gives it.

    Raises InputError where its files are damaged, Unavailable where it can't be fetched.
    """
    return read_tokenizer(spec, location(spec, revision, offline))


@contextmanager
def reading(spec: EncoderSpec, part: str) -> Iterator[None]:
    """One line for whatever stops a reader: a Hub out of reach, a file that is missing, damaged or something else."""
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of whichever client the Hub uses

    try:
        yield
    except (OSError, HTTPError) as error:
        raise unreachable(spec, error) from error
    except (InputError, MemoryError):
        raise
    except pickle.UnpicklingError as error:
        raise InputError(
            f"encoder {spec.place}: its weights are damaged or hold other objects than tensors (nothing was executed): "
            "save them again, as model.safetensors"
        ) from error
    except Exception as error:  # readers raise whatever a damaged file leads them to
        said = " ".join(f"{type(error).__name__} {error}".split())[:200]
        raise InputError(
            f"encoder {spec.place}: its {part} can't be loaded ({said}): check that its files are complete and "
            "belong together"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
