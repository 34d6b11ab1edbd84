"""The folder of one run: options, log, metrics, checkpoints and pictures."""

import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from ..errors import UserError
from ..files import write_atomic
from ..options import Options
from ..report.files import unwritable

OUTPUTS = Path("outputs")


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
    text = yaml.safe_dump(options.to_dict(), sort_keys=False, allow_unicode=True)
    write_atomic(path, text.encode())


def command_to_continue(folder: Path, checkpoint: Path, output: Path) -> str:
    """What to type to go on from ``checkpoint``."""
    import shlex

    words: Sequence[str] = ["mtt", "train", str(folder / "options.yaml")]
    words = [*words, "--continue", str(checkpoint)]
    if output != Path("model.pt"):
        words = [*words, "--output", str(output)]
    return shlex.join(words)
