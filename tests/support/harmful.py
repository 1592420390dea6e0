"""A finished study whose files try to run code when they are read; no tests here."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

HARM = "import pathlib\npathlib.Path({mark!r}).write_text('run')\n"
POLICY = """\
from dataclasses import dataclass
from typing import ClassVar
from l3masking.masking.policies import Weights

@dataclass(frozen=True)
class Policy:
    needs: ClassVar = frozenset()

    def weights(self, text, config, generator):
        import numpy as np

        return Weights(np.ones(len(text.positions)))
"""


class Harm:
    """Writes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Path, str]]:
        return Path.write_text, (self.mark, "run")


def harm(study: Path, mark: Path) -> None:
    """Plant a policy, pickles and modules in the folder of a finished study that write the file `mark` when run.

    The file of the policy is there under the name that resolved.yaml gives, and holds the text that stands there.
    """
    code = HARM.format(mark=str(mark))
    path = study / "resolved.yaml"
    value = yaml.safe_load(path.read_text())
    own = study / "own.py"
    own.write_text(code + POLICY)
    value["policies"] = {"own": {"file": str(own), "settings": {}, "text": own.read_text()}}
    value["arms"] = {"mine": {"like": "rtm", "policy": "own"}}
    value["methods"].append("mine")
    value["compare"]["questions"] = [["mine", "rtm"]]
    path.write_text(yaml.safe_dump(value))
    del value["identities"], value["findings"]
    (study / "space.yaml").write_text(yaml.safe_dump(value))
    for name in ("tuner.pkl", "records/tuner.pkl", "search/searcher-state.pkl", "scores/state.pkl", "models/model.bin"):
        (study / name).parent.mkdir(exist_ok=True)
        (study / name).write_bytes(pickle.dumps(Harm(mark)))
    for name in ("sitecustomize.py", "conftest.py", "torch.py", "mlflow.py"):
        (study / name).write_text(code)


def harmful_study(finished: Path, folder: Path, mark: Path) -> Path:
    """A copy of a finished study's folder with harm planted in it."""
    shutil.copytree(finished, folder)
    harm(folder, mark)
    return folder
