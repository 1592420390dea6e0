"""The verbs about machines: prefetch, doctor, submit, stop, logs."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from l3masking.errors import InputError
from study.cli.options import Insecure, Limit, Only, Sets, Space, Uri, find_space
from study.exit_codes import ENVIRONMENT_FAULT, STOPPED

DASHBOARD = "http://127.0.0.1:8265"  # Ray's own default
Address = Annotated[
    str,
    typer.Option("--address", metavar="URL", envvar="RAY_API_SERVER_ADDRESS", help="The cluster's dashboard."),
]
JobId = Annotated[str, typer.Argument(help="A job's id, as `submit` printed it.")]


def prefetch(
    space: Annotated[str | None, typer.Argument(help="A space file, or a bare name of one in search_spaces/.")] = None,
    sets: Sets = None,
    pos: Annotated[bool, typer.Option("--pos", help="Fetch the data of NLTK's tagger, for `l3study pos`.")] = False,
) -> None:
    """Fetch the encoders and datasets that SPACE needs, so that a machine without a network can run it."""
    if space is None and not pos:
        raise InputError("prefetch: name a space, or give --pos, or both")
    if space is not None:
        from study.plan.inputs import prefetch as fetch
        from study.space.reader import read_space

        print("\n".join(fetch(read_space(find_space(space), sets or ()))))
    if pos:
        from l3masking.analysis.taggers import fetch_nltk_data

        print("\n".join(fetch_nltk_data()))


def doctor(
    space: Annotated[str | None, typer.Argument(help="A space that is to run here.")] = None,
    sets: Sets = None,
    out: Annotated[str | None, typer.Option("--out", help="Where the results go: a folder or a URL.")] = None,
    address: Annotated[str | None, typer.Option("--address", metavar="URL", help="A cluster's dashboard.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects.")] = False,
) -> None:
    """Look at packages, processor, GPUs, tokens, folders, caches and networks before a run. Works offline."""
    from study.doctor.checks import describe, examine, place_of
    from study.doctor.findings import Patient
    from study.space.reader import read_space

    spec = read_space(find_space(space), sets or ()) if space else None
    findings = []
    for finding in examine(Patient(spec=spec, out=place_of(spec, out), address=address)):
        findings.append(finding)
        if not as_json:
            print(describe(finding), flush=True)
    if as_json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
    if any(finding.state == "FAIL" for finding in findings):
        raise typer.Exit(ENVIRONMENT_FAULT)


def submit(
    space: Space,
    address: Address = DASHBOARD,
    out: Annotated[str | None, typer.Option("--out", help="An absolute folder that all nodes share, or a URL.")] = None,
    sets: Sets = None,
    only: Only = None,
    limit: Limit = None,
    tracking_uri: Uri = None,
    runtime_env: Annotated[Path | None, typer.Option("--runtime-env", help="Default: runtime_env.yaml.")] = None,
    working_dir: Annotated[Path, typer.Option("--working-dir", help="Folder that Ray copies to the cluster.")] = Path(),
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not follow the log.")] = False,
    insecure_cluster: Insecure = False,
) -> None:
    """Run SPACE on a Ray cluster; follows the log, and ends with the study's own exit code."""
    from study.cluster.jobs import Submission, submit

    submission = Submission(
        space=find_space(space),
        address=address,
        out=out,
        sets=sets or (),
        only=only or (),
        limit=limit,
        tracking_uri=tracking_uri,
        runtime_env=runtime_env,
        working_dir=working_dir,
        insecure=insecure_cluster,
    )
    job = submit(submission, lambda line: print(f"warning: {line}", file=sys.stderr))
    print(f"job {job}\nfollow it with l3study logs {job} --address {address}")
    print(f"stop it with   l3study stop {job} --address {address}", flush=True)
    if not no_wait:
        raise typer.Exit(_follow(job, address))


def logs(job: JobId, address: Address = DASHBOARD) -> None:
    """Show a job's log from its beginning, follow it, and end with the study's own exit code."""
    raise typer.Exit(_follow(job, address))


def stop(job: JobId, address: Address = DASHBOARD) -> None:
    """Stop a job: it writes its tables and ends; the same `submit` continues it."""
    from study.cluster.jobs import stop

    if not stop(job, address, lambda line: print(line, flush=True)):
        raise typer.Exit(ENVIRONMENT_FAULT)


def _follow(job: str, address: str) -> int:
    from study.cluster.jobs import follow

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    try:
        return follow(job, address, write)
    except KeyboardInterrupt:
        print(f"\nstopped following the log; job {job} continues", file=sys.stderr)
        return STOPPED
