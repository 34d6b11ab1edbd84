"""What each command checks, what it hands to its stage, and how help and version look."""

import importlib
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mtt import __version__
from mtt.__main__ import main
from mtt.options import Options
from mtt.verify.predictions import Exceptions
from mtt.verify.settings import Outputs, Settings

HEAVY = {"torch", "numpy", "ase", "matplotlib", "rich", "metatomic", "metatensor"}
HELP = Path(__file__).parent / "help"

_STAGES = {
    "train": "mtt.training.run",
    "export": "mtt.export.run",
    "evaluate": "mtt.evaluation.run",
    "verify": "mtt.verify.run",
    "golden_add": "mtt.export.golden_add",
}

Stage = Callable[[str], list[tuple[tuple[Any, ...], dict[str, Any]]]]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Puts a stage in place that only records how it is called."""

    def replace(name: str) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

        def run(*given: Any, **named: Any) -> str:
            calls.append((given, named))
            return "written.pt"

        module = SimpleNamespace(run=run)
        package, _, last = _STAGES[name].rpartition(".")
        monkeypatch.setitem(sys.modules, _STAGES[name], module)
        monkeypatch.setattr(importlib.import_module(package), last, module, raising=False)
        return calls

    return replace


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: an options file and empty data, checkpoint and model files."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.xyz", "model.ckpt", "old.pt"):
        Path(name).touch()
    Path("options.yaml").write_text("architecture: {name: pet}\ntraining_set: a.xyz\n")
    Path("eval.yaml").write_text("systems: a.xyz\n")
    return tmp_path


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_train(stage: Stage) -> None:
    calls = stage("train")
    assert main(["train", "options.yaml"]) == 0
    assert main(["train", "options.yaml", "-c", "auto", "-o", "new.pt", "-r", "seed=7"]) == 0
    assert main(["train", "options.yaml", "--continue", "model.ckpt"]) == 0
    (first, _), (second, _), (third, _) = calls
    assert isinstance(first[0], Options)
    assert first[1:] == (None, Path("model.pt"))
    assert second[0].seed == 7
    assert second[1:] == ("auto", Path("new.pt"))
    assert third[1:] == (Path("model.ckpt"), Path("model.pt"))
    # the stage makes it when there is something to put in
    assert not Path("outputs").exists()


def test_export(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    calls = stage("export")
    Path("metadata.yaml").write_text("name: ethanol\n")
    assert main(["export", "model.ckpt"]) == 0
    assert capsys.readouterr().out == "wrote written.pt\n"
    assert main(["export", "model.ckpt", "-o", "a.pt", "--verify", "--weights", "last"]) == 0
    assert main(["export", "model.ckpt", "--no-verify", "-m", "metadata.yaml"]) == 0
    default = {"weights": "best", "metadata": None, "verify": "quick", "source": None}
    assert calls == [
        ((Path("model.ckpt"), Path("model.pt")), default),
        (
            (Path("model.ckpt"), Path("a.pt")),
            default | {"weights": "last", "verify": "full"},
        ),
        (
            (Path("model.ckpt"), Path("model.pt")),
            default | {"verify": "none", "metadata": Path("metadata.yaml")},
        ),
    ]


def test_eval(stage: Stage) -> None:
    calls = stage("evaluate")
    assert main(["eval", "old.pt", "eval.yaml"]) == 0
    override = "targets.energy.forces=off"
    assert main(["eval", "model.ckpt", "eval.yaml", "-o", "b.xyz", "-r", override]) == 0
    assert [given for given, _ in calls] == [
        (Path("old.pt"), Path("eval.yaml"), [], Path("predictions.xyz")),
        (Path("model.ckpt"), Path("eval.yaml"), [override], Path("b.xyz")),
    ]


def test_eval_checks_its_options_before_its_stage_is_imported(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = stage("evaluate")
    assert failure(capsys, "eval", "old.pt", "eval.yaml", "-r", "target=1") == (
        "-r target=1: error: target: unknown option; did you mean 'targets'?\n"
    )
    assert calls == []


def test_verify(stage: Stage) -> None:
    calls = stage("verify")
    assert main(["verify", "old.pt"]) == 0
    words = ["--only", "load", "--only", "fd/virial, geo", "--json", "-", "--level", "quick"]
    words += ["--for", "ase,eon"]
    words += ["--skip", "dd=one rank, and LAMMPS only,SYM/rotation", "--skip", "NTH"]
    words += ["--for", "lammps:ranks=4", "--write-waivers", "known.yaml", "--no-waivers"]
    words += ["--time-limit", "30", "--memory-limit", "900", "--no-isolation", "--record", "r.json"]
    assert main(["verify", "old.pt", *words]) == 0
    settings = Settings(
        only=["LOAD", "FD/virial", "GEO"],
        skip=["DD=one rank, and LAMMPS only", "SYM/rotation", "NTH"],
        level="quick",
        engines=["ase", "eon", "lammps:ranks=4"],
        waivers=False,
        record=Path("r.json"),
        time_limit=30,
        memory_limit=900,
        isolation=False,
    )
    outputs = Outputs(json=Path("-"))
    new = Path("known.yaml")
    assert calls == [
        ((Path("old.pt"),), {"settings": Settings(), "outputs": Outputs(), "write_waivers": None}),
        ((Path("old.pt"),), {"settings": settings, "outputs": outputs, "write_waivers": new}),
    ]


def test_golden(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    calls = stage("golden_add")
    assert main(["golden", "add", "old.pt", "--systems", "a.xyz", "-o", "new.pt"]) == 0
    assert capsys.readouterr().out == "wrote new.pt: written.pt check systems\n"
    words = ["--in-place", "--checkpoint", "model.ckpt", "--length-unit", "nm"]
    assert main(["golden", "add", "old.pt", "--systems", "a.xyz", *words]) == 0
    words = ["-o", "new.pt", "--allow-operator", "aten::hash", "--no-require-sandbox"]
    assert main(["golden", "add", "old.pt", "--systems", "a.xyz", *words]) == 0
    common = {"extensions": None, "exceptions": Exceptions()}
    default = {"checkpoint": None, "length_unit": "angstrom", **common}
    given = {"checkpoint": Path("model.ckpt"), "length_unit": "nm", **common}
    allowed = default | {"exceptions": Exceptions(("aten::hash",), True)}
    assert calls == [
        ((Path("old.pt"), Path("a.xyz"), Path("new.pt")), default),
        ((Path("old.pt"), Path("a.xyz"), Path("old.pt")), given),
        ((Path("old.pt"), Path("a.xyz"), Path("new.pt")), allowed),
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("trian x", "error: there is no command 'trian'\n  hint: did you mean 'mtt train'?\n"),
        ("run x", "error: there is no command 'run'\n  hint: did you mean 'mtt train'?\n"),
        (
            "o.yaml",
            "error: there is no command 'o.yaml'\n"
            "  hint: a command comes first: did you mean 'mtt train o.yaml'?\n",
        ),
        (
            "convert o.yaml -o b.yaml",
            "error: mtt convert takes the kind of file first\n"
            "  hint: did you mean 'mtt convert options o.yaml -o b.yaml'?\n",
        ),
        (
            "deploy",
            (
                "error: there is no command 'deploy'\n"
                "  hint: the commands are train, export, eval, verify, show, data, convert, upgrade, golden, push, sign, "
                "reproduce, image; see mtt --help\n"
            ),
        ),
        (
            "train option.yaml",
            "error: options file not found: option.yaml; did you mean 'options.yaml'?\n",
        ),
        (
            "train options.yaml -c mode.ckpt",
            "error: checkpoint not found: mode.ckpt; did you mean 'model.ckpt'?\n",
        ),
        (
            "train options.yaml -o results/model.pt",
            (
                "error: the folder 'results' does not exist\n"
                "  where: results/model.pt\n"
                "  hint: create it first\n"
            ),
        ),
        (
            "train options.yaml -o a.xyz/model.pt",
            "error: the file cannot be written: Not a directory\n  where: a.xyz/model.pt\n",
        ),
        (
            "train options.yaml -o model.ckpt",
            (
                "error: the output must have a name that ends in .pt\n"
                "  where: model.ckpt\n"
                "  hint: for instance model.pt\n"
            ),
        ),
        (
            "train options.yaml -r seed=x",
            "-r seed=x: error: seed: expected an integer, found 'x'\n",
        ),
        ("export nothing.ckpt", "error: checkpoint not found: nothing.ckpt (looked in HERE)\n"),
        ("export .", "error: the checkpoint is a folder, not a file: .\n"),
        (
            "export model.ckpt -m meta.yaml",
            "error: metadata file not found: meta.yaml (looked in HERE)\n",
        ),
        ("eval ol.pt eval.yaml", "error: model file not found: ol.pt; did you mean 'old.pt'?\n"),
        (
            "eval old.pt eval.yaml -o gone/p.xyz",
            (
                "error: the folder 'gone' does not exist\n"
                "  where: gone/p.xyz\n"
                "  hint: create it first\n"
            ),
        ),
        ("verify gone/m.pt", "error: model file not found: gone/m.pt (there is no folder gone)\n"),
        (
            "verify old.pt --json gone/r.json",
            (
                "error: the folder 'gone' does not exist\n"
                "  where: gone/r.json\n"
                "  hint: create it first\n"
            ),
        ),
        (
            "verify old.pt --html old.pt",
            (
                "error: the output would replace old.pt, which is read\n"
                "  where: old.pt\n"
                "  hint: give the output another name\n"
            ),
        ),
        (
            "verify old.pt --json model.ckpt",
            (
                "error: no report has a name that ends in .ckpt\n"
                "  where: model.ckpt\n"
                "  hint: for instance model.json\n"
            ),
        ),
        (
            "verify old.pt --record r.json --skip PARITY=unused",
            "error: --record is a check of PARITY, which --skip leaves out\n",
        ),
        (
            "verify old.pt --extensions gone",
            "error: there is no such folder of extensions\n  where: gone\n",
        ),
        (
            "verify old.pt --html r --junit r",
            "error: two reports would go to one file\n  where: r\n",
        ),
        (
            "verify old.pt old.pt --record r.json",
            "error: --record is about one model\n  hint: verify the files one by one\n",
        ),
        (
            "verify old.pt --json - --annotations github",
            "error: --json - and --annotations would both go to the terminal\n",
        ),
        (
            "verify old.pt --against r.json",
            "error: reference not found: r.json (looked in HERE)\n",
        ),
        (
            "golden add old.pt --systems a.xyz",
            (
                "error: there is no place for the result\n"
                "  hint: name a file with -o, or replace the model file with --in-place\n"
            ),
        ),
        (
            "golden add old.pt --systems a.xyz -o ../HEREABOUTS/old.pt",
            (
                "error: the output would replace the model file\n"
                "  where: ../HEREABOUTS/old.pt\n"
                "  hint: say --in-place if that is meant\n"
            ),
        ),
    ],
)
def test_user_errors(
    capsys: pytest.CaptureFixture[str], folder: Path, arguments: str, expected: str
) -> None:
    arguments = arguments.replace("HEREABOUTS", folder.name)
    expected = expected.replace("HEREABOUTS", folder.name).replace("HERE", str(folder.resolve()))
    assert failure(capsys, *arguments.split()) == expected
    assert sorted(path.name for path in folder.iterdir()) == [
        "a.xyz",
        "eval.yaml",
        "model.ckpt",
        "old.pt",
        "options.yaml",
    ]


def test_output_names_that_are_taken(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    Path("model.pt").mkdir()
    assert failure(capsys, "train", "options.yaml") == (
        "error: the output is a folder; a file name is needed\n  where: model.pt\n"
    )
    Path("outputs").touch()
    assert failure(capsys, "train", "options.yaml", "-o", "b.pt") == (
        "error: 'outputs' is a file, but the folder for the run's results must have that name\n"
        f"  where: {folder / 'outputs'}\n"
        "  hint: rename the file or run in another folder\n"
    )


def test_a_folder_that_is_read_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    assert failure(capsys, "train", "options.yaml", "-o", "b.pt") == (
        "error: the file cannot be written: Read-only file system\n  where: b.pt\n"
    )


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="argparse words its help differently")
@pytest.mark.parametrize(
    "command",
    [
        "",
        "train",
        "export",
        "eval",
        "verify",
        "show",
        "upgrade",
        "golden",
        "golden add",
        "push",
        "sign",
        "reproduce",
        *["image", "image list", "image for", "image build", "image check", "image push"],
        "image pull",
        "image trust",
    ],
)
def test_help(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole help, so that nothing appears or disappears unnoticed."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stopped:
        main([*command.split(), "--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert shown == (HELP / f"{command.replace(' ', '-') or 'mtt'}.txt").read_text(encoding="utf-8")


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().out.startswith("usage: mtt [-h] [--version] COMMAND ...\n")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"mtt {__version__}\n"


def run_timed(*arguments: str, limit: float) -> subprocess.CompletedProcess[str]:
    """Runs the program, which must need less processor time than the limit, in seconds.

    Time on the clock would also count the jobs that a busy machine does in between.
    """
    needed = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", "mtt", *arguments], capture_output=True, text=True, check=False
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        needed.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(needed) < limit
    return done


def imported(*arguments: str) -> set[str]:
    """Top-level modules that the program imports."""
    command = [sys.executable, "-X", "importtime", "-m", "mtt", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    names = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    return {name.partition(".")[0] for name in names}


def test_help_is_quick() -> None:
    assert run_timed("--help", limit=0.3).returncode == 0
    modules = imported("--help")
    assert "argparse" in modules
    assert not modules & (HEAVY | {"pydantic", "yaml"})


def test_an_options_error_is_quick() -> None:
    Path("options.yaml").write_text("architecture: {name: pet}\ntraining_set: aa.xyz\n")
    done = run_timed("train", "options.yaml", limit=1.0)
    assert done.returncode == 2
    assert done.stderr == (
        "options.yaml:2:15: error: training_set: file not found: aa.xyz; did you mean 'a.xyz'?\n"
        "  2 | training_set: aa.xyz\n"
        "    |               ^\n"
    )
    modules = imported("train", "options.yaml")
    assert "pydantic" in modules
    assert not modules & HEAVY


def test_a_closed_pipe_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "mtt", "--help"],
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
            # unbuffered output would fail in argparse, which hides it
            env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_what_mtt_has_not_written_is_not_replaced(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the model.pt and model.ckpt that metatrain leaves in its folder."""
    calls = stage("train")
    others = {"model.pt": b"PK\x03\x04 of another program", "model.ckpt": b"notes on my model\n"}
    for name, content in others.items():
        Path(name).write_bytes(content)
        said = failure(capsys, "train", "options.yaml")
        assert f"{name} is there already and would be replaced, and mtt did not write it" in said
        assert "move it away, or name other results with --output" in said
        assert Path(name).read_bytes() == content
        Path(name).unlink()
        Path(name).touch()
    assert calls == []
    assert main(["train", "options.yaml"]) == 0
    assert len(calls) == 1
