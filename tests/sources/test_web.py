"""Downloads from servers that stall, break off, lie and redirect: real ones, on loopback."""

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
from sources.web_server import Files, Handler, Web, half, redirect, serving, stall, status

from mtt import sources
from mtt.errors import UserError
from mtt.sources import Settings, WebFile

CONTENT = bytes(range(256)) * 4000
HASH = hashlib.sha256(CONTENT).hexdigest()
QUICK = Settings(allow_http=True, timeout=0.4, retries=2, backoff=0.01)


@pytest.fixture
def files() -> Files:
    return Files({"/a/model.ckpt": CONTENT})


@pytest.fixture
def web(files: Files) -> Iterator[Web]:
    with serving(files) as server:
        yield server


def get(url: str, settings: Settings = QUICK) -> bytes:
    (source,) = sources.read([url])
    return sources.fetch(source, settings).path.read_bytes()


def failure(url: str, settings: Settings = QUICK) -> str:
    (source,) = sources.read([url])
    with pytest.raises(UserError) as raised:
        sources.fetch(source, settings)
    return str(raised.value)


def kept(cache: Path) -> list[str]:
    """Names of complete files in the cache."""
    return sorted(str(path.relative_to(cache)) for path in cache.glob("content/*/*"))


def test_a_file_comes_once(web: Web, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source,) = sources.read([f"{web.url}/a/model.ckpt?signature=secret#sha256={HASH.upper()}"])
    fetched = sources.fetch(source, QUICK)
    assert fetched.path == cache / "content" / HASH / "model.ckpt"
    assert fetched.path.read_bytes() == CONTENT
    assert fetched.record == {"url": f"{web.url}/a/model.ckpt", "sha256": HASH}
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("downloaded model.ckpt: 1.02 MB, ")
    # a pinned file needs no server
    sources.fetch(source, QUICK)
    assert [one.path for one in web.asked] == ["/a/model.ckpt?signature=secret"]
    assert "secret" not in "".join(str(path) for path in cache.rglob("*"))
    assert not any(b"secret" in path.read_bytes() for path in cache.rglob("*") if path.is_file())


def test_what_has_not_changed_is_not_sent_again(web: Web, files: Files) -> None:
    url = f"{web.url}/a/model.ckpt"
    assert get(url) == get(url) == CONTENT
    assert web.asked[1].headers["if-none-match"] == '"one"'
    files.files["/a/model.ckpt"], files.etag = b"{newer", '"two"'
    assert get(url) == b"{newer"
    offline = Settings(offline=True)
    assert get(url, offline) == b"{newer"
    assert len(web.asked) == 4  # the change was noticed by one request, and fetched by another


def test_offline_without_a_download(web: Web) -> None:
    assert failure(f"{web.url}/a/model.ckpt", Settings(offline=True)) == (
        "this file has not been downloaded before, and --offline forbids to do so now\n"
        f"  where: {web.url}/a/model.ckpt"
    )
    assert web.asked == []


def test_a_damaged_file_of_the_cache_is_not_used(web: Web, cache: Path) -> None:
    url = f"{web.url}/a/model.ckpt"
    assert get(url) == CONTENT
    path = cache / kept(cache)[0]
    path.write_bytes(b"damage" + CONTENT[6:])
    assert get(url) == CONTENT
    path.write_bytes(b"damage" + CONTENT[6:])
    assert "has not been downloaded before" in failure(url, Settings(offline=True))


def test_broken_off_at_half_goes_on_from_there(web: Web, files: Files) -> None:
    files.faults = [half]
    assert get(f"{web.url}/a/model.ckpt") == CONTENT
    assert web.asked[1].headers["range"] == f"bytes={len(CONTENT) // 2}-"
    assert web.asked[1].headers["if-range"] == '"one"'


