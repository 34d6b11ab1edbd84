"""Files of the hub, through huggingface_hub and a hub on loopback."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from sources.hub_server import COMMIT, READ_ONLY, TOKEN, Hub, Repository, mentions, store
from sources.web_server import Handler, Web, half, serving

from mtt import sources
from mtt.errors import UserError
from mtt.sources import Fetched, Settings, Token

CONTENT = bytes(range(256)) * 4000
HASH = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def hub() -> Hub:
    files = {"model.ckpt": CONTENT, "best/model.pt": CONTENT[::-1]}
    tagged = ["main", COMMIT, "v1", "refs/pr/3"]
    return Hub(
        {
            "org/open": Repository(dict(files), revisions=tagged),
            "org/secret": Repository(dict(files), private=True),
            "org/gated": Repository(dict(files), gated=True),
        }
    )


@pytest.fixture
def web(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    with serving(hub) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def settings(token: str | None = None, origin: str = "HF_TOKEN", **more: object) -> Settings:
    given = Token(token, origin) if token else None
    return Settings(allow_http=True, timeout=5, token=given, **more)  # type: ignore[arg-type]


def get(words: str, how: Settings | None = None) -> Fetched:
    (source,) = sources.read(words.split())
    return sources.fetch(source, how or settings())


def failure(words: str, how: Settings | None = None) -> str:
    with pytest.raises(UserError) as raised:
        get(words, how)
    shown, error = "", raised.value.__cause__
    while error is not None:
        shown, error = shown + repr(error), error.__cause__
    assert "hf_" not in shown
    return str(raised.value)


def test_two_words_an_address_and_a_uri_name_the_same_file(web: Web) -> None:
    spellings = [
        "org/open model.ckpt",
        f"{web.url}/org/open/resolve/main/model.ckpt?download=true",
        "https://huggingface.co/org/open/blob/main/model.ckpt",
        "hf://org/open@main/model.ckpt",
        f"hf://org/open/model.ckpt#sha256={HASH}",
    ]
    for words in spellings:
        fetched = get(words)
        assert fetched.path.read_bytes() == CONTENT
        assert fetched.path.name == "model.ckpt"
        assert fetched.record == {
            "hub": web.url,
            "repository": "org/open",
            "kind": "model",
            "file": "model.ckpt",
            "revision": "main",
            "commit": COMMIT,
            "sha256": HASH,
        }
    assert [one.method for one in web.asked].count("GET") == 1


def test_revisions_and_folders(web: Web) -> None:
    for how in (settings(revision="v1"), settings(revision="refs/pr/3"), settings(revision=COMMIT)):
        assert get("org/open best/model.pt", how).path.read_bytes() == CONTENT[::-1]
    assert get("hf://org/open@refs/pr/3/best/model.pt").record["revision"] == "refs/pr/3"
    assert failure("hf://org/open@v1/model.ckpt", settings(revision="v2")) == (
        "two revisions are given: 'v1' in the address, and --revision v2\n"
        "  where: hf://org/open@v1/model.ckpt"
    )


def test_offline_takes_what_is_here(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    offline = settings(offline=True)
    assert failure("org/open model.ckpt", offline) == (
        "this file has not been downloaded before, and --offline forbids to do so now\n"
        "  where: hf://org/open/model.ckpt"
    )
    get("org/open model.ckpt")
    asked = len(web.asked)
    assert get("org/open model.ckpt", offline).record["commit"] == COMMIT
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert get("org/open model.ckpt").path.read_bytes() == CONTENT
    assert failure("org/open best/model.pt") == (
        "this file has not been downloaded before, and HF_HUB_OFFLINE forbids to do so now\n"
        "  where: hf://org/open/best/model.pt"
    )
    assert len(web.asked) == asked


def test_private_repositories(web: Web) -> None:
    where = "  where: hf://org/secret/model.ckpt\n"
    words = "org/secret model.ckpt"
    assert failure(words) == (
        "the hub shows no repository org/secret\n"
        + where
        + "  hint: check the name; for a private "
        "one, give a token in HF_TOKEN or with --token-file"
    )
    assert failure(words, settings("hf_WrongWrongWrong", "--token")) == (
        "the hub does not know the token of --token\n"
        + where
        + "  hint: it may have expired; make "
        f"another: {web.url}/settings/tokens"
    )
    assert failure(words, settings(READ_ONLY)) == (
        "the token of HF_TOKEN has no right to do this in org/secret\n" + where + "  hint: give it "
        f"that right: {web.url}/settings/tokens"
    )
    assert get(words, settings(TOKEN)).path.read_bytes() == CONTENT
    assert failure("org/gated model.ckpt", settings(TOKEN)) == (
        "the repository org/gated is gated: its owners let people in one by one\n"
        "  where: hf://org/gated/model.ckpt\n"
        f"  hint: ask them at {web.url}/org/gated, then give your token"
    )


def test_what_is_not_there(web: Web) -> None:
    assert failure("org/none model.ckpt", settings(TOKEN)) == (
        "the hub shows no repository org/none\n"
        "  where: hf://org/none/model.ckpt\n"
        "  hint: check the name; if it is private, the token of HF_TOKEN is not let in"
    )
    assert failure("org/open model.ckpt", settings(revision="v9")) == (
        "the repository org/open has no revision 'v9'\n"
        "  where: hf://org/open/model.ckpt\n"
        "  hint: give the name of a branch or a tag, or the hash of a commit"
    )
    assert failure("org/open modle.ckpt") == (
        "the repository org/open has no such file\n"
        "  where: hf://org/open/modle.ckpt\n"
        f"  hint: see what it has: {web.url}/org/open/tree/main"
    )


def test_a_token_is_not_sent_to_the_host_of_large_files(web: Web, hub: Hub) -> None:
    with serving(store(hub.repositories["org/secret"].files), host="localhost") as cdn:
        hub.cdn = cdn.url
        fetched = get("org/secret model.ckpt", settings(TOKEN))
        assert fetched.path.read_bytes() == CONTENT
        assert mentions(web.asked, TOKEN)
        assert len(cdn.asked) == 1
        assert not mentions(cdn.asked, TOKEN)
        assert "authorization" not in cdn.asked[0].headers
        assert "Signature" not in str(fetched.record)


def test_a_redirect_to_another_server_that_wants_the_token(web: Web) -> None:
    """A hub that was taken over, or a mirror: whatever it says, the token stays with it."""
    with serving(lambda request: request.say(401)) as thief:

        def send_away(request: Handler) -> None:
            where = thief.url + request.path
            request.say(307, location=where, x_repo_commit=COMMIT, etag='"tag"')

        web.listener.answer = send_away
        assert "the hub" in failure("org/open model.ckpt", settings(TOKEN))
        assert thief.asked
        assert not mentions(thief.asked, TOKEN)


def test_broken_off_at_half_goes_on_from_there(web: Web, hub: Hub) -> None:
    hub.faults = [half]
    assert get("org/open model.ckpt").path.read_bytes() == CONTENT
    assert web.asked[-1].headers["range"] == f"bytes={len(CONTENT) // 2 // 65536 * 65536}-"


def test_the_size_is_limited_whatever_the_hub_says(web: Web, hub: Hub, tmp_path: Path) -> None:
    limited = settings(max_size=500_000)
    expected = (
        "the file is larger than 500 kB\n"
        "  where: hf://org/open/model.ckpt\n"
        "  hint: if that is right, allow more with --max-size"
    )
    assert failure("org/open model.ckpt", limited) == expected

    def lie(request: Handler) -> None:
        said = {"x_repo_commit": COMMIT, "etag": '"tag"'}
        if request.command == "HEAD":
            request.say(200, b"small", **said)
        else:
            request.say(200, CONTENT, **said)

    web.listener.answer = lie
    assert failure("org/open model.ckpt", limited) == expected
    assert failure("org/open model.ckpt") == (
        "the file that arrived has another length than the hub said\n"
        "  where: hf://org/open/model.ckpt\n"
        "  hint: try again"
    )
    assert list(tmp_path.glob("hub/models*/blobs/*")) == []


PROGRAM = """
import sys
from mtt import sources
(source,) = sources.read(["org/open", "model.ckpt"])
print(sources.fetch(source, sources.Settings(allow_http=True)).path)
"""


def start(tmp_path: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub")}
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_killed_and_two_at_once(web: Web, hub: Hub, tmp_path: Path) -> None:
    resume_run = threading.Event()

    def held(request: Handler, content: bytes) -> None:
        request.say(200, content[:500_000], content_length=len(content))
        request.wfile.flush()
        resume_run.wait(20)
        request.wfile.write(content[500_000:])

    hub.faults = [held]
    process = start(tmp_path)
    while not any(one.method == "GET" for one in web.asked):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    resume_run.set()
    assert list(tmp_path.glob("hub/**/*.ckpt")) == []
    assert list(tmp_path.glob(f"hub/**/{HASH}")) == []
    both = [start(tmp_path), start(tmp_path)]
    first, second = (one.communicate()[0] for one in both)
    assert first == second
    assert Path(first.strip()).read_bytes() == CONTENT


def test_a_hub_that_is_none_or_not_there(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    web.listener.answer = lambda request: request.say(200, b"hello")
    assert failure("org/open model.ckpt") == (
        "the server does not speak as the Hugging Face hub does\n"
        f"  where: {web.url}\n"
        "  hint: look at HF_ENDPOINT, and at what is between this machine and the hub"
    )
    web.listener.answer = lambda request: request.say(400)
    assert failure("org/open model.ckpt") == (
        "the hub answered 400 Bad Request\n"
        "  where: hf://org/open/model.ckpt\n"
        "  hint: try again later"
    )
    assert failure("org/open model.ckpt", Settings()) == (
        "plain http is not encrypted: anyone on the way could read and change the file\n"
        f"  where: {web.url}/\n"
        "  hint: use https, or allow it with --allow-http, best together with --sha256"
    )
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setenv("HF_ENDPOINT", url)
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
        assert failure("org/open model.ckpt") == (
            "the hub cannot be reached\n"
            f"  where: hf://org/open/model.ckpt at {url}\n"
            "  hint: check the network; --offline takes what was downloaded before"
        )


def test_a_cache_that_cannot_be_written(
    web: Web, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "blocked"
    blocked.touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(blocked / "hub"))
    assert failure("org/open model.ckpt") == (
        "the folder of downloads cannot be written: Not a directory\n"
        f"  where: {blocked}/hub\n"
        "  hint: name another folder in the environment variable HF_HUB_CACHE"
    )


def test_https(
    hub: Hub, web: Web, certificates: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub.utils import close_session

    trusted, chain = certificates
    with serving(hub, chain, host="localhost") as secure:
        monkeypatch.setenv("HF_ENDPOINT", secure.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        close_session()
        assert get("org/open model.ckpt", Settings(timeout=5)).path.read_bytes() == CONTENT
        # what was encrypted stays so
        hub.cdn = "http://localhost:1"
        assert failure("org/open best/model.pt", Settings(timeout=5)).startswith(
            "plain http is not encrypted: anyone on the way could read and change the file\n"
            "  where: http://localhost:1/"
        )
    close_session()
