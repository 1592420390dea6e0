"""Access to a Ray cluster: the token of a client, and whether a cluster asks for one.

Anybody who reaches the Jobs API of a cluster without a token can run any code there, as the cluster's user.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import os
import secrets
import stat
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from l3masking.errors import EnvironmentFault, InputError
from l3masking.homes import user_path
from l3masking.whole import write_new
from study.surroundings import spare_loopback

TIMEOUT = 10.0  # seconds for an answer
REFUSED = (401, 403)  # no token, a wrong one
JOBS = "/api/jobs/"
VERSION = "/api/version"
NO_TOKEN = "make a token there by `ray get-auth-token --generate` and start Ray anew with RAY_AUTH_MODE=token"


@dataclass(frozen=True, kw_only=True)
class Access:
    """A cluster that has answered."""

    address: str  # http://HOST:PORT of the dashboard
    guarded: bool  # asks for a token
    headers: dict[str, str] = field(repr=False)  # sent with each request; they hold the token
    ray_version: str | None  # of the cluster; None: it does not say

    @property
    def local(self) -> bool:
        """Whether the address belongs to this machine or to a tunnel that starts here."""
        return is_local(urllib.parse.urlsplit(self.address).hostname or "")


def token_path() -> Path:
    """The file that Ray reads its token from."""
    return user_path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token")


def token() -> str | None:
    """The token of this user, as Ray finds it: RAY_AUTH_TOKEN, the file RAY_AUTH_TOKEN_PATH, ~/.ray/auth_token."""
    given = os.environ.get("RAY_AUTH_TOKEN")
    if given:
        return given.strip()
    try:
        return token_path().read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def readable_by_others() -> bool:
    """Whether other users of this machine may read the token file."""
    try:
        return bool(token_path().stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except OSError:
        return False


def guard_token() -> None:
    """Make the token of a local Ray readable to this user only, before Ray writes one that everybody can read.

    Removes the permissions of others from an existing file. Does nothing if Ray asks for no token or gets it elsewhere.
    """
    elsewhere = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    if elsewhere or os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    path = token_path()
    try:
        if not path.exists():
            _write_token(path)
        elif readable_by_others() and path.stat().st_uid == os.getuid():
            path.chmod(0o600)
    except OSError:
        return  # a home that cannot be written: Ray reports it if it needs one


def _write_token(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):  # another process wrote one first, which serves as well
        write_new(path, secrets.token_hex(32).encode("ascii"), mode=0o600)


def parse_address(address: str) -> str:
    """http://HOST:PORT of a dashboard. Raises InputError for any other address."""
    text = address if "://" in address else f"http://{address}"
    try:
        parts = urllib.parse.urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number or above 65535, a bracket that is not closed
        usable = False
    if not usable:
        raise InputError(
            f"--address {address}: expected that of the cluster's dashboard, as http://HOST:8265, with a port "
            "from 1 to 65535"
        )
    return text.rstrip("/")


def ask(address: str, path: str, headers: dict[str, str], timeout: float = TIMEOUT) -> tuple[int, bytes]:
    """Status and content of an answer. Raises EnvironmentFault if nobody answers, or not by HTTP."""
    host = urllib.parse.urlsplit(address).hostname or ""
    if is_local(host):
        spare_loopback(host)
    request = urllib.request.Request(f"{address}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, b""
    except http.client.HTTPException as error:
        raise EnvironmentFault(
            f"{address}: something answers there, but not by HTTP; --address is that of the dashboard (port 8265), not "
            "of the head itself (port 6379)"
        ) from error
    except (OSError, ValueError) as error:  # URLError is an OSError; ValueError: no HTTP
        reason = f"{getattr(error, 'reason', error)}{_proxy(address, host)}"
        raise EnvironmentFault(
            f"{address}: no Ray dashboard answers ({reason}); start one by `ray start --head`, or correct --address"
        ) from error


def _proxy(address: str, host: str) -> str:
    """A note that a proxy is in use, if one is; without its address, which may contain a password."""
    scheme = urllib.parse.urlsplit(address).scheme
    if scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host):
        return f", asked through the proxy that {scheme}_proxy names; name {host} in no_proxy if it is not to be"
    return ""


def is_local(host: str) -> bool:
    """Whether a host's name or address belongs to this machine's loopback interface."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def reach(address: str, timeout: float = TIMEOUT) -> Access:
    """Find out whether a cluster asks for a token and accepts ours.

    Raises EnvironmentFault if nobody answers, there is no Jobs API, or the token is missing or wrong.
    """
    address = parse_address(address)
    status, _ = ask(address, JOBS, {}, timeout)
    guarded = status in REFUSED
    headers: dict[str, str] = {}
    if guarded:
        mine = token()
        if mine is None:
            raise EnvironmentFault(
                f"{address}: asks for a token, and there is none here; copy the head node's ~/.ray/auth_token to "
                f"{token_path()} (chmod 600), or set RAY_AUTH_TOKEN_PATH"
            )
        headers = {"Authorization": f"Bearer {mine}"}
        status, _ = ask(address, JOBS, headers, timeout)
        if status in REFUSED:
            raise EnvironmentFault(f"{address}: refuses the token of this user; take that of the head node")
    if status != 200:
        raise EnvironmentFault(
            f"{address}: no Jobs API there (it answers {status}); give the address of a Ray dashboard"
        )
    return Access(address=address, guarded=guarded, headers=headers, ray_version=_version(address, headers, timeout))


def _version(address: str, headers: dict[str, str], timeout: float) -> str | None:
    status, content = ask(address, VERSION, headers, timeout)
    try:
        return str(json.loads(content)["ray_version"]) if status == 200 else None
    except (ValueError, KeyError, TypeError):
        return None
