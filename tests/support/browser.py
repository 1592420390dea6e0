"""A page in a real headless browser, told and asked through its DevTools protocol."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0"),
)


def find_browser() -> str | None:
    """A Chromium of this machine."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def see(url: str, condition: str, *, seconds: float = 180, size: tuple[int, int] = (1600, 1000)) -> str:
    """The text of the page at `url` once the JavaScript `condition` is true in it; AssertionError with it if never."""
    return asyncio.run(_see(url, condition, seconds, size))


async def _see(url: str, condition: str, seconds: float, size: tuple[int, int]) -> str:
    import aiohttp

    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        place = (f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", "about:blank")
        process = subprocess.Popen(
            [str(find_browser()), *FLAGS, *place],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            port = await _port(Path(profile) / "DevToolsActivePort", process, end)
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                    tabs = await answer.json()
                address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
                async with session.ws_connect(address, max_msg_size=0) as socket:
                    return await _wait(socket, url, condition, end)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


async def _port(file: Path, process: subprocess.Popen[bytes], end: float) -> str:
    while not (file.exists() and file.read_text().count("\n")):
        assert process.poll() is None, "the browser has ended"
        assert time.monotonic() < end, "the browser does not start"
        await asyncio.sleep(0.1)
    return file.read_text().splitlines()[0]


async def _wait(socket: Any, url: str, condition: str, end: float) -> str:
    numbers = iter(range(1, 1_000_000))

    async def call(method: str, **parameters: Any) -> Any:
        number = next(numbers)
        await socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            answer = await socket.receive_json()
            if answer.get("id") == number:
                return answer.get("result", {})

    async def value(expression: str) -> Any:
        answer = await call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer.get("result", {}).get("value")

    await call("Page.navigate", url=url)
    while await value(condition) is not True:
        if time.monotonic() > end:
            raise AssertionError(f"never true: {condition}; the page says {await value('document.body.innerText')!r}")
        await asyncio.sleep(0.3)
    return str(await value("document.body.innerText"))
