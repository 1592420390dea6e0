"""Loading masked LMs: what is accepted, what is refused, what a revision is."""

import io
import json
import pickle
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_encoders import POSITIONS, TEXTS, TYPES

from l3masking.encoders.hub import folder_hash, resolve_revision
from l3masking.encoders.load import check_tokenizer, load_encoder
from l3masking.encoders.table import ENCODERS, EncoderSpec, find_encoder
from l3masking.errors import InputError, Unavailable
from l3masking.scoring import score_tokens

COMMIT = "b" * 40


def set_json(file: Path, **values) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def change_weights(folder: Path, change: Callable[[dict], dict]) -> None:
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


@pytest.fixture
def folder(encoder_folders: dict, tmp_path: Path) -> Path:
    return Path(shutil.copytree(encoder_folders["bert"], tmp_path / "encoder"))


@pytest.mark.parametrize("kind", TYPES)
def test_a_folder_loads_in_eval_mode_and_float32(encoders: dict, kind: str) -> None:
    encoder = encoders[kind]
    assert not encoder.model.training
    assert {parameter.dtype for parameter in encoder.model.parameters()} == {torch.float32}
    assert encoder.hidden_size == 16
    assert encoder.device.type == "cpu"
    assert encoder.max_positions == POSITIONS - 2 * (kind == "roberta")
    assert encoder.body is encoder.model.base_model


def test_half_precision_checkpoints_load_in_float32(folder: Path) -> None:
    change_weights(folder, lambda weights: {name: value.half() for name, value in weights.items()})
    set_json(folder / "config.json", dtype="float16")
    assert {parameter.dtype for parameter in load_encoder(str(folder)).model.parameters()} == {torch.float32}


def test_left_truncation_of_a_tokenizer_is_overruled(folder: Path) -> None:
    set_json(folder / "tokenizer_config.json", truncation_side="left")
    assert load_encoder(str(folder)).tokenizer.truncation_side == "right"


def test_the_revision_of_a_folder_is_its_content(folder: Path, tmp_path: Path) -> None:
    first = folder_hash(folder)
    assert load_encoder(str(folder)).revision == resolve_revision(EncoderSpec(path=str(folder))) == first
    (folder / "README.md").write_text("words")
    (folder / ".cache").mkdir()
    assert folder_hash(folder) == first
    assert folder_hash(Path(shutil.copytree(folder, tmp_path / "copy"))) == first
    (folder / "vocab.txt").rename(folder / "vocab2.txt")
    assert folder_hash(folder) != first
    (folder / "vocab2.txt").rename(folder / "vocab.txt")
    change_weights(folder, lambda weights: {name: value * 1.5 for name, value in weights.items()})
    assert folder_hash(folder) != first


def add_tokens(folder: Path) -> None:
    tokenizer = load_encoder(str(folder)).tokenizer
    tokenizer.add_tokens(["foo", "bar"])
    tokenizer.save_pretrained(folder)


def tear(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-50])


def no_head(weights: dict) -> dict:
    return {name: value for name, value in weights.items() if not name.startswith("cls.")}


class Trap:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple:
        return Path.mkdir, (self.made,)


