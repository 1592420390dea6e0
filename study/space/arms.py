"""Arms and masking policies that a space file declares, and the corpora that arms read."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from l3masking.errors import InputError
from l3masking.masking.policies.custom import CustomPolicy, made_policy
from l3masking.masking.policies.kept import FilePolicy, kept_policy
from l3masking.masking.policies.table import POLICIES
from l3masking.methods import METHODS, Method
from l3masking.stages import Adapt, Finetune, TaskWeighting
from study.space.validation import nearest, shown

Say = Callable[[str, str], None]  # key path, what is wrong there


@dataclass(frozen=True, kw_only=True)
class PolicyFile:
    """A masking policy of the user's own: a Python file with a class `Policy`. Reading a study does not run it."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    file: str  # path of the file
    settings: Mapping[str, Any] = field(default_factory=dict)  # fields of its class and their values
    text: str | None = None  # of the file, filled in when the space is read: it may change results, and travels

    def policy(self) -> FilePolicy:
        """The policy. InputError, with file and line, for a file that holds none."""
        return kept_policy(self.file, self.text or "", self.settings)


@dataclass(frozen=True, kw_only=True)
class RunPolicyFile(PolicyFile):
    """The same, named by a space file that the user runs, and equal to the file that is there: its code is run."""

    def policy(self) -> CustomPolicy:
        return made_policy(self.file, self.text or "", self.settings)


@dataclass(frozen=True, kw_only=True)
class ArmSpec:
    """An arm that a space file declares: one of METHODS with some of its parts replaced."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    like: str  # of METHODS
    policy: str | None = None  # of POLICIES or `policies`, in every stage that masks; none: as in `like`
    weighting: TaskWeighting | None = None  # of the tasks; none: as in `like`
    adapt: str | None = None  # policy of a masked-LM stage in front, on `adapt.corpus` or the task's own text
    summary: str | None = None  # one sentence without its full stop; none: that of `like`

    def method(self, name: str, policies: Mapping[str, PolicyFile]) -> Method:
        """What the name of the arm stands for."""
        base = METHODS[self.like]
        stages = [
            stage if self.policy is None or stage.policy is None else dataclasses.replace(stage, policy=self.policy)
            for stage in base.stages
        ]
        last = stages[-1]
        if self.weighting is not None and isinstance(last, Finetune):
            stages[-1] = dataclasses.replace(last, weighting=self.weighting)
        if self.adapt is not None:
            stages.insert(0, Adapt(policy=self.adapt, text="either"))
        named = [policy for policy in (self.policy, self.adapt) if policy is not None and policy in policies]
        return dataclasses.replace(
            base,
            label=name,
            summary=self.summary or base.summary,
            source=f"declared in the space file, like {base.label}",
            stages=tuple(stages),
            controls=(self.like, *base.controls),
            own_policies={policy: policies[policy].policy() for policy in named},
        )


def policy_at(folder: Path, entry: dict[str, Any]) -> dict[str, Any]:
    """A policy's entry with its file found at `folder`, and the text of the file unless it is there already."""
    file, text = entry.get("file"), entry.get("text")
    if not isinstance(file, str):
        return entry
    path = os.path.abspath(folder / os.path.expanduser(file))
    return entry | {"file": path, "text": _text_of(path) if text is None else text}


def _text_of(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None


def checked_policies(policies: Mapping[str, PolicyFile | None], say: Say) -> dict[str, PolicyFile]:
    """The policies that are right; what is wrong with the others is said. Those that are run keep their contract.

    Code is run only from the file that a space file names: never from a text that stands in the space file itself.
    """
    right: dict[str, PolicyFile] = {}
    for name, own in policies.items():
        if name in POLICIES:
            say(f"policies.{name}", "this name is taken by a policy of the program; choose another")
        elif own is None:
            continue
        elif (there := _text_of(own.file) if isinstance(own, RunPolicyFile) else own.text) is None:
            say(f"policies.{name}.file", f"cannot read {own.file}; relative paths start at the space file's folder")
        elif there != own.text:
            only = f"is not what {own.file} holds, and only the code of that file is run"
            say(f"policies.{name}.text", f"{only}; read the file, and remove `text`")
        elif broken := _broken(own):
            for line in broken:
                say(f"policies.{name}", line)
        else:
            right[name] = own
    return right


def _broken(own: PolicyFile) -> list[str]:
    """What a policy breaks of its contract, or of its form where it is not run: one line each."""
    try:
        policy = own.policy()
    except InputError as error:
        return [str(error)]
    if not isinstance(policy, CustomPolicy):
        return []
    from l3masking.testing import check_policy  # torch, which a space without policies of its own does not need

    return check_policy(policy)


def make_arms(
    arms: Mapping[str, ArmSpec | None], policies: Collection[str], right: Mapping[str, PolicyFile], say: Say
) -> dict[str, Method]:
    """What the names of declared arms stand for; an arm that is wrong is left out, and said.

    policies: all names that are declared. right: those of them that `checked_policies` gave.
    """
    made: dict[str, Method] = {}
    for name, arm in arms.items():
        if arm is None:
            continue
        wrong = []
        if name in METHODS:
            wrong.append((f"arms.{name}", "this name is taken by an arm of the program; choose another"))
        if arm.like not in METHODS:
            wrong.append((f"arms.{name}.like", f"{shown(arm.like)} is no arm; {nearest(arm.like, METHODS)}"))
        for key in ("policy", "adapt"):
            value = getattr(arm, key)
            if value is not None and value not in {*POLICIES, *policies}:
                hint = nearest(value, [*POLICIES, *policies])
                wrong.append((f"arms.{name}.{key}", f"{shown(value)} is no masking policy; {hint}"))
        for path, text in wrong:
            say(path, text)
        if not wrong:  # one whose policy is wrong still counts as declared, or all that names it would be wrong too
            whole = {arm.policy, arm.adapt} <= {None, *POLICIES, *right}
            made[name] = arm.method(name, right) if whole else METHODS[arm.like]
    return made


def check_corpora(
    name: Any,
    variants: Mapping[str, Mapping[str, Any]],
    corpora: Mapping[str, Any],
    arms: Sequence[Method],
    say: Say,
) -> None:
    """The corpus that `adapt.corpus` names, here and in variants, is declared; and named if an arm needs one."""
    named = {"adapt.corpus": name}
    named |= {f"variants.{v}.adapt.corpus": own["adapt.corpus"] for v, own in variants.items() if "adapt.corpus" in own}
    for path, corpus in named.items():
        if corpus is not None and corpus not in corpora:
            say(path, f"{shown(corpus)} is no corpus of this file; {nearest(str(corpus), corpora)}")
    if name is None:
        for arm in arms:
            if any(stage.text == "corpus" for stage in arm.adapts):
                say("adapt.corpus", f"needs a value for {arm.label}: the name of a corpus under `corpora`")
