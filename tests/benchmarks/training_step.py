"""Steps of training, ours and metatrain's in turns: processor time, wall time and the share of the peak.

    python tests/benchmarks/training_step.py --metatrain ENV/bin/python --sizes default,0.3M,0.1M

``ENV`` is a virtual environment with ``pip install metatrain``; ours is the Python that runs this script,
and ``--other PYTHON`` adds a third, with another version of mtt. Each program trains PET on the same
structures with the same hypers, energies and forces, without workers that load data. A round has a short
and a long run of each; the difference is free of what happens once: start, neighbor lists, baseline,
export. That varies by seconds on a busy machine: the steps of a long run must take many more. Prints the medians over rounds for a step, and what one thread, or those asked for, could do at
the speed of a product of large matrices that is measured between the rounds.
"""

import argparse
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

EXAMPLE = Path(__file__).parents[2] / "docs/examples/ethanol/ethanol.xyz"
# Both programs spell these alike.
SIZES: dict[str, dict[str, Any]] = {
    "default": {},
    "0.3M": {"d_pet": 48, "d_node": 64, "d_head": 48, "d_feedforward": 96, "num_heads": 4},
    "0.1M": {
        "d_pet": 32,
        "d_node": 64,
        "d_head": 32,
        "d_feedforward": 64,
        "num_heads": 4,
        "num_attention_layers": 1,
    },
}
# Matrices of the default size: edges of a batch, hidden features, features.
PRODUCT = (720, 512, 128)


def options(arguments: argparse.Namespace, data: Path, model: dict[str, Any], epochs: int) -> str:
    systems = {"read_from": str(data), "length_unit": "angstrom"}
    energy = {"key": "energy", "unit": "eV", "forces": {"key": "forces"}, "stress": False}
    training = {
        "num_epochs": epochs,
        "batch_size": arguments.batch,
        "num_workers": 0,
        "checkpoint_interval": 10**6,
    }
    document = {
        "seed": 0,
        "device": "cpu",
        "base_precision": 32,
        "architecture": {"name": "pet", "model": model, "training": training},
        "training_set": {"systems": systems, "targets": {"energy": energy}},
        # As few as there can be: what is measured are steps.
        "validation_set": 1.0 / (arguments.structures + 1),
        "test_set": 0.0,
    }
    return yaml.safe_dump(document)


def measure(command: list[str], text: str, threads: int) -> tuple[float, float]:
    """Return the processor time and the wall time of a run in an empty folder, in s."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "options.yaml").write_text(text)
        environment = os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        before, start = os.times(), time.perf_counter()
        run = subprocess.run(
            [*command, "train", "options.yaml"],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        wall, after = time.perf_counter() - start, os.times()
        if run.returncode != 0:
            raise SystemExit(
                f"{' '.join(command)} failed:\n{run.stdout[-2000:]}{run.stderr[-2000:]}"
            )
    used = after.children_user + after.children_system
    return used - before.children_user - before.children_system, wall


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


def products(arguments: argparse.Namespace, data: Path, model: dict[str, Any]) -> tuple[int, float]:
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
        path.write_text(options(arguments, data, model, 1))
        chosen = load_options(path)
        run = read_run_data(chosen)
    types = types_of(run.train)
    architecture = architecture_registry.get("pet")
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
    parser.add_argument("--other", help="Python of an environment with another version of mtt")
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument(
        "--data", type=Path, default=EXAMPLE, help="energies and forces, extended XYZ"
    )
    parser.add_argument("--structures", type=int, default=90)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument(
        "--epochs", type=int, default=60, help="of the long run; the short one has two"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file for all figures")
    arguments = parser.parse_args()
    from ase.io import read, write

    programs = {"mtt": [sys.executable, "-m", "mtt"]}
    if arguments.other:
        programs["other mtt"] = [arguments.other, "-m", "mtt"]
    if arguments.metatrain:
        programs["metatrain"] = [arguments.metatrain, "-m", "metatrain"]
    steps = (arguments.epochs - 2) * (arguments.structures // arguments.batch)
    figures: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.xyz"
        write(data, read(arguments.data, f":{arguments.structures + 1}"))
        for size in arguments.sizes.split(","):
            weights, work = products(arguments, data, SIZES[size])
            texts = [options(arguments, data, SIZES[size], n) for n in (2, arguments.epochs)]
            results: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
            peaks = []
            for _ in range(arguments.rounds):
                peaks.append(peak(arguments.threads))
                for name, command in programs.items():
                    short, long = (measure(command, text, arguments.threads) for text in texts)
                    results[name].append(
                        ((long[0] - short[0]) / steps, (long[1] - short[1]) / steps)
                    )
            speed = statistics.median(peaks)
            print(
                f"{size}: {weights} weights, {work:.2f} GFLOP in products; peak {speed:.0f} GFLOP/s"
            )
            first = None
            for name, pairs in results.items():
                processor, wall = (statistics.median(column) for column in zip(*pairs, strict=True))
                first = first or (processor, wall)
                figures.append(
                    {"size": size, "program": name, "processor": processor, "wall": wall}
                    | {"peak": speed, "work": work, "weights": weights, "rounds": pairs}
                )
                print(
                    f"  {name:10s} processor {1e3 * processor:7.1f} ms ({processor / first[0]:.2f} x)"
                    f"  wall {1e3 * wall:7.1f} ms ({wall / first[1]:.2f} x)"
                    f"  {100 * work / speed / wall:3.0f} % of the peak",
                    flush=True,
                )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
