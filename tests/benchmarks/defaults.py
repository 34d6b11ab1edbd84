"""The study of defaults: which weights to export, which loss, learning rate, scale and warm-up.

    python tests/benchmarks/defaults.py OUT.jsonl --data FOLDER [--sets ...] [--variants ...] [--seeds 1,2,3]

FOLDER is that of ``study_data.py``; ethanol and the alloy are in docs/examples. Each training gives a
line of JSON with errors on held-out structures, for every rule that chooses the exported weights: one
training serves all rules, since its raw and averaged weights are looked at after each epoch. Lines that
are there already are not made again. ``--table`` prints the means over seeds.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accuracy import WIDTHS

from mtt.data.batch import batches
from mtt.data.dataset import Dataset
from mtt.data.grouping import by_number
from mtt.options import load_options
from mtt.training.baseline import Baseline, in_training_units
from mtt.training.loop import Problem, train
from mtt.training.loss import selected_metric
from mtt.training.prepare import Run, prepare

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
MODEL = {"cutoff": 4.5, **WIDTHS, "num_attention_layers": 1}
# What differs from options that version 1 had as defaults, but for the learning rate.
BASE: dict[str, Any] = {"learning_rate": 1e-3, "scale_targets": True}
# "balanced" is a weight of forces relative to equal terms at first.
VARIANTS: dict[str, dict[str, Any]] = {
    "lr1e-4": {"learning_rate": 1e-4},
    "lr3e-4": {"learning_rate": 3e-4},
    "lr1e-3": {},
    "lr3e-3": {"learning_rate": 3e-3},
    "energy10": {"loss": {"energy": 10.0}},
    "energy100": {"loss": {"energy": 100.0}},
    "balanced1": {"balanced": 1.0},
    "balanced10": {"balanced": 10.0},
    "balanced100": {"balanced": 100.0},
    "unscaled": {"scale_targets": False},
    "warmup": {"warmup_fraction": 0.1},
    "huber": {"loss": {"type": "huber"}},
    "by_forces": {"scale_targets": "forces"},
    "by_forces3": {"scale_targets": "forces", "learning_rate": 3e-3},
    "by_forces10": {"scale_targets": "forces", "loss": {"energy": 10.0}},
}
TEST, VALIDATION, TRAIN = 40, 20, 100


def options_of(path: Path, variant: Mapping[str, Any], seed: int, epochs: int) -> dict[str, Any]:
    """Return an options file: 100 structures to train on, 20 to validate, 40 to test."""
    training = {key: value for key, value in (BASE | variant).items() if key != "balanced"}
    return {
        "seed": seed,
        "device": "cpu",
        "architecture": {
            "name": "pet",
            "model": MODEL,
            "training": {"batch_size": 8, "num_epochs": epochs, **training},
        },
        "training_set": {
            "systems": {"read_from": str(path), "indices": chosen(path, seed)},
            "targets": {"energy": {"unit": "eV", "forces": True}},
        },
        "validation_set": [*range(VALIDATION)],
        "test_set": [*range(VALIDATION, VALIDATION + TEST)],
    }


def chosen(path: Path, seed: int) -> list[int]:
    """Return structures in a random order that depends on the seed."""
    count = path.read_text().count("Properties=")
    order = np.random.default_rng(seed).permutation(count)
    return [int(index) for index in order[: TEST + VALIDATION + TRAIN]]


class Watcher:
    """Keeps averages of the weights, and the errors of all kinds of weights after each epoch."""

    def __init__(self, run: Run, every: int, decays: Sequence[float]) -> None:
        self.run, self.every = run, every
        self.loss = run.problem.loss()
        self.sets = {"validation": run.problem.validation, "test": test_set(run)}
        self.weights = dict(run.state.model.named_parameters())
        self.averages = {
            decay: {name: weight.detach().clone() for name, weight in self.weights.items()}
            for decay in decays
        }
        self.rows: list[dict[str, Any]] = []

    def stop_requested(self) -> bool:
        return False

    @torch.no_grad()
    def step(self, loss: torch.Tensor, n_structures: int) -> None:
        step = self.run.state.position.step
        for decay, average in self.averages.items():
            own = min(decay, (1.0 + step) / (10.0 + step))
            for name, weight in self.weights.items():
                average[name].lerp_(weight, 1.0 - own)

    def epoch(self, row: dict[str, float]) -> None:
        epoch = int(row["epoch"])
        if epoch % self.every and epoch != self.run.problem.hypers.num_epochs:
            return
        kinds = {
            "raw": None,
            **{f"ema{decay}": average for decay, average in self.averages.items()},
        }
        for kind, average in kinds.items():
            own = {name: weight.data for name, weight in self.weights.items()}
            for name, weight in self.weights.items():
                weight.data = own[name] if average is None else average[name]
            metrics = {name: self.metrics(data) for name, data in self.sets.items()}
            for name, weight in self.weights.items():
                weight.data = own[name]
            self.rows.append({"epoch": epoch, "kind": kind, **metrics})

    def metrics(self, data: Dataset) -> dict[str, float]:
        problem, loss = self.run.problem, self.loss
        table = loss.new_table()
        core = self.run.state.model.core.eval()
        groups = by_number(range(len(data)), 16)
        for batch in batches(data, groups, problem.dtype, problem.device):
            loss.add(table, loss.errors(core, batch, training=False), batch)
        scale = float(self.run.state.model.baseline("energy").scale)
        return loss.metrics(table, {"energy": scale})


def test_set(run: Run) -> Dataset:
    model = run.state.model
    own = model.baseline("energy")
    baseline = {"energy": Baseline(own.composition.cpu().numpy(), float(own.scale))}
    converted = in_training_units(run.data.test, model.targets, model.atomic_types, baseline)
    return Dataset(converted, model.atomic_types, model.cutoff, model.targets)


def rules(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return test errors of the weights that each rule exports."""
    result = {}
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [row for row in rows if row["kind"] == kind]
        picks = {"last": own[-1]}
        for name in ("rmse_prod", "mae_prod", "loss"):
            values = [selected_metric(row["validation"], name) for row in own]
            picks[name] = own[int(np.argmin(values))]
            if name == "rmse_prod":
                log = np.log(np.maximum(values, 1e-300))
                # Of 50 looks, three are as near to 5 % of all epochs as it gets.
                smooth = [np.mean(log[max(0, k - 2) : k + 1]) for k in range(len(log))]
                picks["smoothed"] = own[int(np.argmin(smooth))]
        for name, row in picks.items():
            result[f"{kind} {name}"] = {
                "epoch": row["epoch"],
                "energy": 1e3 * row["test"]["energy_rmse_per_atom"],
                "forces": 1e3 * row["test"]["forces_rmse"],
            }
    return result


