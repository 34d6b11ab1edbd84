"""A model file is evaluated where it can do no harm: not in this process, and not outside the sandbox."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict  # noqa: UP035  (for TorchScript)

import numpy as np
import pytest
from metatomic.torch import ModelOutput
from toy_models import Pair, export_toy

from mtt.__main__ import main
from mtt.errors import UserError
from mtt.export.exported_model import ExportedModel
from mtt.verify.predictions import ModelFailed, ModelProcess, System, Wanted

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler (cc)"),
]
WATER = System(
    np.array([8, 1, 1], np.int32),
    np.array([[0.0, 0.0, 0.1], [0.0, 0.8, -0.5], [0.0, -0.8, -0.5]]),
    np.zeros((3, 3)),
    np.array([False, False, False]),
)
ENERGY = [Wanted("energy", "system", gradients=True)]
# What the library does when it is loaded; TARGET is a file of the user's.
DEEDS = {
    "writes": 'int fd = open(TARGET, O_WRONLY | O_TRUNC); if (fd >= 0) { write(fd, "gone", 4); }',
    "empties": "open(TARGET, O_RDONLY | O_TRUNC);",
    "removes": "unlink(TARGET);",
    "connects": "if (socket(AF_INET, SOCK_STREAM, 0) >= 0) { abort(); }",
    "runs a program": 'if (fork() >= 0) { abort(); } execl("/bin/touch", "touch", TARGET ".new", (char *)0);',
    "reads": "if (open(TARGET, O_RDONLY) >= 0) { abort(); }",
    "reads the environment": 'if (getenv("SECRET") != 0) { abort(); }',
}
SOURCE = """
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
__attribute__((constructor)) static void deed(void) { %s }
"""
Hostile = Callable[[str], tuple[Path, Path]]


class Charged(Pair):
    """Asks for the charge and mass of each atom, and the spin of each system."""

    def requested_inputs(self) -> Dict[str, ModelOutput]:  # noqa: UP006
        return {
            "charge": ModelOutput(unit="e", sample_kind="atom"),
            "mass": ModelOutput(unit="u", sample_kind="atom"),
            "spin_multiplicity": ModelOutput(sample_kind="system"),
        }


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_toy(tmp_path_factory.mktemp("sound") / "model.pt")


@pytest.fixture
def hostile(tmp_path: Path) -> Hostile:
    """``hostile(code)``: a sound model, and the folder of an extension that runs this when loaded."""

    def make(code: str) -> tuple[Path, Path]:
        declared = json.dumps([{"name": "hostile", "path": "libhostile.so"}])
        model = export_toy(tmp_path / "model.pt", records={"extensions": declared})
        folder = tmp_path / "extensions"
        folder.mkdir()
        target = tmp_path / "precious.txt"
        target.write_text("years of work")
        source = tmp_path / "hostile.c"
        source.write_text(SOURCE % code)
        library = folder / "libhostile.so"
        flags = ["-shared", "-fPIC", "-w", f'-DTARGET="{target}"', "-o", str(library)]
        subprocess.run(["cc", *flags, str(source)], check=True)
        return model, folder

    return make


def modules_after(code: str) -> set[str]:
    """Return the modules that a fresh Python has loaded after this code."""
    program = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("deed", DEEDS)
def test_native_code_in_a_model_that_is_evaluated_does_no_harm(
    hostile: Hostile, tmp_path: Path, deed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "hidden")
    model, extensions = hostile(DEEDS[deed])
    [prediction] = ModelProcess(model, extensions).predict([WATER], ENERGY)
    # The model itself is sound, and works.
    assert np.isfinite(prediction.rows).all()
    assert (tmp_path / "precious.txt").read_text() == "years of work"
    assert not (tmp_path / "precious.txt.new").exists()


def test_the_deeds_are_real(hostile: Hostile, tmp_path: Path) -> None:
    # Loaded by a program without the sandbox, the same library does what it says.
    _, extensions = hostile(DEEDS["writes"])
    load = f"import ctypes; ctypes.CDLL({str(extensions / 'libhostile.so')!r})"
    subprocess.run([sys.executable, "-c", load], check=True)
    assert (tmp_path / "precious.txt").read_text() == "gone"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("abort();", "the model aborts its process (SIGABRT)"),
        ("_exit(0);", "the model ends its process with exit code 0"),
        ("*(volatile int *)0 = 1;", "the model crashes its process (SIGSEGV"),
    ],
)
def test_a_model_that_ends_its_process_is_an_error(
    hostile: Hostile, code: str, message: str
) -> None:
    model, extensions = hostile(code)
    with pytest.raises(UserError) as caught:
        ExportedModel(model, extensions)
    assert message in str(caught.value)


def test_no_torchscript_is_loaded_by_the_process_that_asks(sound: Path) -> None:
    code = (
        "import torch\n"
        "def refuse(*args, **more): raise SystemExit('TorchScript was loaded here')\n"
        "torch.jit.load = torch._C.import_ir_module = refuse\n"
        "from pathlib import Path\n"
        "from mtt.evaluation.predict import open_model\n"
        "from mtt.data.structure import Structure\n"
        f"open_model(Path({str(sound)!r}))"
    )
    loaded = modules_after(code)
    assert "mtt.verify.predictions" in loaded


def test_the_sandbox_in_force_is_known(sound: Path) -> None:
    isolation = ModelProcess(sound).about["isolation"]
    assert isolation["process"] is True
    assert isolation["network"] != "not restricted" and isolation["filesystem"] != "not restricted"


def test_a_model_that_asks_for_more_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    export_toy(Path("model.pt"), Charged, golden=False)
    Path("a.xyz").write_text('1\nProperties=species:S:1:pos:R:3 pbc="F F F"\nH 0 0 0\n')
    Path("eval.yaml").write_text("systems: a.xyz\n")
    assert main(["eval", "model.pt", "eval.yaml"]) == 2
    assert capsys.readouterr().err == (
        "error: the model asks for inputs that mtt does not supply yet: 'charge of atoms', 'mass'\n"
        "  where: model.pt\n"
        "  hint: metatomic's calculator for ASE has some more of them\n"
    )
    assert not Path("predictions.xyz").exists()


def test_extensions_of_a_model_are_taken_from_the_folder(
    hostile: Hostile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, extensions = hostile("abort();")
    monkeypatch.chdir(tmp_path)
    Path("a.xyz").write_text('1\nProperties=species:S:1:pos:R:3 pbc="F F F"\nH 0 0 0\n')
    Path("eval.yaml").write_text("systems: a.xyz\n")
    arguments = ["eval", str(model), "eval.yaml"]
    assert main([*arguments, "--extensions", "nowhere"]) == 2
    assert "there is no such folder of extensions" in capsys.readouterr().err
    assert main([*arguments, "--extensions", str(extensions)]) == 2
    assert "the model aborts its process" in capsys.readouterr().err
    assert main(arguments) == 0


def test_without_any_sandbox_nothing_is_evaluated(
    sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MTT_VERIFY_WITHOUT", "landlock,seccomp")
    with pytest.raises(ModelFailed, match="this system offers no sandbox"):
        ModelProcess(sound)


def test_a_model_that_fails_is_named_and_the_next_question_is_answered(sound: Path) -> None:
    process = ModelProcess(sound)
    with pytest.raises(ModelFailed, match="uranium|79|type"):
        process.predict([WATER._replace(types=np.array([79, 1, 1], np.int32))], ENERGY)
    [prediction] = process.predict([WATER], ENERGY)
    assert prediction.forces is not None and prediction.forces.shape == (3, 3)
    np.testing.assert_allclose(prediction.forces.sum(0), 0.0, atol=1e-12)


def stretched(factor: float) -> System:
    return WATER._replace(positions=factor * WATER.positions)


def test_threads_get_each_their_own_answer(sound: Path) -> None:
    process = ModelProcess(sound)
    systems = [[stretched(1 + 0.01 * n)] * (1 + n % 3) for n in range(30)]
    expected = [process.predict(asked, ENERGY)[0].rows for asked in systems]
    with ThreadPoolExecutor(4) as pool:
        answers = [
            p.rows for [p] in pool.map(lambda asked: process.predict(asked, ENERGY), systems)
        ]
    for answer, own in zip(answers, expected, strict=True):
        np.testing.assert_array_equal(answer, own)


def test_an_interrupted_question_is_not_answered_to_the_next(
    sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = ModelProcess(sound)

    def interrupted() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(process, "_answer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            process.predict([WATER], ENERGY)
    with pytest.raises(ModelFailed, match="interrupted.*load it anew"):
        process.predict([stretched(1.1)], ENERGY)


def test_a_copy_by_fork_does_not_read_the_answers_of_others(
    sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = ModelProcess(sound)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with pytest.raises(ModelFailed, match="loaded in another process"):
        process.predict([WATER], ENERGY)


def test_no_process_is_left(sound: Path) -> None:
    process = ModelProcess(sound)
    process.predict([WATER], ENERGY)
    pid = process._process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert len(children) == 1
    process.close()
    assert process._process.returncode == 0
    assert not os.path.exists(f"/proc/{children[0]}")
