"""Downloads that are killed, that run side by side, and that have no place to go."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sources.downloads import CONTENT, HASH, failure, get, kept
from sources.web_server import Files, Handler, Web, serving


@pytest.fixture
def files() -> Files:
    return Files({"/a/model.ckpt": CONTENT})


@pytest.fixture
def web(files: Files) -> Iterator[Web]:
    with serving(files) as server:
        yield server


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
    resume_run = threading.Event()

    def held(request: Handler, content: bytes) -> None:
        request.say(200, content[:1000], content_length=len(content), etag='"one"')
        request.wfile.flush()
        resume_run.wait(20)
        request.wfile.write(content[1000:])

    files.faults = [held]
    first = start(f"{web.url}/a/model.ckpt")
    while not web.asked:
        time.sleep(0.005)
    second = start(f"{web.url}/a/model.ckpt")
    assert second.stderr is not None
    said = second.stderr.readline()
    resume_run.set()
    path = cache / "content" / HASH / "model.ckpt"
    (out, error), (out2, error2) = first.communicate(), second.communicate()
    assert said == "waiting for another mtt, which downloads the same file\n"
    assert out == out2 == f"{path}\n"
    assert error.startswith("downloaded model.ckpt: 1.02 MB")
    assert error2 == ""
    assert path.read_bytes() == CONTENT
    assert len(web.asked) == 1
