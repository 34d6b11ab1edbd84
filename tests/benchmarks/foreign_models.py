"""Make models with metatrain, and see what ``mtt-verify`` says about them. Run by hand:

``python tests/benchmarks/foreign_models.py METATRAIN FOLDER [NAME ...]``

METATRAIN is the folder of programs of an environment of its own, with the same torch as this one::

    python -m venv other && other/bin/pip install "metatrain[soap-bpnn,gap,mace,llpr,dpa3]"
    other/bin/pip install torch==2.13.0

in this order, because DPA3 asks for an older torch. Its program is then ``other/bin/mtt``. Models are tiny and hardly trained: what counts is what
their files do. Data are made here, from a pair potential. What was found, and why it is true, is in
docs/reference/verify-findings.md.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import yaml
from ase.calculators.singlepoint import SinglePointCalculator

from mtt.verify import run as verify

TYPES = [1, 6, 8, 29]
SMALL_PET = {
    "cutoff": 3.5,
    "cutoff_width": 0.5,
    "d_pet": 8,
    "d_head": 8,
    "d_node": 8,
    "d_feedforward": 8,
    "num_heads": 2,
    "num_attention_layers": 1,
    "num_gnn_layers": 2,
}
SMALL_SOAP = {
    "soap": {"max_angular": 2, "max_radial": 3, "cutoff": {"radius": 3.5, "width": 0.5}},
    "bpnn": {"num_hidden_layers": 1, "num_neurons_per_layer": 8},
}
SMALL_GAP = {
    "soap": {
        "cutoff": {"radius": 3.5, "smoothing": {"type": "ShiftedCosine", "width": 0.5}},
        "basis": {"max_angular": 2, "radial": {"max_radial": 2}},
    },
    "krr": {"degree": 2, "num_sparse_points": 20},
}
SMALL_MACE = {
    "r_max": 3.5,
    "hidden_irreps": "4x0e + 4x1o",
    "num_interactions": 2,
    "correlation": 2,
    "max_ell": 1,
    "MLP_irreps": "4x0e",
}
SMALL_DPA = {
    "descriptor": {
        "repflow": {
            "n_dim": 8,
            "e_dim": 8,
            "a_dim": 4,
            "nlayers": 2,
            "e_rcut": 3.5,
            "e_rcut_smth": 2.5,
            "e_sel": 100,
            "a_rcut": 3.0,
            "a_rcut_smth": 2.0,
            "a_sel": 50,
            "axis_neuron": 2,
        }
    },
    "fitting_net": {"neuron": [8, 8]},
}


def double_dpa() -> dict[str, Any]:
    """DPA3 states the precision of each part by itself."""
    return {part: {**hypers, "precision": 64} for part, hypers in SMALL_DPA.items()}


def variants() -> dict[str, dict[str, Any]]:
    """Name of a model: architecture, hypers, precision, units."""

    def one(name: str, hypers: dict[str, Any], precision: int = 32, **rest: Any) -> dict[str, Any]:
        return {"architecture": name, "hypers": hypers, "precision": precision, **rest}

    pet = {
        "pet 32": one("pet", SMALL_PET),
        "pet 64": one("pet", SMALL_PET, 64),
        "pet one layer 64": one("pet", {**SMALL_PET, "num_gnn_layers": 1}, 64),
        "pet three layers 64": one("pet", {**SMALL_PET, "num_gnn_layers": 3}, 64),
        "pet residual 64": one("pet", {**SMALL_PET, "featurizer_type": "residual"}, 64),
        "pet adaptive 64": one("pet", {**SMALL_PET, "num_neighbors_adaptive": 8}, 64),
        "pet cosine 64": one("pet", {**SMALL_PET, "cutoff_function": "Cosine"}, 64),
        "pet zbl 64": one("pet", {**SMALL_PET, "zbl": True}, 64),
        "pet kcal/mol 64": one("pet", SMALL_PET, 64, energy_unit="kcal/mol"),
        "pet stress 32": one("pet", SMALL_PET, stress=True),
        "pet layer norm 64": one("pet", {**SMALL_PET, "normalization": "LayerNorm"}, 64),
    }
    soap = {
        "soap-bpnn 32": one("soap_bpnn", SMALL_SOAP),
        "soap-bpnn 64": one("soap_bpnn", SMALL_SOAP, 64),
        "soap-bpnn zbl 64": one("soap_bpnn", {**SMALL_SOAP, "zbl": True}, 64),
        "soap-bpnn new basis 64": one("soap_bpnn", {**SMALL_SOAP, "legacy": False}, 64),
        "soap-bpnn kcal/mol 32": one("soap_bpnn", SMALL_SOAP, energy_unit="kcal/mol"),
    }
    others = {
        "gap 64": one("gap", SMALL_GAP, 64),
        "gap zbl 64": one("gap", {**SMALL_GAP, "zbl": True}, 64),
        "mace 32": one("experimental.mace", SMALL_MACE),
        "mace 64": one("experimental.mace", SMALL_MACE, 64),
        "mace one layer 64": one("experimental.mace", {**SMALL_MACE, "num_interactions": 1}, 64),
        "dpa3 32": one("experimental.dpa3", SMALL_DPA),
        "dpa3 64": one("experimental.dpa3", double_dpa(), 64),
        "llpr of pet 64": one("llpr", {"num_ensemble_members": {"energy": 4}}, 64, of="pet 64"),
        "llpr of soap-bpnn 32": one("llpr", {}, 32, of="soap-bpnn 32"),
    }
    outputs = {
        "pet non-conservative 64": one(
            "pet", SMALL_PET, 64, targets=["energy", "forces", "stress"]
        ),
        "pet two variants 64": one("pet", SMALL_PET, 64, targets=["energy/pbe", "energy/scan"]),
        "pet energy and variant 32": one("pet", SMALL_PET, 32, targets=["energy", "energy/pbe"]),
        "pet dipole 64": one("pet", SMALL_PET, 64, targets=["dipole"]),
        "pet charges 32": one("pet", SMALL_PET, 32, targets=["charges"]),
        "pet energy and charges 64": one("pet", SMALL_PET, 64, targets=["energy", "charges"]),
        "pet quadrupole 64": one("pet", SMALL_PET, 64, targets=["quadrupole"]),
        "soap-bpnn dipole 64": one("soap_bpnn", SMALL_SOAP, 64, targets=["dipole"]),
        "pet charge and spin 64": one(
            "pet", {**SMALL_PET, "system_conditioning": True}, 64, inputs=True
        ),
        "pet long range 64": one("pet", {**SMALL_PET, "long_range": {"enable": True}}, 64),
        "flashmd 64": one("experimental.flashmd", SMALL_PET, 64, targets=["positions", "momenta"]),
        "pet residual adaptive 64": one(
            "pet",
            {**SMALL_PET, "featurizer_type": "residual", "num_neighbors_adaptive": 8},
            64,
        ),
        "pet without units 64": one("pet", SMALL_PET, 64, energy_unit="", length_unit=""),
    }
    return {**pet, **soap, **others, **outputs}


# Beside the energy; each is in the data of data().
TARGETS: dict[str, tuple[str, dict[str, Any]]] = {
    "forces": (
        "non_conservative_force",
        {
            "key": "forces",
            "unit": "eV/A",
            "sample_kind": "atom",
            "type": {"cartesian": {"rank": 1}},
        },
    ),
    "stress": (
        "non_conservative_stress",
        {
            "key": "stress",
            "unit": "eV/A^3",
            "type": {"cartesian": {"rank": 2}},
        },
    ),
    "dipole": ("mtt::dipole", {"key": "total_dipole", "type": {"cartesian": {"rank": 1}}}),
    "charges": ("mtt::charges", {"key": "partial_charges", "sample_kind": "atom"}),
    "quadrupole": (
        "mtt::quadrupole",
        {
            "key": "quadrupole",
            "type": {"spherical": {"irreps": [{"o3_lambda": 2, "o3_sigma": 1}]}},
        },
    ),
    "positions": (
        "positions",
        {
            "key": "future_positions",
            "unit": "A",
            "sample_kind": "atom",
            "type": {"cartesian": {"rank": 1}},
        },
    ),
    "momenta": (
        "momenta",
        {
            "key": "future_momenta",
            "unit": "(eV*u)^(1/2)",
            "sample_kind": "atom",
            "type": {"cartesian": {"rank": 1}},
        },
    ),
}


def pair_energy(atoms: ase.Atoms) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy, forces and stress of a smooth pair potential, by differences."""

    def energy(x: np.ndarray, cell: np.ndarray) -> float:
        shifts = [np.zeros(3)]
        if atoms.pbc.any():
            grid = np.array(np.meshgrid(*[[-1, 0, 1]] * 3)).reshape(3, -1).T
            shifts = list(grid @ cell)
        total = 0.0
        for shift in shifts:
            squared = ((x[None] + shift - x[:, None]) ** 2).sum(-1)
            terms = np.where(squared > 1e-8, np.exp(-squared) - 0.3 * np.exp(-0.25 * squared), 0.0)
            total += 0.5 * float(terms.sum())
        return total

    x, cell, step = atoms.positions, atoms.cell.array, 1e-4
    forces = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        change = np.zeros_like(x)
        change[index] = step
        forces[index] = -(energy(x + change, cell) - energy(x - change, cell)) / (2 * step)
    strain = np.zeros((3, 3))
    for index in np.ndindex(3, 3):
        change = np.zeros((3, 3))
        change[index] = step
        up, down = np.eye(3) + change, np.eye(3) - change
        strain[index] = (energy(x @ up, cell @ up) - energy(x @ down, cell @ down)) / (2 * step)
    volume = abs(np.linalg.det(cell)) or 1.0
    return energy(x, cell), forces, strain / volume


