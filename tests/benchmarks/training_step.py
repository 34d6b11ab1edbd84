"""Epochs of training, ours and metatrain's in turns: processor time and wall time of a step, share of the peak.

    python tests/benchmarks/training_step.py --metatrain ENV/bin/python --threads 1,2

``ENV`` is a virtual environment with ``pip install metatrain``; ours is the Python that runs this script, with
compiled kernels and without. Each program trains PET on the same structures with the same hypers, energies and
forces, in a process of its own and without workers that load data, and looks at its clocks at the end of each
epoch. A round has a run of each. Prints the median over rounds of the median epoch of a run, without its first
two, divided by the number of steps: validation, on one structure, is in it. Beside it is what the threads could do
at the speed of a product of large matrices that is measured between the rounds, and the first epoch, from the
first batch on, divided by its steps as well.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from accuracy import WIDTHS

EXAMPLE = Path(__file__).parents[2] / "docs/examples/ethanol/ethanol.xyz"
# PET in three sizes, and another architecture as it comes. Both programs spell these alike.
SIZES: dict[str, dict[str, Any]] = {
    "default": {},
    "0.3M": {"d_pet": 48, "d_node": 64, "d_head": 48, "d_feedforward": 96, "num_heads": 4},
    "0.1M": {**WIDTHS, "num_attention_layers": 1},
    "soap_bpnn": {},
}
# Matrices of the default size: edges of a batch, hidden features, features.
PRODUCT = (720, 512, 128)
# The first epochs of a process, which are slower.
SKIPPED = 2
# Both print their clocks, processor time of all threads and wall time, before the first epoch and after each.
OURS = """
import sys, time
from pathlib import Path
from mtt.architectures import kernels
from mtt.options import load_options
from mtt.training.loop import train
from mtt.training.prepare import prepare
class Clock:
    def stop_requested(self): return False
    def step(self, loss, n_structures): pass
    def epoch(self, row): print("clocks", time.process_time(), time.perf_counter())
if sys.argv[1] == "without":
    kernels.missing = lambda: "not wanted"
else:
    assert kernels.missing() is None, kernels.missing()
run = prepare(load_options(Path("options.yaml")), None, Path("model.pt"), lambda line: None)
print("begins", time.process_time(), time.perf_counter())
train(run.state, run.problem, Clock())
"""
METATRAIN = """
import logging, sys, time
from metatrain.__main__ import main
from metatrain.utils.logging import MetricLogger
log = MetricLogger.log
def log_and_look(self, *arguments, **named):
    log(self, *arguments, **named)
    if named.get("epoch") is not None:
        print("clocks", time.process_time(), time.perf_counter())
MetricLogger.log = log_and_look
info = logging.info
def info_and_look(message, *arguments, **named):
    info(message, *arguments, **named)
    if message == "Starting training":
        print("begins", time.process_time(), time.perf_counter())
logging.info = info_and_look
sys.argv = ["mtt", "train", "options.yaml"]
main()
"""


def architecture_of(size: str) -> str:
    """Return the name of the architecture that a size is of."""
    return size if size == "soap_bpnn" else "pet"


def options(arguments: argparse.Namespace, folder: Path, size: str, epochs: int) -> str:
    """Return options for both programs; ``folder`` has training.xyz and validation.xyz."""

    def dataset(name: str) -> dict[str, Any]:
        systems = {"read_from": str(folder / name), "length_unit": "angstrom"}
        energy = {"key": "energy", "unit": "eV", "forces": {"key": "forces"}, "stress": False}
        return {"systems": systems, "targets": {"energy": energy}}

    training = {
        "num_epochs": epochs,
        "batch_size": arguments.batch,
        "num_workers": 0,
        "log_interval": 1,
        "checkpoint_interval": 10**6,
    }
    document = {
        "seed": 0,
        "device": "cpu",
        "base_precision": 32,
        "architecture": {
            "name": architecture_of(size),
            "model": SIZES[size],
            "training": training,
        },
        "training_set": dataset("training.xyz"),
        "validation_set": dataset("validation.xyz"),
        "test_set": 0.0,
    }
    return yaml.safe_dump(document)


def measure(command: list[str], text: str, threads: int, epochs: int) -> list[float]:
    """Return processor time and wall time of a run in an empty folder, in s: of a median epoch, and of the first."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "options.yaml").write_text(text)
        number = str(threads)
        environment = os.environ | {"OMP_NUM_THREADS": number, "MKL_NUM_THREADS": number}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    lines = [line.split() for line in run.stdout.splitlines()]
    looks = [words[1:] for words in lines if words and words[0] in ("begins", "clocks")]
    if run.returncode != 0 or len(looks) != epochs + 1:
        raise SystemExit(f"{command[0]} failed:\n{run.stdout[-2000:]}{run.stderr[-2000:]}")
    ends = [(float(processor), float(wall)) for processor, wall in looks]
    spent = [[after[k] - before[k] for k in (0, 1)] for before, after in itertools.pairwise(ends)]
    return [*map(statistics.median, zip(*spent[SKIPPED:], strict=True)), *spent[0]]


