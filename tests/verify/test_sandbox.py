"""Native code in the process that runs a model tries more than 130 deeds; who refuses which, by what the kernel offers.

A last test runs the same attempts where nothing protects: those that should work there do, so that
a refusal means the sandbox and not an attempt that never could.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hostile_models import (
    ROOT,
    USER,
    Attempt,
    all_attempts,
    arguments,
    as_user,
    build,
    export_hostile,
    give_away,
    letters_of,
    open_folder,
    shared_with_others,
    user_can_run,
)
from toy_models import export_toy

from mtt.verify import run as verify

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler (cc)"),
]
ATTEMPTS = all_attempts()
MEANS = ["", "landlock", "seccomp", "landlock3"]
USERS = ["root", "user"] if ROOT else ["user"]
# Files that a deed may leave where everybody may write.
STRAY = [Path("/tmp/mtt-hostile-file"), Path("/dev/shm/mtt-hostile-file")]


@dataclass(frozen=True)
class Outcome:
    """What the attempts came to, and what they left."""

    letters: dict[str, str]
    report: dict[str, Any]
    warnings: str
    contents: list[str]
    names: list[str]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Outcome]]:
    """``outcome(who, without, *options)``: all attempts in one run."""
    model = export_hostile(tmp_path_factory.mktemp("hostile") / "model.pt")

    @cache
    def run(who: str, without: str, *options: str) -> Outcome:
        if who == "user" and not user_can_run():
            pytest.skip("an ordinary user can not start mtt-verify where it is installed")
        return _tried(model, who, without, *options)

    yield run


def _tried(model: Path, who: str, without: str, *options: str) -> Outcome:
    owner = USER if who == "user" and ROOT else os.geteuid()
    victim = subprocess.Popen((as_user if who == "user" else list)(["sleep", "600"]))
    try:
        with open_folder(owner) as folder, shared_with_others(owner) as shared:
            shutil.copy(model, folder / "model.pt")
            for name in ("precious.txt", "precious.txt.spare", "precious.txt.other"):
                (folder / name).write_text("years of work")
            time.sleep(0.2)  # the victim is who it will be
            extensions = build(
                "attempts",
                folder,
                **{"VICTIM": victim.pid, "SHARED": shared.memory, "SEMAPHORE": shared.semaphore},
                MESSAGES=shared.messages,
            )
            (extensions / "notes.txt").write_text("years of work")
            give_away(folder, owner)
            before = sorted(path.name for path in folder.iterdir())
            command = arguments(folder / "model.pt", extensions, "--only", "LOAD", *options)
            done = subprocess.run(
                as_user(command) if who == "user" else command,
                env={**os.environ, "MTT_VERIFY_WITHOUT": without, "SECRET_TOKEN": "hidden"},
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.returncode == 3, done.stderr
            report = json.loads(done.stdout)
            letters = letters_of(report)
            assert len(letters) == len(ATTEMPTS)
            secrets = [folder / "precious.txt", extensions / "notes.txt"]
            contents = [path.read_text() for path in secrets]
            left = sorted(path.name for path in folder.iterdir())
            assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()
        for path in STRAY:
            path.unlink(missing_ok=True)
    names = {attempt.name: letter for attempt, letter in zip(ATTEMPTS, letters, strict=True)}
    return Outcome(names, report, done.stderr, contents, [] if left == before else left)


def _refused(without: str) -> set[str]:
    """Return the kinds of attempts that are refused, as ``attempts.h`` explains them."""
    if "seccomp" not in without:
        return set("wse") if without == "landlock" else set("wser")
    return set("wer")


@pytest.mark.parametrize("without", MEANS)
@pytest.mark.parametrize("who", USERS)
@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.name)
def test_an_attempt_is_refused(
    outcome: Callable[..., Outcome], attempt: Attempt, who: str, without: str
) -> None:
    if attempt.kind not in _refused(without):
        pytest.skip(f"not promised without {without}: the report says so")
    assert outcome(who, without).letters[attempt.name] == "r"


@pytest.mark.parametrize("without", MEANS)
@pytest.mark.parametrize("who", USERS)
def test_no_file_is_changed_and_none_is_left(
    outcome: Callable[..., Outcome], who: str, without: str
) -> None:
    result = outcome(who, without)
    assert (result.contents, result.names) == (["years of work"] * 2, [])


@pytest.mark.parametrize("seccomp", ["seccomp,", ""])
@pytest.mark.parametrize("version", range(1, 7))
def test_every_version_of_landlock_does_what_it_can(
    outcome: Callable[..., Outcome], version: int, seccomp: str
) -> None:
    without = f"{seccomp}landlock{version + 1}"
    if seccomp and version < 3:
        options = ["--no-require-sandbox"]
        kinds = set("re")  # empties files: no sandbox
    else:
        options, kinds = [], _refused(without)
    result = outcome("user", without, *options)
    allowed = [a.name for a in ATTEMPTS if a.kind in kinds and result.letters[a.name] == "A"]
    assert not allowed, ", ".join(allowed)
    described = result.report["isolation"]["filesystem"]
    if not options:
        assert f"(Landlock {version})" in described
        assert result.contents == ["years of work"] * 2
    else:
        assert described == "not restricted"
        assert result.contents == [
            "yea",
            "",
        ]  # by truncate, and by opening for reading with O_TRUNC


def test_the_attempts_work_where_nothing_protects(outcome: Callable[..., Outcome]) -> None:
    result = outcome("user", "landlock,seccomp,limits", "--no-require-sandbox")
    useless = [
        attempt.name
        for attempt in ATTEMPTS
        if attempt.works_without_sandbox
        and attempt.kind in "wsr"
        and result.letters[attempt.name] == "r"
    ]
    assert not useless, ", ".join(useless)


@pytest.mark.parametrize("who", USERS)
def test_rights_and_variables_are_gone_even_where_nothing_protects(
    outcome: Callable[..., Outcome], who: str
) -> None:
    result = outcome(who, "landlock,seccomp,limits", "--no-require-sandbox")
    kept = [a.name for a in ATTEMPTS if a.kind == "e" and result.letters[a.name] == "A"]
    assert not kept, ", ".join(kept)


@pytest.mark.parametrize(
    ("without", "options", "warning"),
    [
        ("", (), ""),
        ("landlock3", (), ""),
        ("landlock", (), "weak sandbox: no Landlock here"),
        ("seccomp", (), "weak sandbox: no seccomp here"),
        ("landlock,seccomp,limits", ("--no-require-sandbox",), "no sandbox: neither"),
    ],
)
def test_what_is_missing_is_said_on_the_terminal_and_in_the_report(
    outcome: Callable[..., Outcome], without: str, options: tuple[str, ...], warning: str
) -> None:
    result = outcome("user", without, *options)
    notes = result.report["isolation"]["notes"]
    lines = [line for line in result.warnings.splitlines() if "sandbox" in line]
    if not warning:
        assert not lines and not any("sandbox" in note for note in notes)
    else:
        assert lines == [f"mtt-verify: warning: {notes[0]}"] and notes[0].startswith(warning)
    played = [note for note in notes if note.startswith("not used, as MTT_VERIFY_WITHOUT asks")]
    assert len(played) == len([mean for mean in without.split(",") if mean])


@pytest.mark.skipif(not ROOT, reason="only root can verify what belongs to somebody else alone")
@pytest.mark.parametrize(("without", "readable"), [("", True), ("landlock", False)])
def test_root_reads_the_model_of_another_user_where_reading_is_confined(
    tmp_path: Path, without: str, readable: bool
) -> None:
    model = export_toy(tmp_path / "model.pt")
    os.chown(model, USER, USER)
    model.chmod(0o600)
    done = subprocess.run(
        [str(verify.program()), str(model), "--only", "LOAD", "--json", "-"],
        env={**os.environ, "MTT_VERIFY_WITHOUT": without},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == (0 if readable else 3), done.stderr
