"""The verbs that show what there is: methods, policies, and the check of a user's own policy."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="A list of objects.")]


def methods(as_json: Json = False) -> None:
    """Show the arms that a study can compare, with one line each."""
    from l3masking.methods import METHODS

    if as_json:
        shown = ("label", "summary", "source", "controls")
        _print_json([{"name": name} | {key: getattr(arm, key) for key in shown} for name, arm in METHODS.items()])
    else:
        _print_lines({name: f"{arm.label}: {arm.summary}" for name, arm in METHODS.items()})


def policies(as_json: Json = False) -> None:
    """Show the masking policies, with one line each: which tokens they mask, or mask more often."""
    from l3masking.masking.policies.base import settings_of
    from l3masking.masking.policies.table import POLICIES

    if as_json:
        _print_json(
            [
                {
                    "name": name,
                    "summary": policy.summary,
                    "source": policy.source,
                    "needs": sorted(policy.needs),
                    "settings": settings_of(policy),
                }
                for name, policy in POLICIES.items()
            ]
        )
    else:
        _print_lines({name: policy.summary for name, policy in POLICIES.items()})


def check_policy(
    file: Annotated[str, typer.Argument(help="A Python file with a class `Policy`; see docs/extending.md.")],
    sets: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting of it.")] = None,
) -> None:
    """Try your own masking policy on made-up texts; one line for each part of the contract that it breaks."""
    from l3masking.errors import InputError
    from l3masking.masking.policies.base import settings_of
    from l3masking.masking.policies.custom import read_policy

    policy = read_policy(file, _values(sets or []))
    from l3masking.testing import CONTRACTS
    from l3masking.testing import check_policy as broken_by

    broken = broken_by(policy)
    if broken:
        raise InputError("\n".join(broken))
    settings = ", ".join(f"{name} {value!r}" for name, value in settings_of(policy.made).items())
    needs = ", ".join(sorted(policy.needs))
    print(f"{file}: {len(CONTRACTS)} checks passed (settings: {settings or 'none'}; needs: {needs or 'nothing'})")


def _values(sets: list[str]) -> dict[str, Any]:
    """The settings of --set, each value as in YAML."""
    from l3masking.errors import InputError
    from study.space.yaml import parse_yaml

    found: dict[str, Any] = {}
    for text in sets:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise InputError(f"--set {text!r}: expected name=value, such as power=2")
        found[name.strip()], wrong = parse_yaml(value, f"--set {name.strip()}")
        if wrong:
            raise InputError("; ".join(f"--set {text}: {problem.text}" for problem in wrong))
    return found


def _print_lines(rows: dict[str, str]) -> None:
    width = max(map(len, rows))
    print("\n".join(f"{name:<{width}}  {said}" for name, said in rows.items()))


def _print_json(value: list[dict[str, Any]]) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False))
