"""RAY_ADDRESS: every form is told apart, and nothing waits for an address where no Ray is."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from l3masking.errors import EnvironmentFault
from study.cluster import ray_address
from study.cluster.ray_address import joined, parse

GRPC = bytes((0, 0, 24, 4, 0, 0, 0, 0, 0)) + bytes(24)  # the settings that a gRPC server begins with


@contextlib.contextmanager
def listener(answer: bytes | None) -> Iterator[int]:
    """A port at which something answers every connection with these bytes, and closes it; None: says nothing."""
    server = socket.create_server(("127.0.0.1", 0))
    kept = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = server.accept()[0]
                kept.append(connection)
                connection.recv(500)
                if answer is not None:
                    connection.sendall(answer)
                    connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(server.getsockname()[1])
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()
        for connection in kept:
            connection.close()


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("10.0.0.7:6379", ("10.0.0.7", 6379)),
        ("head.example.org:6379", ("head.example.org", 6379)),
        ("[::1]:6379", ("::1", 6379)),
        ("ray://head:10002", ("head", 10002)),
        ("ray://head", ("head", 10001)),
    ],
)
def test_addresses_that_ray_takes(address: str, found: tuple[str, int]) -> None:
    assert parse(address) == found


@pytest.mark.parametrize(
    "address",
    ["head", "head:", "head:port", "head:" + "9" * 5000, "head:-1", ":6379", "::1", "[::1:6379", "head:6379/",
     "u@head:6379", "tcp://head:6379", "ray://", "ray://head:x", "autos"],
)  # fmt: skip
def test_other_addresses_are_refused_with_the_right_form(address: str) -> None:
    with pytest.raises(EnvironmentFault) as fault:
        parse(address)
    assert str(fault.value) == (
        f"RAY_ADDRESS={address}: expected host:port of the head node, as 10.0.0.7:6379; unset it to start Ray on this "
        "machine"
    )


@pytest.mark.parametrize(
    ("address", "port", "usual"),
    [
        ("127.0.0.1:99999", 99999, 6379),
        ("head:80", 80, 6379),
        ("head:0", 0, 6379),
        ("[::1]:65536", 65536, 6379),
        ("ray://head:70000", 70000, 10001),
        ("ray://head:0", 0, 10001),
    ],
)
def test_a_port_out_of_range_is_named_with_the_range(monkeypatch, address: str, port: int, usual: int) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(EnvironmentFault) as fault:
        joined()
    assert str(fault.value) == (
        f"RAY_ADDRESS={address}: port {port} is not between 1024 and 65535; give that of the head node, usually "
        f"{usual}, or unset RAY_ADDRESS to start Ray on this machine"
    )


def test_a_dashboard_whose_host_cannot_be_read_is_named_as_such() -> None:
    with pytest.raises(EnvironmentFault, match=r"that is a dashboard, .* as HOST:6379"):
        parse("http://[::1")


@pytest.mark.parametrize("address", ["http://head:8265", "https://head:8265/", "HTTP://head"])
def test_the_address_of_a_dashboard_is_named_as_such(monkeypatch, address: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(EnvironmentFault) as fault:
        joined()
    assert str(fault.value) == (
        f"RAY_ADDRESS={address}: that is a dashboard, which `l3study submit --address` takes; RAY_ADDRESS is the "
        "head's own host:port, as head:6379; unset it to start Ray on this machine"
    )


@pytest.mark.parametrize("address", [None, "", " ", "local"])
def test_without_an_address_ray_is_started_here(monkeypatch, address: str | None) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address is not None:
        monkeypatch.setenv("RAY_ADDRESS", address)
    assert joined() is None


def refused(monkeypatch, address: str) -> str:
    monkeypatch.setenv("RAY_ADDRESS", address)
    began = time.monotonic()
    with pytest.raises(EnvironmentFault) as fault:
        joined()
    assert time.monotonic() - began < 18
    text = str(fault.value)
    assert text.startswith(f"RAY_ADDRESS={address}: no Ray head answers at ")
    assert "ray start --head" in text
    assert "\n" not in text
    return text


def test_a_head_that_answers_is_joined(monkeypatch) -> None:
    with listener(GRPC) as port:
        for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
            monkeypatch.setenv("RAY_ADDRESS", address)
            assert joined() == address


def test_where_nobody_or_something_else_listens_it_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(ray_address, "SECONDS", 0.5)
    assert "(Connection refused)" in refused(monkeypatch, "127.0.0.1:1024")
    with listener(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        assert "(a web server answers there, perhaps the dashboard)" in refused(monkeypatch, f"127.0.0.1:{port}")
    for answer in (b"-ERR unknown command\r\n", b"", None):
        with listener(answer) as port:
            assert "(what answers is no Ray)" in refused(monkeypatch, f"127.0.0.1:{port}")


def test_with_tls_only_the_connection_is_tried(monkeypatch) -> None:
    monkeypatch.setenv("RAY_USE_TLS", "1")
    with listener(b"") as port:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        assert joined() == f"127.0.0.1:{port}"


def test_a_name_that_no_server_knows_or_answers_for(monkeypatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "(Name or service not known)" in refused(monkeypatch, "no-such-host:6379")
    monkeypatch.setattr(ray_address, "SECONDS", 0.05)
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(60) and [])
    try:
        assert "(no answer within 0.1 s)" in refused(monkeypatch, "slow-name:6379")
    finally:
        released.set()


def test_auto_is_the_ray_of_this_machine(monkeypatch) -> None:
    from ray._private import services

    def none(*_: object) -> str:
        raise ConnectionError("Could not find any running Ray instance. ...")

    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setattr(services, "find_gcs_addresses", set)
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: None)
    with pytest.raises(EnvironmentFault, match="RAY_ADDRESS=auto: no Ray runs on this machine; start one by"):
        joined()
    with listener(GRPC) as port:
        monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: f"127.0.0.1:{port}")
        assert joined() == f"127.0.0.1:{port}"
    monkeypatch.setattr(ray_address, "SECONDS", 0.5)
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: "127.0.0.1:1024")  # left by a dead one
    with pytest.raises(EnvironmentFault, match=r"RAY_ADDRESS=auto: no Ray head answers at 127\.0\.0\.1, port 1024"):
        joined()


@contextlib.contextmanager
def grpc_server(*, asks: bool) -> Iterator[int]:
    """The port of a server that answers any question, or that asks for a token first."""

    def answer(question: bytes, context: grpc.ServicerContext) -> bytes:
        if asks:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
        return b""

    class Anything(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Anything()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_a_cluster_of_other_machines_without_a_token_is_refused(monkeypatch, form: str) -> None:
    """S1: `run` joins it only where the user says so; one of this machine, or a tunnel to it, is the user's own."""
    with grpc_server(asks=False) as port:
        monkeypatch.setenv("RAY_ADDRESS", form.format(port))
        assert joined() == form.format(port)
        monkeypatch.setattr(ray_address, "is_local", lambda host: False)
        wanted = r"asks for no token and runs the code of anybody .*get-auth-token.*--insecure-cluster$"
        with pytest.raises(EnvironmentFault, match=wanted):
            joined()
        assert joined(insecure=True) == form.format(port)
    with grpc_server(asks=True) as port:
        monkeypatch.setenv("RAY_ADDRESS", form.format(port))
        assert joined() == form.format(port)
