"""Vanilla masked language models: the table of known encoders, and one way to load any of them, checked."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from l3masking.errors import EnvironmentFault, InputError
from l3masking.families import FAMILIES, Family
from l3masking.sources import check_hub_id


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """Where an encoder lies: on the Hub or in a folder, never both."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    hub: str | None = None  # Hub id, owner/name
    path: str | None = None  # folder with config, weights and tokenizer
    revision: str | None = None  # of the Hub id: branch, tag or commit; none: the newest, resolved to a commit

    def __post_init__(self) -> None:
        if (self.hub is None) == (self.path is None):
            raise InputError("an encoder needs either `hub` (a Hub id) or `path` (a folder), and not both")
        if self.hub is not None:
            check_hub_id(self.hub, "`path`")
        if self.path is not None and self.revision is not None:
            raise InputError(f"encoder {self.path}: `revision` goes with `hub`; a folder is known by its content")

    @property
    def place(self) -> str:
        return self.hub or str(self.path)


@dataclass(frozen=True, eq=False, kw_only=True)
class Encoder:
    """A loaded vanilla masked LM. `body` maps ids to hidden states, `mlm_logits` hidden states to the vocabulary."""

    model: nn.Module
    tokenizer: Any
    revision: str  # Hub commit, or "folder-" and a hash of the folder's content
    max_positions: int  # longest sequence the position table holds, special tokens included

    @property
    def body(self) -> nn.Module:
        return self.model.base_model  # type: ignore[return-value]

    @property
    def family(self) -> Family:
        return FAMILIES[self.model.config.model_type]  # type: ignore[union-attr, index]

    @property
    def hidden_size(self) -> int:
        return int(self.model.config.hidden_size)  # type: ignore[union-attr, arg-type]

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def mlm_logits(self, hidden_NH: Tensor) -> Tensor:
        """[N, H] last-layer states to [N, V] logits of the encoder's own pre-trained head."""
        return self.family.mlm_head(self.model, hidden_NH)

    def states_at(self, input_ids_BT: Tensor, attention_mask_BT: Tensor, rows_N: Tensor, positions_N: Tensor) -> Tensor:
        """[N, H] last-layer states at N places of a batch.

        Behind its attention the last layer looks at each position alone, so from there on only these N are computed:
        a ninth of a six-layer body less.
        """

        def pick(module: nn.Module, arguments: Any, states_BTH: Tensor) -> Tensor:
            return states_BTH[rows_N, positions_N][None]

        hook = self.family.layers(self.body)[-1].attention_norm.register_forward_hook(pick)
        try:
            return self.body(input_ids=input_ids_BT, attention_mask=attention_mask_BT)[0][0]
        finally:
            hook.remove()

    def check_length(self, max_length: int) -> None:
        """Raise InputError where the encoder has fewer positions than `max_length`."""
        check_length(max_length, self.max_positions, "this encoder")


COMMIT = r"[0-9a-f]{40}"
HUB_SECONDS = 20  # for the one question which commit a revision is
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model")
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")  # a checkpoint in several parts is asked for on the Hub


def load_encoder(
    encoder: str | EncoderSpec,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    offline: bool = False,
) -> Encoder:
    """Load a masked LM in eval mode with its own fast tokenizer.

    `encoder` is a name of ENCODERS, a folder, a Hub id, or an EncoderSpec. Weights are cast to `dtype` whatever the
    checkpoint holds. Raises InputError where the model can't be scored with (no or incomplete MLM head, no mask token,
    slow tokenizer, unknown type), EnvironmentFault where it can't be fetched. Remote code is never run.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    spec = find_encoder(encoder)
    revision = resolve_revision(spec, offline=offline)
    where = _location(spec, revision, offline)
    config = _read_config(spec, where)
    try:
        tokenizer = AutoTokenizer.from_pretrained(spec.place, use_fast=True, truncation_side="right", **where)
        check_tokenizer(tokenizer, config.vocab_size, spec.place)
        model, loading = AutoModelForMaskedLM.from_pretrained(
            spec.place, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True, config=config, **where
        )
    except OSError as error:
        raise unreachable(spec, error) from error
    except InputError:
        raise
    except (ValueError, SafetensorError) as error:
        raise InputError(f"encoder {spec.place}: {_first_line(error)}") from error
    broken = sorted({*loading["missing_keys"], *(key for key, *_ in loading["mismatched_keys"])})
    if broken:
        raise InputError(
            f"encoder {spec.place}: the checkpoint lacks {', '.join(broken[:3])} or has it in another shape "
            f"({len(broken)} tensors), which would be random numbers: take a checkpoint with its masked-LM head"
        )
    return Encoder(
        model=model.to(device).eval(), tokenizer=tokenizer, revision=revision, max_positions=position_limit(config)
    )


def read_position_limit(spec: EncoderSpec, revision: str) -> int:
    """Longest sequence of an encoder, from its configuration alone: no weights are fetched or read."""
    return position_limit(_read_config(spec, _location(spec, revision, offline=False)))


def _location(spec: EncoderSpec, revision: str, offline: bool) -> dict[str, Any]:
    """Arguments that make transformers' loaders read this very revision."""
    if spec.path is not None:
        return {"trust_remote_code": False, "local_files_only": True}
    # whole in the cache: nothing to ask for. Else the Hub must answer once, before the loaders' slow retries
    local = offline or is_cached(str(spec.hub), revision)
    if not local:
        hub_commit(spec)
    return {"trust_remote_code": False, "local_files_only": local, "revision": revision}