def as_bin(folder: Path, change: Callable[[dict], object] = dict, *, zipped: bool = True) -> Path:
    """The folder's weights as pytorch_model.bin instead."""
    weights = folder / "model.safetensors"
    torch.save(change(load_file(weights)), folder / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    weights.unlink()
    return folder / "pytorch_model.bin"


def trap_in(folder: Path, *, zipped: bool) -> None:
    as_bin(folder, lambda weights: {**weights, "extra": Trap(folder / "executed")}, zipped=zipped)


def bin_of(folder: Path, content: bytes) -> None:
    as_bin(folder).write_bytes(content)


def no_ends(folder: Path) -> None:
    set_json(folder / "tokenizer.json", post_processor=None)
    set_json(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"  # what a clone without LFS leaves

DEFECTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no head": (lambda f: change_weights(f, no_head), "lacks cls.predictions"),
    "other shape": (lambda f: set_json(f / "config.json", vocab_size=200), "word_embeddings.*another shape"),
    "gpt2": (lambda f: set_json(f / "config.json", model_type="gpt2"), "type 'gpt2' is not a known masked LM"),
    "no such type": (lambda f: set_json(f / "config.json", model_type="zzz"), "zzz"),
    "no mask token": (lambda f: set_json(f / "tokenizer_config.json", mask_token=None), "no mask_token"),
    "no padding token": (lambda f: set_json(f / "tokenizer_config.json", pad_token=None), "no pad_token"),
    "more tokens than embeddings": (add_tokens, "112 tokens in the tokenizer, 110 embeddings"),
    "no tokenizer": (lambda f: [(f / n).unlink() for n in ("tokenizer.json", "vocab.txt")], "no vocabulary"),
    "torn tokenizer": (lambda f: tear(f / "tokenizer.json"), "encoder"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no file named model.safetensors"),
    "torn weights": (lambda f: tear(f / "model.safetensors"), "deserializing"),
    "torn configuration": (lambda f: tear(f / "config.json"), "config.json"),
    "no configuration": (lambda f: (f / "config.json").unlink(), "has no config.json"),
    "objects in a bin": (lambda f: trap_in(f, zipped=True), "other objects than tensors .nothing was executed"),
    "objects in an old bin": (lambda f: trap_in(f, zipped=False), "other objects than tensors .nothing was executed"),
    "a pickle": (lambda f: bin_of(f, pickle.dumps({"a": Trap(f / "executed")}, protocol=2)), "nothing was executed"),
    "a list in a bin": (lambda f: as_bin(f, list), "its model can't be loaded .ValueError"),
    "numbers in a bin": (lambda f: as_bin(f, lambda weights: dict.fromkeys(weights, 3)), "can't be loaded"),
    "torn bin": (lambda f: tear(as_bin(f)), "a file is missing or cut short"),
    "torn old bin": (lambda f: tear(as_bin(f, zipped=False)), "can't be loaded"),
    "empty bin": (lambda f: bin_of(f, b""), "can't be loaded .EOFError"),
    "text as a bin": (lambda f: bin_of(f, b"not a model"), "damaged"),
    "pointer as a bin": (lambda f: bin_of(f, POINTER), "damaged"),
    "pointer as safetensors": (lambda f: (f / "model.safetensors").write_bytes(POINTER), "header too large"),
    "index without a map": (
        lambda f: [(f / "model.safetensors").unlink(), (f / "model.safetensors.index.json").write_text("{}")],
        "can't be loaded .KeyError",
    ),
    "another tokenizer.json": (lambda f: (f / "tokenizer.json").write_text("[]"), "its tokenizer can't be loaded"),
    "text for a number": (lambda f: set_json(f / "config.json", num_hidden_layers="two"), "expected int, got str"),
    "no such activation": (lambda f: set_json(f / "config.json", hidden_act="foo"), "KeyError 'foo'"),
    "no positions": (lambda f: set_json(f / "config.json", max_position_embeddings=-1), "max_position_embeddings: -1"),
    "decoder": (lambda f: set_json(f / "config.json", is_decoder=True), "is_decoder: true"),
    "relative positions": (
        lambda f: set_json(f / "config.json", position_embedding_type="relative_key"),
        "position_embedding_type: relative_key",
    ),
    "no ends": (no_ends, r"does not put \[CLS\] and \[SEP\] around a text"),
    "not finite": (
        lambda f: change_weights(f, lambda weights: {name: value / 0 for name, value in weights.items()}),
        "not finite",
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defective_folder_gets_one_line_that_names_it(folder: Path, defect: str) -> None:
    damage, words = DEFECTS[defect]
    damage(folder)
    with pytest.raises(InputError, match=words) as caught:
        load_encoder(str(folder))
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (folder / "executed").exists()


def test_the_trap_works(tmp_path: Path) -> None:
    """Else the test above could not see that something was executed."""
    pickle.load(io.BytesIO(pickle.dumps(Trap(tmp_path / "executed"))))
    assert (tmp_path / "executed").is_dir()


def test_a_plain_bin_loads_as_safetensors_do(folder: Path) -> None:
    wanted = load_encoder(str(folder)).model.state_dict()
    as_bin(folder)
    for name, value in load_encoder(str(folder)).model.state_dict().items():
        assert torch.equal(value, wanted[name])


@pytest.mark.parametrize(
    ("pad", "words"), [(None, "no pad_token_id"), (3, "pad_token_id: 3, '<unk>' to the tokenizer .its padding is 1")]
)
def test_positions_that_start_elsewhere_are_refused(
    encoder_folders: dict, tmp_path: Path, pad: int | None, words: str
) -> None:
    folder = Path(shutil.copytree(encoder_folders["roberta"], tmp_path / "encoder"))
    set_json(folder / "config.json", pad_token_id=pad)
    with pytest.raises(InputError, match=words):
        load_encoder(str(folder))


def test_a_bert_may_have_any_padding_id(folder: Path, encoders: dict) -> None:
    """Its positions do not start there."""
    set_json(folder / "config.json", pad_token_id=7)
    scores = score_tokens(load_encoder(str(folder)), TEXTS[:2], max_length=34)
    for score, wanted in zip(scores, score_tokens(encoders["bert"], TEXTS[:2], max_length=34), strict=True):
        assert score.log_likelihood.tolist() == wanted.log_likelihood.tolist()


def old_names(weights: dict) -> dict:
    """As checkpoints of 2019 name their tensors, with a next-sentence head and a pooler."""
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in weights.items()
    }
    extra = {"cls.seq_relationship.weight": (2, 16), "cls.seq_relationship.bias": (2,)}
    extra |= {"bert.pooler.dense.weight": (16, 16), "bert.pooler.dense.bias": (16,)}
    return renamed | {name: torch.ones(shape) for name, shape in extra.items()}


def test_a_folder_laid_out_as_scibert_scores_exactly(folder: Path, encoders: dict) -> None:
    as_bin(folder, old_names, zipped=False)
    config = json.loads((folder / "config.json").read_text())
    for name in ("architectures", "transformers_version", "dtype"):
        config.pop(name)
    (folder / "config.json").write_text(json.dumps(config))
    for file in folder.glob("*token*.json"):
        file.unlink()
    assert {file.name for file in folder.iterdir()} == {"config.json", "pytorch_model.bin", "vocab.txt"}
    scores = score_tokens(load_encoder(str(folder)), TEXTS, max_length=34)
    for score, wanted in zip(scores, score_tokens(encoders["bert"], TEXTS, max_length=34), strict=True):
        assert score.input_ids.tolist() == wanted.input_ids.tolist()
        assert score.log_likelihood.tolist() == wanted.log_likelihood.tolist()


def test_a_configuration_without_a_type_is_refused_whatever_its_folder_is_called(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config.pop("model_type")
    (folder / "config.json").write_text(json.dumps(config))
    named = folder.rename(folder.with_name("bert-base"))
    with pytest.raises(InputError, match="model_type"):
        load_encoder(str(named))


def test_a_slow_tokenizer_is_refused() -> None:
    class Slow:
        is_fast = False

    with pytest.raises(InputError, match=r"encoder here: its tokenizer is slow"):
        check_tokenizer(Slow(), 10, "here")


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    missing = str(tmp_path / "none")
    for encoder in (missing, EncoderSpec(path=missing)):
        with pytest.raises(InputError, match="none"):
            load_encoder(encoder)


def test_an_unreadable_file_gets_one_line_that_names_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"cannot read .*config.json .Permission denied.: correct"):
        folder_hash(folder)


def test_a_spec_names_one_place() -> None:
    with pytest.raises(InputError, match="either `hub`"):
        EncoderSpec(hub="a/b", path="c")
    with pytest.raises(InputError, match="either `hub`"):
        EncoderSpec()
    with pytest.raises(InputError, match="revision"):
        EncoderSpec(path="c", revision="main")


def test_names_folders_and_hub_ids_are_told_apart(folder: Path) -> None:
    assert find_encoder("bert-base") is ENCODERS["bert-base"]
    assert find_encoder(str(folder)) == EncoderSpec(path=str(folder))
    assert find_encoder("owner/name") == EncoderSpec(hub="owner/name")
    assert set(ENCODERS) == {"bert-base", "roberta-base", "scibert", "clinicalbert"}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hub cache, and a Hub whose port is closed."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.parametrize("revision", [None, "main", "a" * 40])
@pytest.mark.parametrize("way", ["offline", "hub offline", "closed port"])
def test_neither_cached_nor_reachable(hub: Path, monkeypatch: pytest.MonkeyPatch, way: str, revision: str) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", way == "hub offline")
    start = time.monotonic()
    with pytest.raises(Unavailable, match=r"owner/tiny is neither cached nor reachable .*: check its id") as caught:
        load_encoder(EncoderSpec(hub="owner/tiny", revision=revision), offline=way == "offline")
    assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 4  # the loaders alone would try again for more than 20 s


@pytest.mark.parametrize("offline", [True, False])
@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_a_cached_snapshot_loads_without_a_network(folder: Path, hub: Path, revision: str, offline: bool) -> None:
    repository = hub / "models--owner--tiny"
    shutil.copytree(folder, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    spec = EncoderSpec(hub="owner/tiny", revision=revision)
    assert resolve_revision(spec, offline=offline) == COMMIT
    encoder = load_encoder(spec, offline=offline)
    assert encoder.revision == COMMIT
    for name, value in load_encoder(str(folder)).model.state_dict().items():
        assert torch.equal(value, encoder.model.state_dict()[name])


def test_the_hub_answers_with_a_commit(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Info:
        sha = COMMIT

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: Info)
    assert resolve_revision(EncoderSpec(hub="owner/tiny", revision="v1")) == COMMIT
    assert resolve_revision(EncoderSpec(hub="owner/tiny", revision="a" * 40)) == "a" * 40
