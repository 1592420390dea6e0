"""Files that try to run code when they are read: pickles, tags, models, data, names. None is run (S4, S5, S7, S-b)."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from harmful import HARM, Harm, harm
from small_study import NoMirror, command

Words = tuple[object, ...]
Payload = Callable[[Path, Path], Words]  # plants itself in the folder of a space and of a study; returns a command


def edit(path: Path, **changes: object) -> None:
    """Other top-level values of a JSON or YAML file."""
    read, write = (json.loads, json.dumps) if path.suffix == ".json" else (yaml.safe_load, yaml.safe_dump)
    path.write_text(write({**read(path.read_text()), **changes}))


def encoder_file(name: str, content: Callable[[Path], bytes], *, without: str = "") -> Payload:
    """A file in the encoder's folder, which `prefetch` loads whole."""

    def plant(folder: Path, mark: Path) -> Words:
        if without:
            (folder / "encoder" / without).unlink()
        (folder / "encoder" / name).write_bytes(content(mark))
        return ("prefetch", folder / "small.yaml")

    return plant


def saved(mark: Path, *, zipped: bool) -> bytes:
    path = mark.with_suffix(".saved")
    torch.save({"weight": torch.zeros(2), "extra": Harm(mark)}, path, _use_new_zipfile_serialization=zipped)
    return path.read_bytes()


def remote_code(folder: Path, mark: Path, where: str, **changes: object) -> None:
    """An encoder whose configuration names a module that lies beside it."""
    place = folder / "encoder"
    (place / "own.py").write_text(HARM.format(mark=str(mark)) + "class Own: ...\n")
    names = ("AutoConfig", "AutoModel", "AutoModelForMaskedLM", "AutoModelForSequenceClassification")
    tokens = {"AutoTokenizer": ["own.Own", "own.Own"]}
    edit(place / where, auto_map=tokens if "tokenizer" in where else dict.fromkeys(names, "own.Own"), **changes)


def own_model(folder: Path, mark: Path) -> Words:
    remote_code(folder, mark, "config.json")
    return ("prefetch", folder / "small.yaml")


def own_type(folder: Path, mark: Path) -> Words:
    remote_code(folder, mark, "config.json", model_type="own")
    return ("prefetch", folder / "small.yaml")


def own_tokenizer(folder: Path, mark: Path) -> Words:
    remote_code(folder, mark, "tokenizer_config.json", tokenizer_class="Own")
    return ("prefetch", folder / "small.yaml")


def own_classifier(folder: Path, mark: Path) -> Words:
    names = {"id2label": {"0": "a", "1": "b"}, "l3masking": {"format": 1, "max_length": 16}}
    remote_code(folder, mark, "config.json", model_type="own", **names)
    return ("predict", folder / "encoder", folder / "test.jsonl")


def bin_of_a_classifier(folder: Path, mark: Path) -> Words:
    names = {"id2label": {"0": "a", "1": "b"}, "l3masking": {"format": 1, "max_length": 16}}
    edit(folder / "encoder" / "config.json", **names)
    (folder / "encoder" / "model.safetensors").unlink()
    (folder / "encoder" / "pytorch_model.bin").write_bytes(pickle.dumps(Harm(mark)))
    return ("predict", folder / "encoder", folder / "test.jsonl")


def data_file(name: str, content: Callable[[Path], bytes]) -> Payload:
    """A file of texts."""

    def plant(folder: Path, mark: Path) -> Words:
        (folder / name).write_bytes(content(mark))
        return ("data", folder / "small.yaml", "--set", f"datasets.words.train={name}")

    return plant


def objects(mark: Path) -> bytes:
    path = mark.with_suffix(".npy")
    np.save(path, np.array([Harm(mark)], dtype=object), allow_pickle=True)
    return path.read_bytes()


def extension_type(mark: Path) -> bytes:
    """Parquet whose column claims to be a Python type: older pyarrow unpickled that."""
    names = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": pickle.dumps(Harm(mark))}
    fields = [pa.field("text", pa.string(), metadata=names), pa.field("label", pa.string())]
    path = mark.with_suffix(".parquet")
    pq.write_table(pa.table([["a", "b"], ["x", "y"]], schema=pa.schema(fields)), path)
    return path.read_bytes()


def tag(mark: Path) -> str:
    return f"!!python/object/apply:os.system ['touch {mark}']"


def tag_in_space(folder: Path, mark: Path) -> Words:
    with (folder / "small.yaml").open("a") as stream:
        stream.write(f"\ndescription: {tag(mark)}\n")
    return ("plan", folder / "small.yaml")


def tag_in_set(folder: Path, mark: Path) -> Words:
    return ("plan", folder / "small.yaml", "--set", f"description={tag(mark)}")


def tag_in_environment(folder: Path, mark: Path) -> Words:
    (folder / "runtime_env.yaml").write_text(f"env_vars: {tag(mark)}\n")
    return ("submit", folder / "small.yaml", "--working-dir", folder, "--address", "127.0.0.1:9", "--out", folder / "o")


def tag_in_study(folder: Path, mark: Path) -> Words:
    with (folder / "out" / "resolved.yaml").open("a") as stream:
        stream.write(f"\nstolen: {tag(mark)}\n")
    return ("status", folder / "out")