def train_one(
    path: Path, variant: dict[str, Any], seed: int, epochs: int, decays: Sequence[float]
) -> dict[str, Any]:
    options = load_options(options_of(path, variant, seed, epochs))
    run = prepare(options, None, Path("model.pt"), lambda _: None)
    if "balanced" in variant:
        run.problem = balanced(run.problem, variant["balanced"])
    watcher = Watcher(run, every=max(1, epochs // 50), decays=decays)
    begun = time.process_time()
    train(run.state, run.problem, watcher)
    curve = [
        {
            "epoch": row["epoch"],
            "energy": row["validation"]["energy_rmse_per_atom"],
            "forces": row["validation"]["forces_rmse"],
        }
        for row in watcher.rows
        if row["kind"] == "raw"
    ]
    return {"rules": rules(watcher.rows), "seconds": time.process_time() - begun, "curve": curve}


def balanced(problem: Problem, factor: float) -> Problem:
    """Give forces the weight with which both terms are equal at first, times a factor."""
    forces = np.concatenate(
        [
            problem.train[index].references["energy"].forces.ravel()
            for index in range(len(problem.train))
        ]
    )
    weight = factor / float(np.mean(forces * forces))
    loss = problem.hypers.loss.model_copy(update={"forces": weight})
    problem.hypers = problem.hypers.model_copy(update={"loss": loss})
    return problem


def table(path: Path) -> Iterator[str]:
    """Give rows of means over seeds, energy in meV/atom and forces in meV/angstrom."""
    sums: dict[tuple[str, str, str], list[tuple[float, float]]] = defaultdict(list)
    for line in path.read_text().splitlines():
        row = json.loads(line)
        for rule, errors in row["rules"].items():
            sums[row["set"], row["variant"], rule].append((errors["energy"], errors["forces"]))
    for key, values in sorted(sums.items()):
        energy, forces = np.mean(values, axis=0)
        yield f"{key[0]:10s} {key[1]:12s} {key[2]:20s} {energy:9.3f} {forces:9.2f}  n={len(values)}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--sets", default="ethanol,alloy,water,dry_ice,surface")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument(
        "--decays", type=float, nargs="*", default=[0.99], help="of averaged weights"
    )
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        print("\n".join(table(arguments.output)))
        return
    torch.set_num_threads(1)
    lines = arguments.output.read_text().splitlines() if arguments.output.exists() else []
    done = {tuple(json.loads(line)[key] for key in ("set", "variant", "seed")) for line in lines}
    for seed in map(int, arguments.seeds.split(",")):
        for name in arguments.sets.split(","):
            example = EXAMPLES / name / f"{name}.xyz"
            path = example if example.exists() else arguments.data / f"{name}.xyz"
            for variant in arguments.variants.split(","):
                if (name, variant, seed) in done:
                    continue
                result = train_one(
                    path, VARIANTS[variant], seed, arguments.epochs, arguments.decays
                )
                row = {"set": name, "variant": variant, "seed": seed, "epochs": arguments.epochs}
                row |= result
                with arguments.output.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(name, variant, seed, f"{result['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
