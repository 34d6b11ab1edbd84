"""Running ``mtt-verify`` from Python: what each way of ending means, and a real run if it is there."""

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

import mtt
from mtt.__main__ import main
from mtt.cli import make_parser
from mtt.compiled import installed_file
from mtt.errors import UserError, VerificationFailed
from mtt.training import control_group
from mtt.verify import program_catalogue, settings
from mtt.verify import run as stage
from mtt.verify.program_catalogue import catalogue
from mtt.verify.reference import render
from mtt.verify.report import Report


def check(name: str = "energy", status: str = "pass", **changes: Any) -> dict[str, Any]:
    """One entry of a report."""
    return {
        "family": "PARITY",
        "name": name,
        "status": status,
        "measured": 0.5,
        "tolerance": 1.0,
        "unit": "eV",
        "margin": 2.0,
        "message": "largest difference: energy of water",
        "systems": ["water"],
        "seconds": 0.25,
        **changes,
    }


def report(*checks: dict[str, Any]) -> dict[str, Any]:
    """A report with these entries."""
    failed = any(c["status"] == "fail" for c in checks)
    return {
        "schema": 1,
        "file": {"path": "hidden/.model.pt"},
        "checks": list(checks),
        "verdict": "fail" if failed else "pass",
        "seconds": 1.5,
    }


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``program(script)`` puts a shell script in the place of ``mtt-verify``; there are model files."""
    path = tmp_path / "mtt-verify"
    for name in ("m.pt", "x.pt"):
        (tmp_path / name).write_bytes(b"PK\x03\x04")
    monkeypatch.chdir(tmp_path)

    def write(script: str) -> Path:
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("MTT_VERIFY", str(path))
        return path

    return write


def answer(program: Any, tmp_path: Path, content: dict[str, Any]) -> None:
    """Makes the program print this report and end as the real one would."""
    (tmp_path / "answer.json").write_text(json.dumps(content))
    code = 0 if content["verdict"] == "pass" else 3
    program(f"cat {tmp_path / 'answer.json'}; exit {code}")


def test_passed_report_is_returned_shown_and_written(
    program: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(program, tmp_path, report(check()))
    written = tmp_path / "report.json"
    got = stage.run(Path("x.pt"), outputs=stage.Outputs(json=written), display="model.pt")
    assert got.passed
    # As the program wrote it, but for the name that the user knows the file by.
    answered = json.loads((tmp_path / "answer.json").read_text())
    assert json.loads(written.read_text()) == answered | {"file": {"path": "model.pt"}}
    out = capsys.readouterr().out
    assert "model.pt" in out and "PARITY" in out and "an MD engine can use it" in out
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 80


def test_report_as_json_on_the_terminal_is_nothing_but_json(
    program: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(program, tmp_path, report(check()))
    stage.run(Path("x.pt"), outputs=stage.Outputs(json=Path("-")))
    assert json.loads(capsys.readouterr().out)["verdict"] == "pass"


def test_failed_checks_are_listed(program: Any, tmp_path: Path) -> None:
    bad = check("forces", "fail", message="forces are wrong")
    answer(program, tmp_path, report(check(), bad, check("virial", "skip", measured=None)))
    with pytest.raises(VerificationFailed) as failure:
        stage.run(Path("x.pt"), display="model.pt")
    assert str(failure.value) == "model.pt failed 1 check: PARITY/forces"
    assert failure.value.exit_code == 3


def arguments(tmp_path: Path) -> list[str]:
    """What the program was started with, after what it always is."""
    words = (tmp_path / "arguments").read_text().splitlines()
    assert words[:7] == ["m.pt", "--json", "-", "--quiet", "--progress", "--threads", "1"]
    return words[7:]


def test_arguments_reach_the_program(program: Any, tmp_path: Path) -> None:
    program(f'printf "%s\\n" "$@" > {tmp_path / "arguments"}; exit 3')
    mtt.verify("m.pt")
    assert arguments(tmp_path) == []
    mtt.verify("m.pt", only=["LOAD", "FD/forces"], skip=["DD"], extensions="ext")
    assert arguments(tmp_path) == [
        *["--only", "LOAD,FD/forces", "--skip", "DD", "--extensions", "ext"],
    ]
    (tmp_path / "ref.json").write_text('{"format": "mtt-verify record"}')
    mtt.verify(
        "m.pt",
        skip={"DD": "one rank, always", "SYM/rotation": ""},
        level="quick",
        engines=["lammps", "ase"],
        against=tmp_path / "ref.json",
        time_limit=30,
        memory_limit=2000,
        isolation=False,
    )
    assert arguments(tmp_path) == [
        *["--level", "quick", "--for", "lammps,ase"],
        *["--skip", "DD=one rank, always,SYM/rotation", "--against", str(tmp_path / "ref.json")],
        *["--time-limit", "30", "--memory-limit", "2000", "--no-isolation"],
    ]
    with pytest.raises(UserError, match="there is no level called 'fast'"):
        mtt.verify("m.pt", level="fast")
    with pytest.raises(UserError, match="there is no engine called 'gulp'"):
        mtt.verify("m.pt", engines=["gulp"])


def test_crash_is_a_failed_check_that_names_signal_and_place(program: Any) -> None:
    program('echo "progress: LOAD/archive" >&2; echo "progress: FD/derivatives" >&2; kill -SEGV $$')
    seen: list[str] = []
    got = stage.verify(Path("m.pt"), on_check=seen.append)
    assert seen == ["LOAD/archive", "FD/derivatives"]
    assert not got.passed
    (entry,) = got.checks
    assert (entry.family, entry.name, entry.status) == ("FD", "derivatives", "fail")
    assert entry.message == (
        "the process died of SIGSEGV while it ran the model, as an MD engine would"
    )
    with pytest.raises(VerificationFailed, match=r"m\.pt failed 1 check: FD/derivatives"):
        stage.run(Path("m.pt"))


@pytest.mark.parametrize("script", ["echo '{'; exit 0", "exit 3", "echo bad >&2; exit 1"])
def test_program_that_ends_without_a_report_is_a_failure(program: Any, script: str) -> None:
    program(script)
    (entry,) = stage.verify(Path("m.pt")).checks
    assert entry.status == "fail"
    assert "no report" in entry.message


def test_mistakes_in_the_request_are_user_errors(program: Any) -> None:
    program("echo \"mtt-verify: can not open 'm.pt'\" >&2; exit 2")
    with pytest.raises(UserError) as error:
        stage.verify(Path("m.pt"))
    assert str(error.value) == (
        "mtt-verify could not start: can not open 'm.pt'\n"
        "  where: m.pt\n"
        "  hint: run 'mtt-verify --help' for its arguments"
    )


def test_checkpoint_is_a_slip_not_a_finding(program: Any, tmp_path: Path) -> None:
    program("exit 1")
    header = b'{"__metadata__":{"mtt":"{}"}}'
    (tmp_path / "model.ckpt").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(UserError) as error:
        stage.run(Path("model.ckpt"))
    assert str(error.value) == (
        "this is a checkpoint, not an exported model\n"
        "  where: model.ckpt\n"
        "  hint: export it first: mtt export model.ckpt"
    )


def test_what_is_no_model_is_named_and_not_checked(program: Any, tmp_path: Path) -> None:
    program("exit 1")
    give = "give a model file (.pt), as 'mtt export' and other programs that use metatomic write it"
    theirs, script = io.BytesIO(), io.BytesIO()
    torch.save({"architecture_name": "pet", "model_ckpt_version": 11}, theirs)
    torch.jit.save(torch.jit.trace(torch.nn.Linear(1, 1), torch.ones(1)), script)
    header = b'{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
    files = {
        b"<!DOCTYPE html><html></html>": ("a web page (HTML)", "download it again: "),
        pointer: ("a pointer of git LFS in the place of a file", "download it: git lfs pull"),
        pickle.dumps([1]): ("a pickled checkpoint of another program; it is not loaded", ""),
        theirs.getvalue(): (
            "a pickled checkpoint of metatrain (architecture pet, version 11); it is not loaded",
            "export it with metatrain and check the result with 'mtt verify'",
        ),
        script.getvalue(): ("a TorchScript model without the metatomic interface", "train anew"),
        len(header).to_bytes(8, "little") + header: ("a safetensors file of another program", give),
        b"": ("an empty file", give),
        b"a letter to somebody\n": ("a text file", give),
    }
    for content, (what, hint) in files.items():
        (tmp_path / "theirs.pt").write_bytes(content)
        with pytest.raises(UserError) as error:
            stage.run(Path("theirs.pt"))
        assert error.value.what.startswith(f"this is {what}")
        assert error.value.exit_code == 2 and error.value.hint is not None
        assert error.value.hint.startswith(hint)
    (tmp_path / "folder.pt").mkdir()
    assert main(["verify", "folder.pt"]) == 2


def test_missing_library_says_how_to_build_again(program: Any) -> None:
    program("echo 'mtt-verify: error while loading shared libraries: libtorch.so' >&2; exit 127")
    with pytest.raises(UserError) as error:
        stage.verify(Path("m.pt"))
    assert "libtorch.so" in str(error.value)
    assert "pip install --no-build-isolation" in str(error.value)


def test_interrupting_ends_the_program(program: Any, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    program(f'echo $$ > {pid}; echo "progress: LOAD/archive" >&2; exec sleep 60')

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage.verify(Path("m.pt"), on_check=interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_much_output_does_not_block(program: Any, tmp_path: Path) -> None:
    answer(program, tmp_path, report(*[check(f"check {k}") for k in range(2000)]))
    timer = threading.Timer(60, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    try:
        assert len(stage.verify(Path("m.pt")).checks) == 2000
    finally:
        timer.cancel()


def test_search_path_of_the_shell_is_not_handed_on(
    program: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/somewhere/else")
    program(f'echo "[$LD_LIBRARY_PATH]" > {tmp_path / "path"}; exit 3')
    stage.verify(Path("m.pt"))
    assert (tmp_path / "path").read_text() == "[]\n"


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, mtt; mtt.verify; "
        "print([m for m in ('torch', 'numpy', 'rich', 'xml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.fixture(scope="module")
def real_program() -> Path:
    try:
        return stage.program()
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from toy_models import export_toy

    path: Path = export_toy(tmp_path_factory.mktemp("model") / "pair.pt", "pair")
    return path


def test_sound_model_passes(real_program: Path, model: Path) -> None:
    got = stage.verify(model, only=["LOAD", "SCHEMA", "PARITY"])
    assert got.passed
    assert got.golden_pack is True
    assert got.model is not None and got.model["dtype"] == "float64"
    assert set(got.families()) == {"LOAD", "SCHEMA", "PARITY"}
    assert all(c.message for c in got.checks if c.status != "pass")


def test_two_processes_give_the_report_of_one(
    real_program: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judgments(report: Report) -> list[tuple[Any, ...]]:
        # What is measured differs by roundings between instances with another history.
        return [(c.full_name, c.status, c.tolerance, c.systems) for c in report.checks]

    def processes(report: Report) -> object:
        return (report.isolation or {})["processes"]

    one, both = (stage.verify(model, processes=number, seed=7) for number in (1, 2))
    assert one.passed and both.passed
    assert judgments(one) == judgments(both)
    assert (processes(one), processes(both)) == (1, 2)
    fields = [(r.model or {})["receptive_field"] for r in (one, both)]
    assert fields[0] is not None and fields[0] == fields[1]
    with pytest.raises(UserError, match="checks run in 1 or 2 processes, not in 3"):
        stage.verify(model, processes=3)
    # Without the option, cores decide, and who wants one for a program has one.
    cores = min(len(os.sched_getaffinity(0)), int(max(1.0, control_group.processors() or 2.0)))
    for threads, expected in (("1", 1), ("2", min(2, cores)), ("2,1", min(2, cores)), ("1,4", 1)):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        small = stage.verify(model, only=["FD/forces", "DD/energy"], level="quick")
        assert processes(small) == expected, threads


def test_names_that_do_not_exist_are_user_errors(real_program: Path, model: Path) -> None:
    with pytest.raises(UserError, match="there is no family 'PARTY'"):
        stage.verify(model, only=["PARTY"])
    with pytest.raises(UserError, match="there is no check 'FD/forcing'"):
        stage.verify(model, skip=["FD/forcing"])


def test_waivers_are_recorded(real_program: Path, model: Path) -> None:
    got = mtt.verify(model, only=["LOAD", "FD"], skip={"FD/virial": "no barostat, ever"})
    assert [(w.check, w.reason) for w in got.waivers] == [("FD/virial", "no barostat, ever")]
    (waived,) = [c for c in got.checks if c.status == "waived"]
    assert (waived.full_name, waived.message) == ("FD/virial", "no barostat, ever")


@pytest.mark.parametrize(
    ("content", "phrase"),
    [
        (b"", "not a TorchScript archive"),
        (b"\x80\x02}q\x00.", "pickled training checkpoint"),
        (b"PK\x03\x04 and then nothing", "whose end is missing"),
    ],
)
def test_other_files_are_told_apart(
    real_program: Path, tmp_path: Path, content: bytes, phrase: str
) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    got = stage.verify(path)
    assert [c.full_name for c in got.failures] == ["LOAD/file"]
    assert phrase in got.failures[0].message
    assert got.model is None


def test_the_installed_catalogue_is_that_of_the_program(real_program: Path) -> None:
    printed = subprocess.run(
        [real_program, "--catalogue"], capture_output=True, text=True, check=True
    ).stdout
    assert installed_file("verify", "catalogue.json").read_text() == printed
    listed = subprocess.run(
        [real_program, "--list"], capture_output=True, text=True, check=True
    ).stdout
    for check in catalogue().checks:
        for result in check["results"]:
            assert f"{check['family']}/{result}\n" in listed
    usage = subprocess.run([real_program, "--help"], capture_output=True, text=True).stdout
    assert all(f"  {option.flag}" in usage for option in catalogue().options)


def test_every_option_of_the_program_is_one_of_the_command(real_program: Path) -> None:
    parsed = make_parser().parse_args(["verify", "model.pt"])
    for keyword, option in catalogue().keywords().items():
        assert hasattr(parsed, option.flag[2:].replace("-", "_")), keyword


def test_a_rotation_error_can_be_limited(real_program: Path, model: Path) -> None:
    only = ["SYM/rotation"]
    loose = stage.verify(model, only=only, max_rotation_error=5)
    assert loose.checks[0].tolerance == 5.0
    assert loose.passed
    # The toy model is invariant up to rounding.
    tight = stage.verify(model, only=only, max_rotation_error=0)
    assert [check.full_name for check in tight.failures] == only
    assert main(["verify", str(model), "--only", "SYM/rotation", "--max-rotation-error", "5"]) == 0
    assert main(["verify", str(model), "--only", "SYM/rotation", "--max-rotation-error", "0"]) == 3


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"levl": "full"}, TypeError, "no option 'levl'"),
        ({"threads": 2}, TypeError, "no option 'threads'"),
        ({"level": "fast"}, UserError, "there is no level called 'fast'"),
        ({"engine": "ase"}, TypeError, "no option 'engine'"),
        ({"engines": ["word"]}, UserError, "there is no engine called 'word'"),
        ({"only": ["PARTY"]}, UserError, "there is no family 'PARTY'"),
        ({"only": ["FD/nonsense"]}, UserError, "there is no check 'FD/nonsense'"),
        ({"skip": {"FD/nonsense": "why"}}, UserError, "there is no check 'FD/nonsense'"),
        ({"time_limit": 0}, UserError, "time_limit is a whole number above zero"),
        ({"max_rotation_error": -1.0}, UserError, "max_rotation_error is a number that is not"),
    ],
)
def test_options_are_checked_against_the_catalogue(
    real_program: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        stage.verify("model.pt", **options)


def test_the_page_of_checks_and_the_schema_are_current(real_program: Path) -> None:
    folder = Path(__file__).parents[2] / "docs" / "reference"
    for name, text in render(folder).items():
        assert (folder / name).read_text("utf-8") == text, (
            "run: python -m mtt.verify.reference docs/reference"
        )


def test_program_holds_no_python(real_program: Path) -> None:
    libraries = subprocess.run(["ldd", real_program], capture_output=True, text=True, check=True)
    assert "libpython" not in libraries.stdout
    assert "not found" not in libraries.stdout


def test_without_a_catalogue_no_option_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = program_catalogue.Catalogue(*8 * [[]])
    monkeypatch.setattr(settings, "catalogue", lambda: empty)
    assert settings.Settings(level=None).arguments() == []
    with pytest.raises(UserError, match="this copy of mtt was not built"):
        settings.Settings(only=["LOAD"])