def data(path: Path, count: int = 24) -> None:
    """Small boxes with all types."""
    random = np.random.Generator(np.random.Philox(3))
    frames = []
    for _ in range(count):
        grid = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1, 2], indexing="ij"), -1).reshape(-1, 3)
        x = 2.2 * grid + random.uniform(-0.3, 0.3, (12, 3))
        atoms = ase.Atoms(random.choice(TYPES, 12), x, cell=[4.4, 4.4, 6.6], pbc=True)
        atoms.numbers[:4] = TYPES
        energy, forces, stress = pair_energy(atoms)
        atoms.arrays["partial_charges"] = np.tanh(0.1 * forces.sum(1) + 0.05 * atoms.numbers)
        atoms.info["total_dipole"] = (
            atoms.arrays["partial_charges"][:, None] * (x - x.mean(0))
        ).sum(0)
        atoms.info["quadrupole"] = random.normal(0.0, 1.0, 5)
        atoms.info["charge"], atoms.info["spin_multiplicity"] = 0, 1
        momenta = random.normal(0.0, 1.0, (12, 3))
        atoms.set_momenta(momenta)
        atoms.arrays["future_positions"] = x + 0.01 * momenta
        atoms.arrays["future_momenta"] = momenta + 0.1 * forces
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, stress=stress)
        frames.append(atoms)
    ase.io.write(path, frames, format="extxyz")


