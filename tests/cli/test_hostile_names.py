"""Every command with names that steer terminals and CI services, and with what is no file."""

import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from mtt.__main__ import main

# Steers a terminal, turns the line around, forges lines, and is markup of rich.
NAME = "a\x1b]0;x\x07\x1b[2J\u202e\u2066\n::error file=x::forged\r##[group][red]\U000e0041\ufe0f"
KINDS = ("pipe", "socket", "/dev/zero", "/proc/self/mem", "folder", "loop")
COMMANDS = (
    "show @",
    "show --json @",
    "show --diff @ @",
    "show --chain @",
    "show --chain good.pt --ckpt @",
    "show --chain good.pt --report @",
    "show --chain good.pt --require-signature @",
    "train @",
    "train options.yaml -r training_set.systems=@",
    "train options.yaml -c @",
    "train options.yaml -r @=1",
    "export @ -o x.pt",
    "export good.ckpt -m @ -o x.pt",
    "eval @ eval.yaml",
    "eval good.ckpt @",
    "eval good.ckpt eval.yaml -r systems.read_from=@",
    "upgrade @ -o y.ckpt",
    "golden add @ --systems data.xyz -o z.pt",
    "golden add good.pt --systems @ -o z.pt",
    "reproduce @",
    "sign @ --key lab.key",
    "sign good.pt --key @",
    "push @ a/b --dry-run",
    "verify @",
    "verify good.pt --against @",
    "image for @",
    "image pull @",
    "@",
)


class _TooLong(BaseException):
    pass


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with something of everything; a command in it may take some seconds, and no more."""
    monkeypatch.chdir(tmp_path)
    for name in ("good.pt", "good.ckpt", "lab.key"):
        Path(name).write_bytes(b"not what it says")
    Path("data.xyz").write_text("1\n\nH 0 0 0\n")
    Path("eval.yaml").write_text("systems: data.xyz\n")
    Path("options.yaml").write_text(
        "architecture: pet\ntraining_set: data.xyz\nvalidation_set: 0.5\n"
    )
    os.mkfifo("pipe")
    Path("folder").mkdir()
    Path("loop").symlink_to("loop")

    def too_long(number: int, frame: FrameType | None) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(20)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        yield tmp_path
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def ended(command: str, name: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """How a command ended, and all that it printed."""
    try:
        code = main([word.replace("@", name) for word in command.split()])
    except SystemExit as error:  # of argparse
        code = int(error.code or 0)
    output = capsys.readouterr()
    return code, output.out + output.err


def assert_harmless(text: str) -> None:
    for character in text:
        assert character in "\n\t" or character.isprintable(), repr(character)
    assert not re.search(r"[\ufe0f\U000e0041]", text)
    assert not re.search(r"^\s*::|##\w*\[", text, re.MULTILINE), text


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("command", COMMANDS)
def test_hostile_names(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str, there: bool
) -> None:
    if there:
        Path(NAME.replace("/", "_")).write_text(NAME)
    code, text = ended(command, NAME, capsys)
    assert code in (2, 3), text
    assert text
    assert_harmless(text)
    assert not Path("error.log").exists()


@pytest.mark.parametrize("command", [command for command in COMMANDS if "@=" not in command])
def test_what_is_no_file(folder: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    for kind in KINDS:
        code, text = ended(command, kind, capsys)
        assert code in (2, 3), (kind, text)
        assert text
        assert_harmless(text)
        assert not Path("error.log").exists(), kind
    assert Path("pipe").is_fifo() and Path("socket").is_socket()
