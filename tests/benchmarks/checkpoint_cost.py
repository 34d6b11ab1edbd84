"""How large a checkpoint is beside its tensors, and what part of training goes into saving.

    python tests/benchmarks/checkpoint_cost.py

Trains on the quickstart's structures with its model and with PET's defaults, on one thread. Sizes are
those of real checkpoints, with as many rows of history as a longer run would have. Times are those of
the saves, flushed to the disk, and of the training around them, of the same run. A run in which the
default interval passes would be long: what it costs follows from the times of a save and of an epoch. How
long loading takes, and both beside metatrain, is measured by the part ``checkpoints`` of run.py.
"""

import argparse
import contextlib
import io
import json
import os
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console
from rich.table import Table

from mtt import checkpoint
from mtt.options import load_options
from mtt.training import run as stage
from mtt.training.prepare import Run
from mtt.training.runs.saving import Saver

EXAMPLE = Path(__file__).parents[2] / "docs/examples/ethanol"
DEFAULTS: dict[str, Any] = {"checkpoint_interval": 100, "checkpoint_every": "10 min"}
TEN_MINUTES = 600.0
OFTEN: dict[str, dict[str, Any]] = {
    "every epoch": {"checkpoint_interval": 1},
    "every 100 steps": {"checkpoint_every": "100 steps"},
    "every 10 steps": {"checkpoint_every": "10 steps"},
}
ROWS = (1, 100, 1000)


@dataclass
class Clock:
    """Wall time and processor time in a function, added up over its calls."""

    seconds: float = 0.0
    processor: float = 0.0
    calls: int = 0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            begin, processor = time.perf_counter(), time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds += time.perf_counter() - begin
                self.processor += time.process_time() - processor
                self.calls += 1

        return timed


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def train(folder: Path, model: dict[str, Any] | None, training: dict[str, Any]) -> list[Clock]:
    """Clocks of the saves and of the deleting of old ones, of the whole training, and of each save.

    :param model: hypers; None for those of the quickstart
    """
    options = yaml.safe_load((EXAMPLE / "options.yaml").read_text())
    options["training_set"]["systems"] = str(EXAMPLE / "ethanol.xyz")
    if model is not None:
        options["architecture"]["model"] = model
    options["architecture"]["training"] |= {**DEFAULTS, **training}
    (folder / "options.yaml").write_text(yaml.safe_dump(options))
    saving, whole, writing = Clock(), Clock(), Clock()
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.chdir(folder))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(replaced(Run, "save", writing.around(Run.save)))
        stack.enter_context(replaced(Saver, "save", saving.around(Saver.save)))
        stack.enter_context(replaced(stage, "_train", whole.around(stage._train)))
        for name in ("_pictures", "_export"):
            stack.enter_context(replaced(stage, name, lambda *_: None))
        stage.run(load_options(Path("options.yaml")))
    return [saving, whole, writing]


def sizes(path: Path) -> Iterator[tuple[int, int, int, int]]:
    """Rows of history, bytes of the file, of all its tensors, and of those without the history."""
    header, tensors = checkpoint.read(path)
    row = header.history[0]
    for number in ROWS:
        header.history[:] = [{**row, "epoch": epoch + 1} for epoch in range(number)]
        raw = checkpoint.to_bytes(header, tensors)
        (length,) = struct.unpack("<Q", raw[:8])
        yield number, len(raw), len(raw) - 8 - length, sum(one.nbytes for one in tensors.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=6, help="of the quickstart's model")
    parser.add_argument("--json", type=Path, help="file for the figures of saves: s, MB")
    parser.add_argument("--folder", type=Path, help="where to write; default: a temporary folder")
    args = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=110)
    large, times = Table(title="sizes"), Table(title="saving")
    for column in ("model", "epochs", "file, kB", "/ its tensors", "/ tensors without history"):
        large.add_column(column, justify="right")
    for column in ("model", "saved", "saves", "ms per save", "training, s", "part"):
        times.add_column(column, justify="right")
    figures: list[dict[str, Any]] = []
    models: list[tuple[str, dict[str, Any] | None, int]] = [
        ("quickstart", None, args.epochs),
        ("default PET", {}, 1),
    ]
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        for number, (model, hypers, epochs) in enumerate(models):
            for often, training in OFTEN.items():
                folder = Path(name) / f"{number} {often}"
                folder.mkdir()
                saving, whole, writing = train(folder, hypers, {"num_epochs": epochs, **training})
                each = writing.seconds / writing.calls
                part = saving.seconds / whole.seconds
                shown = (f"{1e3 * each:.1f}", f"{whole.seconds:.1f}", f"{part:.2%}")
                times.add_row(model, often, str(saving.calls), *shown)
                size = (folder / "model.ckpt").stat().st_size / 1e6
                figure = {"wall": each, "processor": writing.processor / writing.calls}
                figure |= {"case": f"save, {model}, {often}", "memory": size, "share": part}
                figures.append(figure)
                if often == "every epoch":
                    without = (whole.seconds - saving.seconds) / epochs
                    part = each / min(DEFAULTS["checkpoint_interval"] * without, TEN_MINUTES)
                    times.add_row(
                        model, "default (computed)", "", f"{1e3 * each:.1f}", "", f"{part:.3%}"
                    )
                    default = f"save, {model}, default intervals (computed)"
                    figures.append(figure | {"case": default, "share": part})
            for rows, file, tensors, bare in sizes(folder / "model.ckpt"):
                ratios = (f"{file / tensors:.4f}", f"{file / bare:.4f}")
                large.add_row(model, str(rows), f"{file / 1e3:.0f}", *ratios)
    console.print(large)
    console.print(times)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