def options(variant: dict[str, Any], folder: Path, base: Path) -> dict[str, Any]:
    """Options of metatrain."""
    training: dict[str, Any] = {"num_epochs": 2, "batch_size": 6}
    if variant["architecture"] == "gap":
        training = {}
    if "of" in variant:
        training = {
            "model_checkpoint": str(base / slug(variant["of"]) / "model.ckpt"),
            "batch_size": 6,
        }
    energy = {
        "key": "energy",
        "unit": variant.get("energy_unit", "eV"),
        "forces": True,
        "stress": variant.get("stress", False),
    }
    targets = {}
    for name in variant.get("targets", ["energy"]):
        output, target = TARGETS.get(name, (name, energy))
        targets[output] = target
    systems = {
        "read_from": str(base / "data.xyz"),
        "length_unit": variant.get("length_unit", "angstrom"),
    }
    entry: dict[str, Any] = {"systems": systems, "targets": targets}
    if variant.get("inputs"):
        entry["extra_data"] = {name: {"key": name} for name in ("charge", "spin_multiplicity")}
    if "flashmd" in variant["architecture"]:
        training["timestep"] = 1.0
    return {
        "device": "cpu",
        "base_precision": variant["precision"],
        "seed": 1,
        "architecture": {
            "name": variant["architecture"],
            "model": variant["hypers"],
            "training": training,
        },
        "training_set": entry,
        "validation_set": 0.25,
        "test_set": 0.0,
    }


def slug(name: str) -> str:
    return name.replace(" ", "-").replace("/", "-per-")


def make(name: str, variant: dict[str, Any], base: Path, programs: Path) -> str:
    """Train and export one model; the text says why that did not work."""
    folder = base / slug(name)
    if (folder / "model.pt").exists():
        return ""
    folder.mkdir(exist_ok=True)
    (folder / "options.yaml").write_text(yaml.safe_dump(options(variant, folder, base)))
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in ("PYTHONPATH", "MTT_VERIFY", "VIRTUAL_ENV")
    }
    done = subprocess.run(
        [str(programs / "mtt"), "train", "options.yaml", "-o", "model.pt", "-e", "extensions"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    (folder / "log.txt").write_text(done.stdout + done.stderr)
    if (folder / "model.pt").exists():
        return ""
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no output"


def findings(path: Path, level: str) -> Iterator[tuple[str, str]]:
    """Verdicts, and what is wrong, worst first."""
    extensions = path.parent / "extensions"
    report = verify.verify(
        path, level=level, extensions=extensions if extensions.is_dir() else None
    )
    (path.parent / f"{level}.json").write_text(report.text)
    for verdict in report.verdicts:
        yield verdict.title, f"{verdict.answer}: {verdict.reason}" if verdict.reason else "yes"
    for finding in report.findings:
        yield f"  {finding.label}", f"{finding.severity}: {finding.cause}"
    yield "", f"{report.count('pass')} checks passed, {report.seconds:.1f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("programs", type=Path, metavar="METATRAIN")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--level", default="full")
    arguments = parser.parse_args()
    base = arguments.folder.resolve()
    base.mkdir(exist_ok=True)
    if not (base / "data.xyz").exists():
        data(base / "data.xyz")
    found: dict[str, list[tuple[str, str]]] = {}
    for name, variant in variants().items():
        if arguments.names and name not in arguments.names:
            continue
        start = time.perf_counter()
        problem = make(name, variant, base, arguments.programs.resolve())
        made = time.perf_counter() - start
        path = base / slug(name) / "model.pt"
        found[name] = [("not made", problem)] if problem else list(findings(path, arguments.level))
        print(f"{name} ({made:.0f} s to make)")
        for check, message in found[name]:
            print(f"    {check:44} {message[:200]}", flush=True)
    (base / "findings.json").write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    sys.exit(main())