def peak(threads: int) -> float:
    """Return the speed of the product of matrices of the default size, in GFLOP/s."""
    import torch

    torch.set_num_threads(threads)
    rows, inner, columns = PRODUCT
    left, right = torch.randn(rows, inner), torch.randn(inner, columns)
    speeds = []
    for _ in range(200):
        start = time.perf_counter()
        left @ right
        speeds.append(2e-9 * rows * inner * columns / (time.perf_counter() - start))
    return statistics.median(speeds)


def products(arguments: argparse.Namespace, files: Path, size: str) -> tuple[int, float]:
    """Return the number of weights, and of floating-point operations of a step's matrix products in 1e9."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    from mtt import architecture_registry
    from mtt.architectures.cores import new_core
    from mtt.architectures.evaluate import evaluate
    from mtt.data.batch import collate
    from mtt.data.dataset import Dataset, types_of
    from mtt.options import load_options
    from mtt.training.run_data import read_run_data

    class Counter(TorchDispatchMode):
        total = 0

        def __torch_dispatch__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            matrices = {"mm": args[0:2], "bmm": args[0:2], "addmm": args[1:3]}
            left, right = matrices.get(function.__name__.partition(".")[0], (None, None))
            if left is not None and right is not None:
                self.total += 2 * left.numel() * right.shape[-1]
            return function(*args, **(kwargs or {}))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "options.yaml"
        path.write_text(options(arguments, files, size, 1))
        chosen = load_options(path)
        run = read_run_data(chosen)
    types = types_of(run.train)
    architecture = architecture_registry.get(architecture_of(size))
    core = new_core(architecture, chosen.architecture.model, types, run.targets, [0])
    dataset = Dataset(run.train, types, core.cutoff, run.targets)
    batch = collate(dataset, range(arguments.batch), torch.float32)
    counter = Counter()
    with counter:
        values = evaluate(core, batch.graph, run.targets, create_graph=True)["energy"]
        assert values.systems is not None and values.forces is not None
        ((values.systems**2).sum() + (values.forces**2).sum()).backward()
    return sum(weight.numel() for weight in core.parameters()), 1e-9 * counter.total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--metatrain", help="Python of an environment with metatrain")
    parser.add_argument("--sizes", default="default,0.3M,0.1M")
    parser.add_argument(
        "--data", type=Path, default=EXAMPLE, help="energies and forces, extended XYZ"
    )
    parser.add_argument("--structures", type=int, default=90)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=12, help="of a run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", default="1", help="one or more numbers of threads")
    parser.add_argument("--json", type=Path, help="file for all figures")
    arguments = parser.parse_args()
    if arguments.epochs <= SKIPPED:
        parser.error(f"--epochs: more than the {SKIPPED} that do not count")
    from ase.io import read, write

    programs = {
        "mtt": [sys.executable, "-c", OURS, "with"],
        "no kernels": [sys.executable, "-c", OURS, "without"],
    }
    if arguments.metatrain:  # runs begin in folders of their own
        programs["metatrain"] = [str(Path(arguments.metatrain).absolute()), "-c", METATRAIN]
    steps = arguments.structures // arguments.batch
    figures: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        files = Path(name)
        frames = read(arguments.data, f":{arguments.structures + 1}")
        write(files / "training.xyz", frames[:-1])
        write(files / "validation.xyz", frames[-1:])
        for size in arguments.sizes.split(","):
            weights, work = products(arguments, files, size)
            text = options(arguments, files, size, arguments.epochs)
            for threads in map(int, arguments.threads.split(",")):
                results: dict[str, list[list[float]]] = {one: [] for one in programs}
                peaks = []
                for _ in range(arguments.rounds):
                    peaks.append(peak(threads))
                    for program, command in programs.items():
                        found = measure(command, text, threads, arguments.epochs)
                        results[program].append([seconds / steps for seconds in found])
                speed = statistics.median(peaks)
                print(
                    f"{size}, {threads} threads: {weights} weights, {work:.2f} GFLOP in products; "
                    f"peak {speed:.0f} GFLOP/s"
                )
                first = None
                for program, rounds in results.items():
                    medians = map(statistics.median, zip(*rounds, strict=True))
                    processor, wall, first_processor, first_wall = medians
                    first = first or (processor, wall)
                    figures.append(
                        {"size": size, "threads": threads, "program": program}
                        | {"processor": processor, "wall": wall, "rounds": rounds}
                        | {"first processor": first_processor, "first wall": first_wall}
                        | {"peak": speed, "work": work, "weights": weights}
                    )
                    print(
                        f"  {program:10s} processor {1e3 * processor:6.1f} ms"
                        f" ({processor / first[0]:.2f} x)  wall {1e3 * wall:6.1f} ms"
                        f" ({wall / first[1]:.2f} x)  {100 * work / speed / wall:3.0f} % of the peak"
                        f"  in the first epoch {1e3 * first_processor:.1f} ms",
                        flush=True,
                    )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