def planted(*words: str) -> Payload:
    """A policy, pickles and modules in a study's folder."""

    def plant(folder: Path, mark: Path) -> Words:
        harm(folder / "out", mark)
        return (words[0], *(folder / word for word in words[1:2]), *words[2:])

    return plant


def policy_in_space(folder: Path, mark: Path) -> Words:
    """The text alone: a file that a space names is run."""
    harm(folder / "out", mark)
    (folder / "out" / "own.py").unlink()
    return ("run", folder / "out" / "space.yaml", "--out", folder / "out")


def pickle_for(pattern: str, *words: object) -> Payload:
    """A pickle in the place of a study's own files."""

    def plant(folder: Path, mark: Path) -> Words:
        found = list((folder / "out").glob(pattern)) or [folder / "out" / pattern]
        for path in found:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(pickle.dumps(Harm(mark)))
        return tuple(folder / word if word in ("out", "small.yaml") else word for word in words)

    return plant


def name_of_a_command(folder: Path, mark: Path) -> Words:
    name = f"$(touch {mark.name});`touch {mark.name}`|touch {mark.name}"
    (folder / "encoder").rename(folder / name)
    edit(folder / "small.yaml", encoders={"tiny": {"path": name}})
    return ("prefetch", folder / "small.yaml")


def path_in_name(folder: Path, mark: Path) -> Words:
    return ("plan", folder / "small.yaml", "--set", f"name=../../{mark.name}")


def model_in_archive(folder: Path, mark: Path) -> Words:
    """A .npz, which is a zip file of pickles, in the place of weights."""
    (folder / "encoder" / "model.safetensors").unlink()
    with zipfile.ZipFile(folder / "encoder" / "pytorch_model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Harm(mark)))
        archive.writestr("archive/version", "3")
    return ("prefetch", folder / "small.yaml")


PAYLOADS: dict[str, Payload] = {
    "bin": encoder_file("pytorch_model.bin", lambda mark: saved(mark, zipped=True), without="model.safetensors"),
    "old bin": encoder_file("pytorch_model.bin", lambda mark: saved(mark, zipped=False), without="model.safetensors"),
    "zip of a pickle": model_in_archive,
    "pickle as safetensors": encoder_file("model.safetensors", lambda mark: pickle.dumps(Harm(mark))),
    "pickle as tokenizer": encoder_file("tokenizer.json", lambda mark: pickle.dumps(Harm(mark))),
    "training arguments": encoder_file("training_args.bin", lambda mark: pickle.dumps(Harm(mark))),
    "model with code": own_model,
    "type with code": own_type,
    "tokenizer with code": own_tokenizer,
    "classifier with code": own_classifier,
    "bin of a classifier": bin_of_a_classifier,
    "npy of objects": data_file("train.npy", objects),
    "pickle as parquet": data_file("train.parquet", lambda mark: pickle.dumps(Harm(mark))),
    "parquet with a type": data_file("train.parquet", extension_type),
    "python as data": data_file("train.py", lambda mark: HARM.format(mark=str(mark)).encode()),
    "tag in a space": tag_in_space,
    "tag in --set": tag_in_set,
    "tag in an environment": tag_in_environment,
    "tag in a study": tag_in_study,
    "policy in a study": planted("compare", "out"),
    "policy in a space": policy_in_space,
    "modules in a study": planted("explain", "out", "0000"),
    "pickle as record": pickle_for("records/*.json", "compare", "out"),
    "pickle as scores": pickle_for("scores/*/*", "run", "small.yaml", "--out", "out", "--limit", "1"),
    "pickle as journal": pickle_for("search/optuna.log", "status", "out"),
    "pickle as checkpoint": pickle_for("checkpoints/x.json", "run", "small.yaml", "--out", "out", "--limit", "1"),
    "pickle as database": pickle_for("mlflow.db", "doctor", "small.yaml", "--out", "out"),
    "name of a command": name_of_a_command,
    "path in a name": path_in_name,
}


def test_the_harm_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Harm(tmp_path / "pickled")))
    exec(HARM.format(mark=str(tmp_path / "executed")))
    yaml.unsafe_load(tag(tmp_path / "tagged"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["executed", "pickled", "tagged"]


def test_the_installed_datasets_runs_no_script(tmp_path: Path) -> None:
    """S5: it has no switch for them, so the program cannot set it."""
    (tmp_path / "words").mkdir()
    for place in (tmp_path / "words.py", tmp_path / "words" / "words.py"):
        place.write_text(HARM.format(mark=str(tmp_path / "it-ran")))
        for given in (place, place.parent):
            with pytest.raises((RuntimeError, FileNotFoundError, ValueError)):
                datasets.load_dataset(str(given))
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_is_run(payload: str, finished_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, mark = tmp_path / "study", tmp_path / "it-ran"
    shutil.copytree(finished_study, folder)
    monkeypatch.setattr("study.run.Mirror", NoMirror)
    monkeypatch.setattr("sys.stdin", None)  # nobody is asked either
    monkeypatch.chdir(folder)
    before = {path.name for path in tmp_path.iterdir()}
    said = command(*PAYLOADS[payload](folder, mark))
    made = {path.name for path in tmp_path.iterdir()} - before
    assert not mark.exists()
    assert mark.name not in made, "nothing is written outside of the study"
    assert not list(folder.rglob(mark.name))
    assert said.code in (0, 2, 3), said.err
    if said.code:
        assert all(line.startswith(("l3study: ", "warning: ")) for line in said.err.splitlines()[:1]), said.err