def test_another_part_than_was_asked_for(web: Web, files: Files, cache: Path) -> None:
    def elsewhere(request: Handler, content: bytes) -> None:
        said = f"bytes 0-999/{len(content)}"
        request.say(206, content[:1000], content_range=said, etag='"one"')

    def longer(request: Handler, content: bytes) -> None:
        have = len(content) // 2
        said = f"bytes {have}-{2 * len(content)}/{2 * len(content) + 1}"
        request.say(206, content[have:], content_range=said, etag='"one"')

    for fault in (elsewhere, longer):
        files.faults = [half, fault]
        assert get(f"{web.url}/a/model.ckpt#{fault.__name__}") == CONTENT
        (cache / kept(cache)[0]).unlink()
    files.faults = [half] + [elsewhere] * 3
    assert failure(f"{web.url}/a/model.ckpt") == (
        "the download failed 3 times, the last time because the server sent a part that was not "
        "asked for (206)\n"
        f"  where: {web.url}/a/model.ckpt\n"
        "  hint: try again later, or wait longer for answers with --timeout"
    )


def test_what_changed_meanwhile_is_begun_anew(web: Web, files: Files) -> None:
    files.faults, files.etag = [half], '"two"'
    assert get(f"{web.url}/a/model.ckpt") == CONTENT
    assert len(web.asked) == 2


def test_without_a_tag_nothing_is_gone_on_with(web: Web, files: Files, cache: Path) -> None:
    def untagged(request: Handler, content: bytes) -> None:
        request.say(200, content[:1000], content_length=len(content))
        request.hang_up()

    files.faults, files.etag = [untagged], None
    assert get(f"{web.url}/a/model.ckpt") == CONTENT
    assert "range" not in web.asked[1].headers
    files.faults = [untagged] * 3
    assert failure(f"{web.url}/a/model.ckpt") == (
        "the download failed 3 times, the last time because the connection broke off\n"
        f"  where: {web.url}/a/model.ckpt\n"
        "  hint: try again later, or wait longer for answers with --timeout"
    )
    assert list(cache.glob("partial/*.part")) == []


def test_a_server_that_stalls(web: Web, files: Files, cache: Path) -> None:
    files.faults = [stall] * 3
    assert failure(f"{web.url}/a/model.ckpt") == (
        "the download failed 3 times, the last time because nothing was received for 0.4 s\n"
        f"  where: {web.url}/a/model.ckpt\n"
        "  hint: 102 kB are kept: the same command goes on from there"
    )
    assert kept(cache) == []
    assert get(f"{web.url}/a/model.ckpt") == CONTENT
    assert web.asked[-1].headers["range"] == f"bytes={len(CONTENT) // 10}-"


def test_a_server_that_always_breaks_off_is_given_up(web: Web, files: Files, cache: Path) -> None:
    files.faults = [half] * 9
    assert failure(f"{web.url}/a/model.ckpt") == (
        "the download failed 3 times, the last time because the connection broke off\n"
        f"  where: {web.url}/a/model.ckpt\n"
        "  hint: 512 kB are kept: the same command goes on from there"
    )
    assert kept(cache) == []


def test_a_server_that_is_busy(web: Web, files: Files) -> None:
    files.faults = [status(503), status(429, retry_after=0)]
    assert get(f"{web.url}/a/model.ckpt") == CONTENT
    files.etag, files.faults = '"two"', [status(503)] * 3
    assert failure(f"{web.url}/a/model.ckpt") == (
        "the download failed 3 times, the last time because the server answered 503 Service "
        "Unavailable\n"
        f"  where: {web.url}/a/model.ckpt\n"
        "  hint: try again later, or wait longer for answers with --timeout"
    )


