"""A step of training and a step of dynamics in ASE, with mtt, metatrain, MACE and NequIP, in turns.

    python tests/benchmarks/peers.py --python mace=ENV/bin/python --python nequip=ENV/bin/python

Each ``ENV`` is a virtual environment with that program; ours is the Python that runs this script. ``run.py
--against mace`` makes such environments and calls this script.

Every program trains its model as it comes (below, ``MODELS``) on the same ethanols, energies and forces in
float32, and looks at its clocks at the end of each epoch; a figure is the median epoch without the first two,
divided by its steps. Then its own calculator for ASE, with the file that it gives to users, computes forces of
boxes of liquid ethanol, each time with other positions, neighbor list included. The models are not of the same
accuracy: their numbers of weights and cutoffs are beside the figures.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import yaml
from ase import Atoms
from run import liquid, molecule
from training_step import EXAMPLE, METATRAIN, OURS, SKIPPED

# What each program is asked for; for the rest it takes its own defaults.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "mtt pet": ("mtt", {"name": "pet"}),
    "mtt soap_bpnn": ("mtt", {"name": "soap_bpnn"}),
    "metatrain pet": ("metatrain", {"name": "pet"}),
    # Its paper's sizes: 128 channels, messages up to vectors, two layers.
    "mace": ("mace", {"num_channels": 128, "max_L": 1, "r_max": 5.0}),
    # As in its tutorial: four layers, 32 features, up to vectors.
    "nequip": ("nequip", {"r_max": 5.0, "num_layers": 4, "l_max": 1, "num_features": 32}),
}
TYPES = ["H", "C", "O"]
CLOCKS = """
import time
def clocks(): print("clocks", time.process_time(), time.perf_counter(), flush=True)
"""
MACE = (
    CLOCKS
    + """
from importlib import import_module
from mace.cli.run_train import main
# The package gives a function of this name as well.
train = import_module("mace.tools.train")
one_epoch = train.train_one_epoch
def train_one_epoch(*arguments, **named):
    one_epoch(*arguments, **named)
    clocks()
train.train_one_epoch = train_one_epoch
main()
"""
)
NEQUIP = (
    CLOCKS
    + """
from nequip.scripts.train import main
from nequip.train import NequIPLightningModule
end = NequIPLightningModule.on_train_epoch_end
def on_train_epoch_end(self):
    end(self)
    clocks()
NequIPLightningModule.on_train_epoch_end = on_train_epoch_end
main()
"""
)
WITHOUT_EXPORT = """
from pathlib import Path
from mtt.options import load_options
from mtt.training import run
run._export = lambda *arguments, **named: None
run.run(load_options(Path("options.yaml")))
"""
# The calculator that each program gives to users of ASE, from the file that it exports.
CALCULATORS = {
    "mtt": "from metatomic_ase import MetatomicCalculator\ncalculator = MetatomicCalculator('model.pt', device='cpu')",
    "mace": (
        "from mace.calculators import MACECalculator\n"
        "calculator = MACECalculator('peer.model', device='cpu', default_dtype='float32')"
    ),
    "nequip": (
        "from nequip.integrations.ase import NequIPCalculator\n"
        "calculator = NequIPCalculator.from_compiled_model("
        "'model.nequip.pt2', device='cpu', chemical_species_to_atom_type_map=True)"
    ),
}
CALCULATORS["metatrain"] = CALCULATORS["mtt"]
CALLS = """
import json, resource, statistics, sys, time
import ase.io, numpy as np
{calculator}
rng = np.random.default_rng(0)
for number in range({boxes}):
    atoms = ase.io.read(f"box{{number}}.xyz")
    atoms.calc = calculator
    pairs = []
    for call in range({calls} + 3):
        atoms.positions += rng.normal(scale=0.001, size=atoms.positions.shape)
        processor, wall = time.process_time(), time.perf_counter()
        atoms.get_forces()
        pairs.append((time.process_time() - processor, time.perf_counter() - wall))
    middle = [statistics.median(column) for column in zip(*pairs[3:])]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("call", json.dumps([len(atoms), *middle, memory]), flush=True)
