"""Redirects, encryption, and servers that are not there."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from sources.downloads import CONTENT, failure, get
from sources.web_server import Files, Web, redirect, serving

from mtt.sources import Settings


@pytest.fixture
def files() -> Files:
    return Files({"/a/model.ckpt": CONTENT})


@pytest.fixture
def web(files: Files) -> Iterator[Web]:
    with serving(files) as server:
        yield server


def test_redirects_across_hosts_take_no_password_along(web: Web) -> None:
    with serving(redirect(f"{web.url}/a/model.ckpt"), host="localhost") as first:
        url = first.url.replace("http://", "http://somebody:pass-word@") + "/start.ckpt"
        assert get(url) == CONTENT
        assert first.asked[0].headers["authorization"].startswith("Basic ")
    assert "authorization" not in web.asked[0].headers
    assert "pass-word" not in str(web.asked[0])


def test_redirects_without_end_and_to_nowhere() -> None:
    with serving(lambda request: request.say(302, location="/again")) as web:
        assert failure(f"{web.url}/a.ckpt") == (
            f"the server redirects without end\n  where: {web.url}/a.ckpt"
        )
    with serving(redirect("file:///etc/passwd")) as web:
        assert failure(f"{web.url}/a.ckpt") == (
            "the server redirects to an address that is not of the web\n"
            f"  where: {web.url}/a.ckpt\n"
            "  hint: tell its owner"
        )


def test_plain_http_has_to_be_asked_for(web: Web) -> None:
    assert failure(f"{web.url}/a/model.ckpt", Settings()) == (
        "plain http is not encrypted: anyone on the way could read and change the file\n"
        f"  where: {web.url}/a/model.ckpt\n"
        "  hint: use https, or allow it with --allow-http, best together with --sha256"
    )
    assert web.asked == []


def test_https(
    files: Files, certificates: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, web: Web
) -> None:
    trusted, chain = certificates
    with serving(files, chain, host="localhost") as secure:
        url = f"{secure.url}/a/model.ckpt"
        assert failure(url, Settings()).startswith(
            "the server's certificate is not trusted: unable to get local issuer certificate\n"
            f"  where: {url}\n"
            "  hint: name the file of your own authority's certificates in SSL_CERT_FILE"
        )
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        assert get(url, Settings()) == CONTENT
    with serving(redirect(f"{web.url}/a/model.ckpt"), chain, host="localhost") as secure:
        # what was encrypted stays so
        assert failure(f"{secure.url}/model.ckpt", Settings()).startswith(
            "plain http is not encrypted: anyone on the way could read and change the file\n"
            f"  where: {web.url}/a/model.ckpt\n"
        )
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted.with_name("gone.pem")))
    assert failure("https://localhost:1/m.ckpt", Settings()) == (
        "the settings of the network cannot be used: FileNotFoundError\n"
        "  hint: look at SSL_CERT_FILE, HTTPS_PROXY and HTTP_PROXY"
    )


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/m.ckpt"
        assert failure(url) == (
            "the download failed 3 times, the last time because the connection was refused\n"
            f"  where: {url}\n"
            "  hint: try again later, or wait longer for answers with --timeout"
        )

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert failure("https://no-such-host.invalid/m.ckpt") == (
        "there is no server of this name\n"
        "  where: https://no-such-host.invalid/m.ckpt\n"
        "  hint: check the address, and the network"
    )
