"""RAY_ADDRESS: which Ray a run joins. It is checked first, because Ray tries a wrong or dead address for minutes."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading

from l3masking.errors import EnvironmentFault
from study.cluster.access import NO_TOKEN, is_local

VARIABLE = "RAY_ADDRESS"
FORM = "expected host:port of the head node, as 10.0.0.7:6379; unset it to start Ray on this machine"
PORTS = range(1024, 65536)  # Ray accepts no other
CLIENT = "ray://"
HEAD_PORT, CLIENT_PORT = 6379, 10001  # Ray's defaults
PLACE = re.compile(r"(?P<host>[^][:/?#@\s]+|\[[^][/?#@\s]+\])(?::(?P<port>[0-9]{1,18}))?")
SECONDS = 5.0  # for a connection, and again for an answer
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # of HTTP/2, with empty settings
ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"  # a question to a head that changes nothing
CLIENT_ALIVE = "/ray.rpc.RayletDriver/ClusterInfo"  # the same for its server of clients
SETTINGS = 4  # type, in the fourth byte, of the frame that a gRPC server answers with


def joined(*, insecure: bool = False) -> str | None:
    """The Ray that RAY_ADDRESS names, as host:port or ray://host:port, once it has answered; None: start one here.

    Raises EnvironmentFault, within 30 seconds, if the address has another form, no Ray head answers there, or it is on
    another machine and asks for no token, which `insecure` accepts.
    """
    given = os.environ.get(VARIABLE, "").strip()
    if given in ("", "local"):
        return None
    address = _running() if given == "auto" else given
    host, port = parse(address)
    _answers(given, host, port)
    if not insecure and not is_local(host) and is_open(address):
        raise EnvironmentFault(
            f"{VARIABLE}={given}: asks for no token and runs the code of anybody who reaches it; {NO_TOKEN}, or say "
            "--insecure-cluster"
        )
    return address


def is_open(address: str) -> bool:
    """Whether a head that has answered asks for no token."""
    import grpc

    host, port = parse(address)
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    with grpc.insecure_channel(place, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(CLIENT_ALIVE if address.startswith(CLIENT) else ALIVE)(b"", timeout=SECONDS)
        except grpc.RpcError:
            return False  # it asks for a token, or a certificate
    return True


def parse(address: str) -> tuple[str, int]:
    """Host and port of host:port, [IPv6]:port or ray://host[:port]. Raises EnvironmentFault for anything else."""
    if dashboard := re.match(r"https?://([^/?#]*)", address, re.IGNORECASE):
        host = found["host"] if (found := PLACE.fullmatch(dashboard[1])) else "HOST"
        raise EnvironmentFault(
            f"{VARIABLE}={address}: that is a dashboard, which `l3study submit --address` takes; {VARIABLE} is the "
            f"head's own host:port, as {host}:{HEAD_PORT}; unset it to start Ray on this machine"
        )
    client = address.startswith(CLIENT)
    found = PLACE.fullmatch(address.removeprefix(CLIENT))
    if not found or not (client or found["port"]):
        raise EnvironmentFault(f"{VARIABLE}={address}: {FORM}")
    usual = CLIENT_PORT if client else HEAD_PORT
    port = int(found["port"] or usual)
    if port not in PORTS:
        raise EnvironmentFault(
            f"{VARIABLE}={address}: port {port} is not between {PORTS[0]} and {PORTS[-1]}; give that of the head node, "
            f"usually {usual}, or unset {VARIABLE} to start Ray on this machine"
        )
    return found["host"].strip("[]"), port


def _running() -> str:
    """The Ray of this machine, as Ray's own "auto" finds it."""
    from ray._private import services

    try:
        return str(services.get_ray_address_from_environment("auto", None))
    except ConnectionError:
        raise EnvironmentFault(
            f"{VARIABLE}=auto: no Ray runs on this machine; start one by `ray start --head`, or unset {VARIABLE}"
        ) from None


def _answers(given: str, host: str, port: int) -> None:
    """Raise EnvironmentFault unless a gRPC server listens. Asks in a thread: name resolution has no time limit."""
    said = [f"no answer within {2 * SECONDS:g} s"]

    def ask() -> None:
        try:
            said[0] = _greet(host, port)
        except OSError as error:
            said[0] = str(error.strerror or error)
        except UnicodeError:  # a part of the host's name is empty or too long
            said[0] = "no name of a host"

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(2 * SECONDS)
    if said[0]:
        raise EnvironmentFault(
            f"{VARIABLE}={given}: no Ray head answers at {host}, port {port} ({said[0]}); start it by `ray start "
            f"--head`, correct the address, or unset {VARIABLE} to start Ray on this machine"
        )


def _greet(host: str, port: int) -> str:
    """Why this cannot be the head of a Ray cluster, judged by its answer; empty if it may be one."""
    with socket.create_connection((host, port), timeout=SECONDS) as connection:
        if os.environ.get("RAY_USE_TLS", "0").lower() not in ("", "0", "false"):
            return ""  # it answers nothing unencrypted
        connection.settimeout(SECONDS)
        connection.sendall(GREETING)
        answer = b""
        with contextlib.suppress(TimeoutError):
            while len(answer) < 4 and (more := connection.recv(9)):
                answer += more
    if answer[3:4] == bytes((SETTINGS,)):
        return ""
    return "a web server answers there, perhaps the dashboard" if answer[:4] == b"HTTP" else "what answers is no Ray"
