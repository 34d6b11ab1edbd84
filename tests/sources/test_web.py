"""Downloads from servers that stall, break off, lie and redirect: real ones, on loopback."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from sources.downloads import CONTENT, HASH, QUICK, failure, get, kept
from sources.web_server import Files, Handler, Web, half, serving, stall, status

from mtt import sources
from mtt.sources import Settings, WebFile


@pytest.fixture
def files() -> Files:
    return Files({"/a/model.ckpt": CONTENT})


@pytest.fixture
def web(files: Files) -> Iterator[Web]:
    with serving(files) as server:
        yield server


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
        "  hint: 102 kB are kept: the same command resumes there"
    )
    assert kept(cache) == []
    assert get(f"{web.url}/a/model.ckpt") == CONTENT
    assert web.asked[-1].headers["range"] == f"bytes={len(CONTENT) // 10}-"


def test_a_server_that_always_breaks_off_is_given_up(web: Web, files: Files, cache: Path) -> None:
    files.faults = [half] * 9
    assert failure(f"{web.url}/a/model.ckpt") == (
        "the download failed 3 times, the last time because the connection broke off\n"
        f"  where: {web.url}/a/model.ckpt\n"
        "  hint: 512 kB are kept: the same command resumes there"
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
        "  hint: 1.02 MB are kept: the same command resumes there"
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


def test_addresses_never_become_paths(web: Web, files: Files, cache: Path) -> None:
    files.files["/..%2F..%2Fx%5C..%5C.evil.ckpt"] = CONTENT
    (source,) = sources.read([f"{web.url}/..%2F..%2Fx%5C..%5C.evil.ckpt?download=true"])
    assert isinstance(source, WebFile)
    assert sources.fetch(source, QUICK).path == cache / "content" / HASH / "evil.ckpt"
