"""The folder of one run: options, log, metrics, checkpoints and pictures."""

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

from mtt.errors import UserError
from mtt.files import LARGEST_MODEL, read_regular, unwritable, write_atomic
from mtt.options import Options
from mtt.options.reading.document import dump

OUTPUTS = Path("outputs")
LOG, OPTIONS = "train.log", "options.yaml"
# Of a finished run.
ERRORS, ANALYSIS, REPORT = "errors.json", "analysis.json", "report.html"
VERIFICATION, VERIFICATION_PAGE = "verification.json", "verification.html"
_NAME = re.compile(r"model_(0|[1-9][0-9]*)(?:_([1-9][0-9]*))?\.ckpt")


class Point(NamedTuple):
    """How far a checkpoint is, as its name says; later ones are larger.

    ``step`` counts all steps of the run, and is 0 at the end of an epoch.
    """

    epoch: int
    step: int

    @classmethod
    def of(cls, epoch: int, step: int, batch: int) -> Self:
        """The point of a position (see :class:`mtt.training.state.Position`)."""
        return cls(epoch, step if batch else 0)

    @classmethod
    def read(cls, name: str) -> Self | None:
        """The point in the name of a file, or None if the name is not one of ours."""
        match = _NAME.fullmatch(name)
        return cls(int(match[1]), int(match[2] or 0)) if match else None

    @property
    def name(self) -> str:
        """The name of the checkpoint."""
        return f"model_{self.epoch}_{self.step}.ckpt" if self.step else f"model_{self.epoch}.ckpt"


def points_in(folder: Path) -> list[Point]:
    """The points of all files that have names of checkpoints, whole or not, in their order."""
    points = [Point.read(name) for name in os.listdir(folder)]
    return sorted(point for point in points if point is not None)


def run_folder_of(checkpoint: Path, outputs: Path = OUTPUTS) -> Path | None:
    """The run's folder under ``outputs`` that a checkpoint really lies in, if it does."""
    folder = checkpoint.resolve().parent
    if folder.parent.parent != outputs.resolve():
        return None
    return outputs / folder.parent.name / folder.name


def new_run_folder(outputs: Path = OUTPUTS) -> Path:
    """Make ``outputs/YYYY-MM-DD/HH-MM-SS``; a run begun in the same second gets a number as well.

    :raises UserError: if it cannot be made
    """
    day, second = time.strftime("%Y-%m-%d %H-%M-%S").split()
    for number in range(1, 1000):
        name = second if number == 1 else f"{second}_{number}"
        folder = outputs / day / name
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        except FileExistsError:
            if (outputs / day).is_dir():
                continue
            raise UserError(
                "the folder for the run's results cannot be made: a file is in its way",
                where=str(outputs / day),
            ) from None
        except OSError as error:
            raise unwritable(folder, error) from error
        return folder
    raise UserError("a thousand runs were begun in this second", where=str(outputs / day))


def write_options(options: Options, path: Path) -> None:
    """The options with every default written out; ``mtt train`` takes the file as it is."""
    text = dump(options.to_dict()).encode()
    if not (path.exists() and read_regular(path, LARGEST_MODEL) == text):
        write_atomic(path, text)


def command_to_continue(folder: Path, checkpoint: Path | str, output: Path) -> str:
    """What to type to resume from ``checkpoint``, a path or "auto"."""
    import shlex

    words: Sequence[str] = ["mtt", "train", str(folder / OPTIONS)]
    words = [*words, "--continue", str(checkpoint)]
    if output != Path("model.pt"):
        words = [*words, "--output", str(output)]
    return shlex.join(words)
