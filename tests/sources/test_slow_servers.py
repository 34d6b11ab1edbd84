"""Servers that never come to an end: the client does, in seconds, with what happened."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from downloads import QUICK, failure

from mtt.sources import watch

PATIENCE = 0.2


def _say(connection: socket.socket, pieces: Iterator[bytes]) -> None:
    try:
        for piece in pieces:
            connection.sendall(piece)
    except OSError:
        pass  # the client has hung up


def _drip(first: bytes, piece: bytes) -> Iterator[bytes]:
    yield first
    while True:
        time.sleep(PATIENCE / 2)
        yield piece


OK = b"HTTP/1.1 200 OK\r\n"
TALKS: dict[str, tuple[Callable[[], Iterator[bytes]], str]] = {
    "a body, byte by byte": (
        lambda: _drip(OK + b"Content-Length: 1000000\r\n\r\n", b"x"),
        "less than 1000 bytes a second arrived",
    ),
    "a body without a length": (lambda: _drip(OK + b"\r\n", b"x"), "less than 1000 bytes"),
    "chunks of one byte": (
        lambda: _drip(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        "less than 1000 bytes",
    ),
    "the length of a chunk": (
        lambda: _drip(OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x"),
        "less than 1000 bytes",
    ),
    "headers, one by one": (lambda: _drip(OK, b"X-a: b\r\n"), "less than 1000 bytes"),
    "the first line": (lambda: _drip(b"HTTP/1.1 200 ", b"O"), "less than 1000 bytes"),
    "redirects": (
        lambda: iter([b"HTTP/1.1 302 x\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"]),
        "the server redirects without end",
    ),
    "headers without end": (
        lambda: iter([OK, *(b"X-%d: %s\r\n" % (k, b"b" * 500) for k in range(100_000))]),
        "the download failed",
    ),
    "a date far away": (
        lambda: iter([b"HTTP/1.1 503 x\r\nRetry-After: 99999999\r\nContent-Length: 0\r\n\r\n"]),
        "asks to come back in 99999999 s",
    ),
    "a length that is none": (
        lambda: iter([OK + b"Content-Length: 9999999999999999999999999\r\n\r\nabc"]),
        "",
    ),
    "a length of 20,000 digits": (
        lambda: iter([OK + b"Content-Length: " + b"9" * 20_000 + b"\r\n\r\nabc"]),
        "",
    ),
    "a packed file": (
        lambda: iter([OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"]),
        "the server packs the file, which was not asked for",
    ),
    "a reason that steers the terminal": (
        lambda: iter([b"HTTP/1.1 404 \x1b]0;x\x07\r\nContent-Length: 0\r\n\r\n"]),
        "",
    ),
}


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server that says the same to everyone."""
    listener = socket.create_server(("127.0.0.1", 0))
    talk: Callable[[], Iterator[bytes]] = request.param

    def answer(connection: socket.socket) -> None:
        with connection:
            connection.recv(65536)
            _say(connection, talk())

    def listen() -> None:
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=listen, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/model.ckpt"
    listener.close()


@pytest.mark.parametrize(
    ("server", "expected"), TALKS.values(), ids=TALKS.keys(), indirect=["server"]
)
def test_an_end_to_every_download(
    server: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SHORTEST_WINDOW", 2 * PATIENCE)
    message = failure(server, QUICK)
    assert expected in message
    assert re.search(r"[^\n\x20-\x7e]", message) is None


def test_a_long_download_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LONGEST", 0.2)
    watched = watch.Watch(100.0)
    with pytest.raises(watch.TooSlow, match="it took longer than"), watched.watching():
        for _ in range(100):
            watched.count(10**6)
            time.sleep(0.01)


def test_what_is_fast_enough_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SHORTEST_WINDOW", 0.1)
    watched = watch.Watch(0.01)
    with watched.watching():
        for _ in range(10):
            watched.count(1000)
            time.sleep(0.04)