"""


def metatomic_options(architecture: dict[str, Any], batch: int, epochs: int) -> dict[str, Any]:
    """Return options of training that mtt and metatrain take."""

    def dataset(name: str) -> dict[str, Any]:
        systems = {"read_from": name, "length_unit": "angstrom"}
        energy = {"key": "energy", "unit": "eV", "forces": {"key": "forces"}, "stress": False}
        return {"systems": systems, "targets": {"energy": energy}}

    training = {"num_epochs": epochs, "batch_size": batch, "num_workers": 0, "log_interval": 1}
    return {
        "seed": 0,
        "device": "cpu",
        "base_precision": 32,
        "architecture": {**architecture, "training": training},
        "training_set": dataset("training.xyz"),
        "validation_set": dataset("validation.xyz"),
        "test_set": 0.0,
    }


def mace_arguments(model: dict[str, Any], batch: int, epochs: int) -> list[str]:
    """Return the command line of ``mace_run_train``."""
    given = {
        "name": "peer",
        "train_file": "training.xyz",
        "valid_file": "validation.xyz",
        "E0s": "average",
        "energy_key": "energy",
        "forces_key": "forces",
        "batch_size": batch,
        "valid_batch_size": 1,
        "max_num_epochs": epochs,
        "default_dtype": "float32",
        "device": "cpu",
        "seed": 0,
        **model,
    }
    return [f"--{name}={value}" for name, value in given.items()]


def nequip_config(model: dict[str, Any], folder: Path, batch: int, epochs: int) -> dict[str, Any]:
    """Return what ``nequip-train`` reads."""
    loader = {"_target_": "torch.utils.data.DataLoader", "batch_size": batch}
    metrics = {
        "_target_": "nequip.train.EnergyForceMetrics",
        "coeffs": {"total_energy_mae": 1.0, "forces_mae": 1.0},
    }
    return {
        "run": ["train"],
        "data": {
            "_target_": "nequip.data.datamodule.ASEDataModule",
            "seed": 0,
            "train_file_path": str(folder / "training.xyz"),
            "val_file_path": str(folder / "validation.xyz"),
            "test_file_path": [],
            "transforms": [
                {
                    "_target_": "nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper",
                    "model_type_names": TYPES,
                },
                {
                    "_target_": "nequip.data.transforms.NeighborListTransform",
                    "r_max": model["r_max"],
                },
            ],
            "train_dataloader": {**loader, "shuffle": True},
            "val_dataloader": loader,
            "stats_manager": {
                "_target_": "nequip.data.CommonDataStatisticsManager",
                "dataloader_kwargs": {"batch_size": batch},
                "type_names": TYPES,
            },
        },
        "trainer": {
            "_target_": "lightning.Trainer",
            "accelerator": "cpu",
            "max_epochs": epochs,
            "logger": False,
            "enable_progress_bar": False,
            "callbacks": [
                {
                    "_target_": "lightning.pytorch.callbacks.ModelCheckpoint",
                    "dirpath": str(folder),
                    "filename": "peer",
                }
            ],
        },
        "training_module": {
            "_target_": "nequip.train.EMALightningModule",
            "loss": {
                "_target_": "nequip.train.EnergyForceLoss",
                "per_atom_energy": True,
                "coeffs": {"total_energy": 1.0, "forces": 1.0},
            },
            "val_metrics": metrics,
            "train_metrics": metrics,
            "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.001},
            "model": {
                "_target_": "nequip.model.NequIPGNNModel",
                "seed": 0,
                "model_dtype": "float32",
                "type_names": TYPES,
                "avg_num_neighbors": "${training_data_stats:num_neighbors_mean}",
                "per_type_energy_scales": "${training_data_stats:per_type_forces_rms}",
                "per_type_energy_shifts": "${training_data_stats:per_atom_energy_mean}",
                **model,
            },
        },
    }


class Peer:
    """A program and one of its models."""

    def __init__(self, name: str, pythons: dict[str, str]) -> None:
        self.name = name
        self.program, self.model = MODELS[name]
        self.python = os.path.abspath(pythons[self.program])

    def train(self, folder: Path, batch: int, epochs: int) -> str:
        """Train, and return what was printed."""
        if self.program == "mace":
            return self.run(folder, ["-c", MACE, *mace_arguments(self.model, batch, epochs)])
        if self.program == "nequip":
            config = nequip_config(self.model, folder, batch, epochs)
            (folder / "config.yaml").write_text(yaml.safe_dump(config))
            return self.run(folder, ["-c", NEQUIP, "-cp", str(folder), "-cn", "config"])
        options = metatomic_options(self.model, batch, epochs)
        (folder / "options.yaml").write_text(yaml.safe_dump(options))
        return self.run(
            folder, ["-c", OURS, "with"] if self.program == "mtt" else ["-c", METATRAIN]
        )

    def export(self, folder: Path, batch: int) -> None:
        """Have the file ready that the calculator reads, of a training of one epoch."""
        print(f"{self.name}: making a model", flush=True)
        self.train(folder, batch, 1)
        if self.program == "nequip":
            words = ["-c", "from nequip.scripts.compile import main; main()"]
            words += ["peer.ckpt", "model.nequip.pt2", "--mode", "aotinductor", "--device", "cpu"]
            self.run(folder, [*words, "--target", "ase"])
        elif self.program == "mtt":
            # The text that looks at clocks writes no file. Verification takes long, and is no part of this.
            self.run(folder, ["-c", WITHOUT_EXPORT])
            self.run(folder, ["-m", "mtt", "export", "--no-verify", "model.ckpt", "-o", "model.pt"])

    def calls(self, folder: Path, boxes: int, calls: int) -> list[list[float]]:
        """Return atoms, processor time, wall time (s) and peak memory (MB) of a call on each box."""
        text = CALLS.format(calculator=CALCULATORS[self.program], boxes=boxes, calls=calls)
        printed = self.run(folder, ["-c", text])
        lines = printed.splitlines()
        return [json.loads(line[5:]) for line in lines if line.startswith("call ")]

    def run(self, folder: Path, words: list[str]) -> str:
        """Run the program's Python in a folder with one thread."""
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        done = subprocess.run(
            [self.python, *words], cwd=folder, env=environment, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise SystemExit(f"{self.name} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout


def in_cells(frames: list[Atoms]) -> list[Atoms]:
    """Return molecules in cells so large that they do not meet themselves.

    NequIP tries what it compiles on the data of its training, stress included: it divides by volumes.
    """
    cell = np.eye(3) * 30.0
    return [Atoms(frame, cell=cell, pbc=True, calculator=frame.calc) for frame in frames]


def epoch_of(printed: str, epochs: int) -> list[float]:
    """Return the median processor time and wall time (s) of the epochs that count."""
    lines = [line.split()[1:] for line in printed.splitlines() if line.startswith("clocks ")]
    if len(lines) != epochs:
        raise SystemExit(f"{len(lines)} epochs instead of {epochs}:\n{printed[-3000:]}")
    ends = [[float(word) for word in line] for line in lines][SKIPPED - 1 :]
    pairs = list(zip(ends, ends[1:], strict=False))
    return [statistics.median(after[k] - before[k] for before, after in pairs) for k in (0, 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", action="append", default=[], metavar="PROGRAM=PYTHON")
    parser.add_argument("--models", default=",".join(MODELS), help="some of them")
    parser.add_argument("--structures", type=int, default=90)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=5)
    parser.add_argument("--atoms", default="9,72,576", help="9 is a molecule, the rest liquids")
    parser.add_argument("--json", type=Path, help="file for all figures")
    arguments = parser.parse_args()
    pythons = {"mtt": sys.executable} | dict(one.split("=", 1) for one in arguments.python)
    wanted = [name for name in arguments.models.split(",") if MODELS[name][0] in pythons]
    peers = [Peer(name, pythons) for name in wanted]
    sizes = [int(number) for number in arguments.atoms.split(",")]
    boxes: list[Atoms] = [molecule() if size == 9 else liquid(size // 9, 0) for size in sizes]
    steps = arguments.structures // arguments.batch
    training: dict[str, list[list[float]]] = {peer.name: [] for peer in peers}
    calls: dict[str, list[list[list[float]]]] = {peer.name: [] for peer in peers}
    with tempfile.TemporaryDirectory() as name:
        folders = {peer.name: Path(name) / peer.name.replace(" ", "-") for peer in peers}
        frames = ase.io.read(EXAMPLE, f":{arguments.structures + 1}")
        for peer in peers:
            folder = folders[peer.name]
            folder.mkdir()
            given = in_cells(frames) if peer.program == "nequip" else frames
            ase.io.write(folder / "training.xyz", given[:-1])
            ase.io.write(folder / "validation.xyz", given[-1:])
            for number, box in enumerate(boxes):
                ase.io.write(folder / f"box{number}.xyz", box)
            peer.export(folder, arguments.batch)
        for _ in range(arguments.rounds):
            for peer in peers:
                folder = folders[peer.name]
                calls[peer.name].append(peer.calls(folder, len(boxes), arguments.calls))
                # In a folder of its own: programs take up what they find.
                with tempfile.TemporaryDirectory() as fresh:
                    for file in ("training.xyz", "validation.xyz"):
                        (Path(fresh) / file).write_bytes((folder / file).read_bytes())
                    printed = peer.train(Path(fresh), arguments.batch, arguments.epochs)
                epoch = epoch_of(printed, arguments.epochs)
                training[peer.name].append([seconds / steps for seconds in epoch])
    figures: list[dict[str, Any]] = []
    for peer in peers:
        columns = zip(*training[peer.name], strict=True)
        processor, wall = (statistics.median(column) for column in columns)
        case = f"ethanol, batch {arguments.batch}"
        figures.append({"part": "training step", "case": case, "program": peer.name})
        figures[-1] |= {"processor": processor, "wall": wall, "memory": None}
        for found in zip(*calls[peer.name], strict=True):
            columns = zip(*found, strict=True)
            atoms, processor, wall, memory = (statistics.median(column) for column in columns)
            figures.append({"part": "call in ASE", "case": f"{atoms:.0f} atoms"})
            figures[-1] |= {"program": peer.name, "processor": processor, "wall": wall}
            figures[-1]["memory"] = memory
    for figure in figures:
        memory = f"  {figure['memory']:.0f} MB" if figure["memory"] else ""
        print(
            f"{figure['part']:14s} {figure['case']:20s} {figure['program']:14s}"
            f" processor {1e3 * figure['processor']:8.1f} ms  wall {1e3 * figure['wall']:8.1f} ms{memory}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
