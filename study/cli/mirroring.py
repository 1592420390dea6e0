"""The verbs about MLflow: ui, sync."""

from __future__ import annotations

import os
import sys
import time
import webbrowser
from typing import Annotated

import typer

from l3masking.errors import EnvironmentFault
from study.cli.options import Folder, Uri


def ui(
    folder: Folder,
    port: Annotated[
        int, typer.Option("--port", help="Port on this machine; if it is taken, the next free one.")
    ] = 5000,
    no_open: Annotated[bool, typer.Option("--no-open", help="Print the links and open no browser.")] = False,
) -> None:
    """Show the study in MLflow's UI, for this machine alone, until Ctrl-C."""
    from study.store.places import opened
    from study.tracking.database import resolve_uri
    from study.tracking.feed import STALE
    from study.tracking.ui import serve

    root = opened(folder)
    try:
        with serve(root, port, folder) as server:
            if server.port != port:
                print(f"port {port} is taken: using {server.port}")
            mark = root / STALE
            if mark.exists() and mark.read_text(encoding="utf-8").startswith(f"{resolve_uri(root, None)} "):
                print(f"the mirror is behind: `l3study sync {folder}` brings it up to date")
            links = server.links()
            width = max(map(len, links))
            print("\n".join(f"{name:<{width}}  {address}" for name, address in links.items()))
            print("Ctrl-C ends it", flush=True)
            if not no_open and _has_display():
                webbrowser.open(next(iter(links.values())))
            server.wait()
    except KeyboardInterrupt:
        print("ended")


def sync(folder: Folder, tracking_uri: Uri = None) -> None:
    """Bring MLflow up to date with the records: the study's own database, or any other store or server."""
    from study.plan.grid import make_plan
    from study.plan.resolved import opened_study, planned
    from study.results.gather import gather
    from study.store.places import open_store
    from study.tracking.database import redacted
    from study.tracking.mirror import sync as rebuild
    from study.tracking.views import opening

    root = opened_study(folder)
    spec, identities, findings = planned(root)
    store, begin = open_store(folder), time.monotonic()
    with store.lock():
        trials = make_plan(spec, identities, findings)
        found = [root / "space.yaml", root / "resolved.yaml", root / "report.html"]
        found += [*root.glob("tables/*"), *root.glob("figures/*")]
        mirror = rebuild(
            store,
            tracking_uri,
            cells=gather(store, spec, trials).cells,
            name=spec.name,
            description=spec.description,
            datasets=spec.datasets,
            trials=trials,
            findings=findings.values(),
            paths=sorted(path for path in found if path.is_file()),
        )
    if mirror.reason is not None:
        raise EnvironmentFault(f"{redacted(mirror.uri)}: {mirror.reason}; {mirror.advice}")
    print(f"{redacted(mirror.uri)} is up to date ({time.monotonic() - begin:.0f} s)")
    print(opening(root, mirror.uri, mirror.page))


def _has_display() -> bool:
    """Whether a browser would come up in a window: in a terminal it would take the place of what is printed."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