def test_back_off_waits_longer_each_time(
    web: Web, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("mtt.sources.web.time.sleep", waits.append)
    files.faults = [status(503)] * 3 + [status(429, retry_after=7), status(503, retry_after=9999)]
    settings = Settings(allow_http=True, retries=9)
    assert get(f"{web.url}/a/model.ckpt", settings) == CONTENT
    assert waits == [0.5, 1.0, 2.0, 7.0, 60.0]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (
            404,
            "the server answered 404 Not Found\n  where: {}\n  hint: there is no such file: check the address",
        ),
        (
            403,
            "the server answered 403 Forbidden\n  where: {}\n  hint: the file is not public: download it in your own way, and give its path",
        ),
        (
            418,
            "the server answered 418 I'm a Teapot\n  where: {}\n  hint: check the address in a browser",
        ),
    ],
)
def test_refusals_are_final(web: Web, files: Files, number: int, expected: str) -> None:
    files.faults = [status(number)]
    url = f"{web.url}/a/model.ckpt"
    assert failure(f"{url}?key=secret") == expected.format(url)
    assert len(web.asked) == 1


def test_a_length_that_is_too_long(web: Web, files: Files) -> None:
    def lie(request: Handler, content: bytes) -> None:
        request.say(200, content, content_length=2 * len(content), etag='"one"')
        request.hang_up()

    # the rest that was promised does not exist: what the server then says settles it
    files.faults = [lie]
    assert get(f"{web.url}/a/model.ckpt") == CONTENT
    assert web.asked[1].headers["range"] == f"bytes={len(CONTENT)}-"
    files.etag, files.faults = '"two"', [lie] * 4
    assert failure(f"{web.url}/a/model.ckpt") == (
        "the download failed 3 times, the last time because the connection broke off\n"
        f"  where: {web.url}/a/model.ckpt\n"
        "  hint: 1.02 MB are kept: the same command goes on from there"
    )


def test_a_length_that_is_too_short_does_not_match_its_hash(web: Web, files: Files) -> None:
    def lie(request: Handler, content: bytes) -> None:
        request.say(200, content, content_length=1000)
        request.hang_up()

    files.faults = [lie]
    short = hashlib.sha256(CONTENT[:1000]).hexdigest()
    url = f"{web.url}/a/model.ckpt"
    assert failure(f"{url}#sha256={HASH}") == (
        "the file is not the one that was asked for: its sha256 is another\n"
        f"  where: {url}: expected {HASH}, found {short}\n"
        "  hint: do not use it before you know why; ask whoever gave you the hash"
    )


def test_the_size_is_limited_whatever_the_server_says(web: Web, files: Files, cache: Path) -> None:
    expected = (
        "the file is larger than 500 kB\n"
        f"  where: {web.url}/a/model.ckpt\n"
        "  hint: if that is right, allow more with --max-size"
    )
    limited = Settings(allow_http=True, max_size=500_000, retries=0)
    assert failure(f"{web.url}/a/model.ckpt", limited) == expected

    def endless(request: Handler, content: bytes) -> None:
        request.send_response(200)
        request.send_header("transfer-encoding", "chunked")
        request.end_headers()
        for _ in range(100):
            request.wfile.write(b"%x\r\n" % len(content) + content + b"\r\n")

    files.faults = [endless]
    assert failure(f"{web.url}/a/model.ckpt", limited) == expected
    assert kept(cache) == []
    assert list(cache.glob("partial/*.part")) == []
    files.faults = [status(200, content_length=10**18)]
    assert "larger than 10 GB" in failure(f"{web.url}/a/model.ckpt", Settings(allow_http=True))


def test_what_is_no_model(web: Web, files: Files) -> None:
    files.files |= {"/empty": b"", "/page": b"\n<!DOCTYPE html><p>log in</p>"}
    assert failure(f"{web.url}/empty") == f"the server sent an empty file\n  where: {web.url}/empty"
    assert failure(f"{web.url}/page") == (
        "the server sent a web page, not a model\n"
        f"  where: {web.url}/page\n"
        "  hint: open the address in a browser: the page may ask for a login, or say where the "
        "file is"
    )


