"""Checkpoint in, the same bytes of a model file out, whatever has happened in this process.

TorchScript writes the constants of a module in the order of a Python set, which differs from process
to process, numbers classes by how many it has seen, and notes the absolute paths of source files.
So a model is scripted in a process of its own: with fixed hashes, one thread, and nothing before it.
This one then needs no torch.
"""

import gc
import json
import os
import signal
import subprocess
import sys
import traceback
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, NoReturn

from mtt.errors import EXIT_BUG, EXIT_OK, EXIT_USER, UserError
from mtt.files import sha256_of
from mtt.printable import harmless_output

FIXED: Final = {"PYTHONHASHSEED": "0"}


@dataclass(frozen=True)
class Task:
    """What is exported: see :func:`mtt.export.run.run`; ``metadata`` is what the user wrote.

    ``record`` is the provenance to write, where an export is made once more to be compared.
    """

    checkpoint: Path
    weights: Literal["best", "last"]
    metadata: dict[str, Any] | None
    verified: bool
    record: dict[str, Any] | None = None


def run(task: Task) -> bytes:
    """The content of the model file.

    :raises UserError: as :func:`mtt.checkpoint.read`; the process was killed
    """
    text = json.dumps(asdict(task) | {"checkpoint": str(task.checkpoint)})
    done = _of_its_own(text.encode())
    if done.returncode == EXIT_OK:
        return done.stdout
    if done.returncode == EXIT_USER:
        raise UserError(**json.loads(done.stdout))
    raise _failed(done.returncode, done.stdout.decode(errors="replace").strip())


def _of_its_own(task: bytes) -> subprocess.CompletedProcess[bytes]:
    """Give a task to a new process; return its answer."""
    # The folders of this process, so that both find the same packages; -P adds no other.
    paths = os.pathsep.join(folder for folder in sys.path if folder)
    return subprocess.run(
        [sys.executable, "-P", "-m", __name__],
        input=task,
        stdout=subprocess.PIPE,
        env={**os.environ, **FIXED, "PYTHONPATH": paths},
        check=False,
    )


def _failed(code: int, text: str) -> Exception:
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return UserError(
            f"the process that makes the model file was ended by {name}",
            hint="SIGKILL without anyone's doing means that there was too little memory"
            if name == "SIGKILL"
            else None,
        )
    last = text.rpartition("\n")[2]
    if last.startswith("MemoryError"):
        return MemoryError(last)
    error = RuntimeError(last)
    error.add_note(text)  # for the error log
    return error


# ---- in the process of its own ----


def main() -> int:
    """Read a task on standard input, write the model, or what is wrong, to standard output."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is told by the process that waits
    # It ends before there is garbage worth looking for.
    gc.disable()
    answer = _only_for_the_answer()
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    with answer, harmless_output():
        try:
            plain = json.load(sys.stdin)
            task = Task(**{**plain, "checkpoint": Path(plain["checkpoint"])})
            content = _scripted(task)
        except UserError as error:
            answer.write(json.dumps(error.parts()).encode())
            return EXIT_USER
        except Exception:
            answer.write(traceback.format_exc().encode())
            return EXIT_BUG
        answer.write(content)
    return EXIT_OK


def _only_for_the_answer() -> BinaryIO:
    """Standard output; whatever else is printed goes to standard error from here on."""
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answer


def _scripted(task: Task) -> bytes:
    import torch

    from mtt import checkpoint as checkpoints
    from mtt.export import provenance
    from mtt.export.torchscript import export_bytes

    torch.set_num_threads(1)
    _name_sources_without_their_folders()
    header, tensors = checkpoints.read(task.checkpoint)
    potential = checkpoints.load_potential(header, tensors, task.weights)
    record = task.record or provenance.record(
        header,
        sha256_of(task.checkpoint),
        task.weights,
        task.metadata,
        task.verified,
    )
    return export_bytes(potential, header, tensors, record)


def _name_sources_without_their_folders() -> None:
    """For error messages, TorchScript notes which file a line is from: ``torch/nn/functional.py``."""
    import importlib

    sources = [importlib.import_module(name) for name in ("torch._sources", "torch.jit.frontend")]

    original = sources[0].get_source_lines_and_file

    def shortened(*arguments: Any, **named: Any) -> tuple[list[str], int, str | None]:
        lines, number, name = original(*arguments, **named)
        return lines, number, None if name is None else _below_a_root(name)

    for source in sources:
        source.get_source_lines_and_file = shortened  # type: ignore[attr-defined]  # of any module


def _below_a_root(name: str) -> str:
    """The part of a path below the folder that it is imported from."""
    path = Path(name)
    roots = [Path(folder) for folder in sys.path if folder and path.is_relative_to(folder)]
    root = max(roots, key=lambda root: len(root.parts), default=path.parent)
    return path.relative_to(root).as_posix()


def answer_and_end() -> NoReturn:
    """Do what :func:`main` does, and end this process."""
    code = main()
    sys.stderr.flush()
    # The answer is written. Taking down torch, class by class, would take a tenth of a second.
    os._exit(code)


if __name__ == "__main__":
    answer_and_end()