def _read_config(spec: EncoderSpec, where: dict[str, Any]) -> Any:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(spec.place, **where)
    except OSError as error:
        raise unreachable(spec, error) from error
    except ValueError as error:
        raise InputError(f"encoder {spec.place}: {_first_line(error)}") from error
    if config.model_type not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise InputError(f"encoder {spec.place}: type {config.model_type!r} is not a known masked LM (known: {known})")
    return config


def find_encoder(encoder: str | EncoderSpec) -> EncoderSpec:
    """The spec behind a name of ENCODERS, an existing folder, or a Hub id."""
    if isinstance(encoder, EncoderSpec):
        return encoder
    if encoder in ENCODERS:
        return ENCODERS[encoder]
    if Path(encoder).is_dir():
        return EncoderSpec(path=encoder)
    if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", encoder):
        return EncoderSpec(hub=encoder)
    raise InputError(f"encoder {encoder!r}: no such folder and no Hub id (known names: {', '.join(ENCODERS)})")


def check_tokenizer(tokenizer: Any, vocab_size: int, place: str) -> None:
    """Raise InputError for a tokenizer that can't be masked with. Runs before any weight is read."""
    if not tokenizer.is_fast:
        raise InputError(
            f"encoder {place}: its tokenizer is slow and has no word numbers; save its fast version beside it"
        )
    for name in ("mask_token", "pad_token"):
        if getattr(tokenizer, name) is None:
            raise InputError(f"encoder {place}: its tokenizer has no {name}; take the tokenizer of a masked LM")
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):  # what transformers makes up where the files are missing
        raise InputError(f"encoder {place}: its tokenizer has no vocabulary; put tokenizer.json or vocab.txt there")
    if len(tokenizer) > vocab_size:
        raise InputError(
            f"encoder {place}: {len(tokenizer)} tokens in the tokenizer, {vocab_size} embeddings in the model"
        )


def check_length(max_length: int, limit: int, who: str) -> None:
    """Raise InputError where an encoder has fewer positions than `max_length`."""
    if max_length > limit:
        raise InputError(f"scoring.max_length is {max_length}: {who} has {limit} positions, set {limit} or less")


def position_limit(config: Any) -> int:
    """Longest sequence the position table holds: `model_max_length` of a tokenizer is often 1e30 and says nothing."""
    return int(config.max_position_embeddings) - first_position(config)


def first_position(config: Any) -> int:
    """Row of the position table that the first token takes."""
    return int(config.pad_token_id) + 1 if FAMILIES[config.model_type].pads_positions else 0


def resolve_revision(spec: EncoderSpec, *, offline: bool = False) -> str:
    """What the encoder is: the commit of a Hub id, or a hash of a folder's files. Loads no weights into memory.

    Offline, the commit is that of the cached snapshot. Raises EnvironmentFault where neither can be had.
    """
    from huggingface_hub import try_to_load_from_cache

    if spec.path is not None:
        return folder_hash(Path(spec.path))
    if spec.revision and re.fullmatch(COMMIT, spec.revision):
        return spec.revision
    fault = unreachable(spec, OSError("offline"))
    if not offline:
        try:
            return hub_commit(spec)
        except EnvironmentFault as error:
            fault = error
    cached = try_to_load_from_cache(str(spec.hub), "config.json", revision=spec.revision)
    if isinstance(cached, str):
        return Path(cached).parent.name
    raise fault


def hub_commit(spec: EncoderSpec) -> str:
    """The commit that the Hub gives for a Hub id and revision. Raises EnvironmentFault where it gives none."""
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
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.is_file() and not file.name.startswith((".", "README")):
            digest.update(file.name.encode() + b"\0")
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return f"folder-{digest.hexdigest()[:16]}"


def unreachable(spec: EncoderSpec, error: Exception) -> InputError | EnvironmentFault:
    """One line for a model that can't be read: a folder that lacks a file, or a Hub that can't be reached."""
    if spec.path is not None:
        return InputError(f"encoder folder {spec.path}: {_first_line(error)}")
    return EnvironmentFault(
        f"encoder {spec.hub} is neither cached nor reachable ({_first_line(error)}): run `l3study prefetch SPACE` "
        "where there is a network, and check the id"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]


# The four encoders of the paper (Kimura et al. 2024). The last is the model of the paper's footnote, a DistilBERT.
ENCODERS: dict[str, EncoderSpec] = {
    "bert-base": EncoderSpec(hub="google-bert/bert-base-uncased"),
    "roberta-base": EncoderSpec(hub="FacebookAI/roberta-base"),
    "scibert": EncoderSpec(hub="allenai/scibert_scivocab_uncased"),
    "clinicalbert": EncoderSpec(hub="medicalai/ClinicalBERT"),
}