def test_packed_answers_are_refused(web: Web, files: Files) -> None:
    files.faults = [status(200, content_encoding="gzip")]
    assert failure(f"{web.url}/a/model.ckpt") == (
        f"the server packs the file, which was not asked for\n  where: {web.url}/a/model.ckpt"
    )
    assert web.asked[0].headers["accept-encoding"] == "identity"


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


def test_a_cache_that_cannot_be_written(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("MTT_CACHE", str(blocked / "cache"))
    assert failure(f"{web.url}/a/model.ckpt") == (
        "the folder of downloads cannot be written: Not a directory\n"
        f"  where: {blocked}/cache\n"
        "  hint: name another folder in the environment variable MTT_CACHE"
    )
    folder, link = tmp_path / "elsewhere", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    monkeypatch.setenv("MTT_CACHE", str(link))
    assert get(f"{web.url}/a/model.ckpt") == CONTENT


def test_a_full_disk(web: Web, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTT_CACHE", str(small_disk / "cache"))
    assert failure(f"{web.url}/a/model.ckpt") == (
        "the folder of downloads cannot be written: No space left on device\n"
        f"  where: {small_disk}/cache\n"
        "  hint: free some space, or name another folder in the environment variable MTT_CACHE"
    )
    assert kept(small_disk / "cache") == []


PROGRAM = """
import sys
from mtt import sources
(source,) = sources.read([sys.argv[1]])
print(sources.fetch(source, sources.Settings(allow_http=True, retries=0)).path)
"""


def start(url: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def slowly(request: Handler, content: bytes) -> None:
    request.say(200, b"", content_length=len(content), etag='"one"')
    for begin in range(0, len(content), 51_200):
        request.wfile.write(content[begin : begin + 51_200])
        request.wfile.flush()
        time.sleep(0.03)


def test_killed_at_any_instant(web: Web, files: Files, cache: Path) -> None:
    url = f"{web.url}/a/model.ckpt"
    gone_on = 0
    for instant in (0.0, 0.1, 0.25, 0.4, 0.55):
        files.faults = [slowly]
        before = len(web.asked)
        process = start(url)
        while len(web.asked) == before:
            time.sleep(0.005)
        time.sleep(instant)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert kept(cache) == []
        gone_on += bool(web.asked[-1].headers.get("range"))
    files.faults = []
    assert get(url) == CONTENT
    assert web.asked[-1].headers["range"].startswith("bytes=")
    assert gone_on > 0


def test_two_processes_with_the_same_file(web: Web, files: Files, cache: Path) -> None:
    go_on = threading.Event()

    def held(request: Handler, content: bytes) -> None:
        request.say(200, content[:1000], content_length=len(content), etag='"one"')
        request.wfile.flush()
        go_on.wait(20)
        request.wfile.write(content[1000:])

    files.faults = [held]
    first = start(f"{web.url}/a/model.ckpt")
    while not web.asked:
        time.sleep(0.005)
    second = start(f"{web.url}/a/model.ckpt")
    assert second.stderr is not None
    said = second.stderr.readline()
    go_on.set()
    path = cache / "content" / HASH / "model.ckpt"
    (out, error), (out2, error2) = first.communicate(), second.communicate()
    assert said == "waiting for another mtt, which downloads the same file\n"
    assert out == out2 == f"{path}\n"
    assert error.startswith("downloaded model.ckpt: 1.02 MB")
    assert error2 == ""
    assert path.read_bytes() == CONTENT
    assert len(web.asked) == 1


def test_addresses_never_become_paths(web: Web, files: Files, cache: Path) -> None:
    files.files["/..%2F..%2Fx%5C..%5C.evil.ckpt"] = CONTENT
    (source,) = sources.read([f"{web.url}/..%2F..%2Fx%5C..%5C.evil.ckpt?download=true"])
    assert isinstance(source, WebFile)
    assert sources.fetch(source, QUICK).path == cache / "content" / HASH / "evil.ckpt"
