"""Models whose declared range is one cutoff short: which of them does ``mtt-verify`` find? Run by hand:

``python tests/benchmarks/receptive_field.py METATRAIN FOLDER``

METATRAIN is the folder of programs of an environment of its own, as for ``foreign_models.py``. With
it, PET models of random hypers and random weights are made, each in two files: with the range that
its construction has, and with one cutoff less. The truth does not come from the verifier: boxes and
clusters of several densities are cut in two, each half is given the atoms within the declared range
as ghosts, and the sum is compared with the undivided system. Then the program runs on both files,
and the table says which it stops.
"""

import argparse
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

COUNT = 40
DENSITIES = [0.02, 0.035, 0.05, 0.07, 0.1]  # atoms per cubic angstrom
ELEMENTS = [[1, 6, 8], [1, 6, 7, 8], [1, 8], [14], [3, 15, 16], [13, 29], [6], [1, 6, 8, 29]]
REPEAT = {32: 3e-5, 64: 1e-11}  # "repeat" of the verifier's tolerance table
ABOUT = ("receptive field", "energy", "atomic energies", "forces", "virial")


def draw(number: int) -> dict[str, Any]:
    """Hypers, precision and atomic types of one model, with the range that they amount to."""
    random = np.random.Generator(np.random.Philox(key=[15, number]))
    d_pet = int(random.choice([8, 12, 16, 32]))
    hypers: dict[str, Any] = {
        "cutoff": round(float(random.uniform(3.0, 5.0)), 2),
        "cutoff_width": round(float(random.uniform(0.2, 1.2)), 2),
        "cutoff_width_adaptive": round(float(random.uniform(0.4, 1.5)), 2),
        "num_neighbors_adaptive": int(random.integers(4, 25)) if random.random() < 0.5 else None,
        "adaptive_cutoff_method": str(random.choice(["solver", "grid"])),
        "cutoff_function": str(random.choice(["Cosine", "Bump"])),
        "featurizer_type": str(random.choice(["feedforward", "feedforward", "residual"])),
        "num_gnn_layers": int(random.integers(1, 4)),
        "num_attention_layers": int(random.integers(1, 3)),
        "num_heads": int(random.choice([1, 2, 4])),
        "d_pet": d_pet,
        "d_node": d_pet * int(random.integers(1, 3)),
        "d_head": d_pet,
        "d_feedforward": d_pet * int(random.integers(1, 3)),
        "normalization": str(random.choice(["RMSNorm", "LayerNorm"])),
        "transformer_type": str(random.choice(["PreLN", "PostLN"])),
        "activation": str(random.choice(["SiLU", "SwiGLU"])),
    }
    further = hypers["featurizer_type"] == "feedforward"
    adaptive = hypers["num_neighbors_adaptive"] is not None
    if hypers["num_gnn_layers"] + further + adaptive == 1:
        hypers["num_gnn_layers"] = 2  # one cutoff less would be no range at all
    # The exchange after the last layer reaches one cutoff further; so does the neighbor count of
    # the other atom of a pair, on which the cutoff of the pair depends.
    steps = hypers["num_gnn_layers"] + further + adaptive
    return {
        "number": number,
        "hypers": hypers,
        "precision": int(random.choice([32, 64])),
        "types": ELEMENTS[int(random.integers(len(ELEMENTS)))],
        "range": steps * hypers["cutoff"],
    }


def make(folder: Path) -> None:
    """Write the models; runs in metatrain's environment."""
    import torch
    from metatomic.torch import AtomisticModel, ModelCapabilities
    from metatrain.pet import PET
    from metatrain.utils.architectures import get_default_hypers
    from metatrain.utils.data import DatasetInfo
    from metatrain.utils.data.target_info import get_energy_target_info

    for number in range(COUNT):
        place = folder / f"{number:02}"
        if (place / "short.pt").exists():
            continue
        place.mkdir(parents=True, exist_ok=True)
        drawn = draw(number)
        torch.manual_seed(number)
        target = get_energy_target_info("energy", {"quantity": "energy", "unit": "eV"})
        about = DatasetInfo("angstrom", drawn["types"], {"energy": target})
        model = PET({**get_default_hypers("pet")["model"], **drawn["hypers"]}, about)
        dtype = torch.float32 if drawn["precision"] == 32 else torch.float64
        exported = model.to(dtype).export()
        declared = exported.capabilities()
        drawn["declared by metatrain"] = declared.interaction_range
        for name, reach in (
            ("true", drawn["range"]),
            ("short", drawn["range"] - drawn["hypers"]["cutoff"]),
        ):
            changed = ModelCapabilities(
                outputs=declared.outputs,
                atomic_types=declared.atomic_types,
                interaction_range=reach,
                length_unit=declared.length_unit,
                supported_devices=declared.supported_devices,
                dtype=declared.dtype,
            )
            AtomisticModel(exported.module, exported.metadata(), changed).save(place / f"{name}.pt")
        (place / "drawn.json").write_text(json.dumps(drawn, indent=1))


def random_atoms(random: np.random.Generator, box: np.ndarray, density: float) -> np.ndarray:
    """Positions in a box whose last two axes repeat, none of them close to another."""
    apart = min(2.0, 0.75 * density ** (-1 / 3))
    kept: list[np.ndarray] = []
    while len(kept) < round(density * box.prod()):
        trial = box * random.random(3)
        away = np.array(kept).reshape(-1, 3) - trial
        away[:, 1:] -= box[1:] * np.round(away[:, 1:] / box[1:])
        if not len(kept) or (away**2).sum(1).min() > apart**2:
            kept.append(trial)
    return np.array(kept)


class Engine:
    """Energies and forces of a file, by metatomic from Python."""

    def __init__(self, path: Path, cutoff: float, precision: int) -> None:
        import torch
        from metatomic.torch import ModelEvaluationOptions, ModelOutput, load_atomistic_model

        self.torch = torch
        self.model = load_atomistic_model(str(path))
        self.cutoff = cutoff
        self.dtype = torch.float32 if precision == 32 else torch.float64
        self.options = ModelEvaluationOptions
        self.output = {"energy": ModelOutput(unit="eV", sample_kind="system")}

    def __call__(
        self, types: np.ndarray, x: np.ndarray, cell: np.ndarray, local: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """Energy of the ``local`` atoms, and minus its gradient for all."""
        import vesin
        from metatensor.torch import Labels, TensorBlock
        from metatomic.torch import NeighborListOptions, System, register_autograd_neighbors

        torch = self.torch
        periodic = np.abs(cell).sum(1) > 0
        system = System(
            torch.tensor(types, dtype=torch.int32),
            torch.tensor(x, dtype=self.dtype, requires_grad=True),
            torch.tensor(cell, dtype=self.dtype),
            torch.tensor(periodic),
        )
        i, j, shifts, vectors = vesin.NeighborList(cutoff=self.cutoff, full_list=True).compute(
            x, cell, periodic, "ijSD"
        )
        samples = np.concatenate([i[:, None], j[:, None], shifts], axis=1).astype(np.int32)
        names = ["first_atom", "second_atom", "cell_shift_a", "cell_shift_b", "cell_shift_c"]
        block = TensorBlock(
            torch.tensor(vectors, dtype=self.dtype).reshape(-1, 3, 1),
            Labels(names, torch.tensor(samples)),
            [Labels(["xyz"], torch.arange(3, dtype=torch.int32).reshape(-1, 1))],
            Labels(["distance"], torch.zeros((1, 1), dtype=torch.int32)),
        )
        register_autograd_neighbors(system, block)
        for strict in (True, False):
            system.add_neighbor_list(NeighborListOptions(self.cutoff, True, strict), block)
        rows = np.stack([np.zeros(len(local)), local], axis=1).astype(np.int32)
        selected = Labels(["system", "atom"], torch.tensor(rows))
        options = self.options("angstrom", self.output, selected)
        energy = self.model([system], options, False)["energy"].block().values.sum()
        (gradient,) = torch.autograd.grad(energy, system.positions)
        return float(energy), -gradient.to(torch.float64).numpy()


def halves(
    engine: Engine, types: np.ndarray, x: np.ndarray, cell: np.ndarray, length: float, reach: float
) -> tuple[float, np.ndarray]:
    """Energy and forces of two halves along the first axis, each with its ghosts, added up.

    :param length: of the box along the first axis, in which it repeats if ``cell`` says so
    """
    energy, forces = 0.0, np.zeros_like(x)
    open_cell = cell.copy()
    open_cell[0] = 0
    images = range(-2, 3) if cell[0].any() else [0]
    for half in (0, 1):
        low, high = half * length / 2, (half + 1) * length / 2
        local = np.flatnonzero((x[:, 0] >= low) & (x[:, 0] < high))
        origin, places = [local], [x[local]]
        for image in images:
            moved = x + image * cell[0]
            inside = (moved[:, 0] >= low - reach) & (moved[:, 0] < high + reach)
            if image == 0:
                inside[local] = False
            origin.append(np.flatnonzero(inside))
            places.append(moved[inside])
        owner = np.concatenate(origin)
        part, pull = engine(types[owner], np.concatenate(places), open_cell, np.arange(len(local)))
        energy += part
        np.add.at(forces, owner, pull)
    return energy, forces


def truth(folder: Path, drawn: dict[str, Any], name: str) -> dict[str, Any]:
    """Largest error of the two halves in units of the tolerance, and where it is."""
    cutoff, precision = drawn["hypers"]["cutoff"], drawn["precision"]
    reach = drawn["range"] - (cutoff if name == "short" else 0.0)
    engine = Engine(folder / f"{name}.pt", cutoff, precision)
    random = np.random.Generator(np.random.Philox(key=[16, drawn["number"]]))
    worst = {"ratio": 0.0, "percent": 0.0, "where": ""}
    for density in DENSITIES:
        for periodic in (True, False):
            length = (4.4 if periodic else 2.3) * reach + 2
            width = max(4.0, min(9.0, (120 / density / length) ** 0.5))
            x = random_atoms(random, np.array([length, width, width]), density)
            types = random.choice(drawn["types"], len(x))
            cell = np.diag([length, width, width])
            if not periodic:
                cell[:] = 0
            _, whole = engine(types, x, cell, np.arange(len(x)))
            _, parts = halves(engine, types, x, cell, length, reach)
            scale = max(1.0, float(np.abs(whole).max()))
            error = float(np.abs(parts - whole).max())
            ratio = error / (REPEAT[precision] * scale)
            if ratio > worst["ratio"]:
                kind = "box" if periodic else "cluster"
                worst = {
                    "ratio": ratio,
                    "percent": 100 * error / float(np.abs(whole).max()),
                    "where": f"{kind} of {len(x)} atoms, {density} per cubic angstrom",
                }
    return worst


def verify(program: Path, path: Path, level: str) -> dict[str, Any]:
    """What the checks of domains say of a file."""
    command = [program, path, "--json", "-", "--threads", "1", "--level", level, "--only", "DD"]
    start = time.perf_counter()
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    return {
        "failed": [name for name in ABOUT if checks[name]["status"] == "fail"],
        "message": checks["receptive field"]["message"],
        "seconds": time.perf_counter() - start,
    }


def line(drawn: dict[str, Any], truths: dict[str, Any], said: dict[str, Any]) -> str:
    hypers = drawn["hypers"]
    adaptive = hypers["num_neighbors_adaptive"]
    about = (
        f"{drawn['number']:2} float{drawn['precision']} {hypers['featurizer_type']:11} "
        f"{hypers['num_gnn_layers']} layers of {hypers['cutoff']:.2f} "
        f"{f'adaptive {adaptive:2}' if adaptive else '           '} range {drawn['range']:5.2f}"
    )
    short, sound = truths["short"], truths["true"]
    found = " ".join(
        f"{level}: {'found' if said['short', level]['failed'] else 'MISSED'}"
        f"{', FALSE ALARM ' + str(said['true', level]['failed']) if said['true', level]['failed'] else ''}"
        for level in ("quick", "full")
        if ("short", level) in said
    )
    return (
        f"{about} | forces wrong by {short['percent']:.1e} % ({short['ratio']:.1e} tolerances; "
        f"sound {sound['ratio']:.1e}) | {found}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("programs", type=Path, metavar="METATRAIN")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--levels", default="quick,full")
    parser.add_argument("--make", action="store_true", help="only make the models, in this process")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    if arguments.make:
        make(folder)
        return
    subprocess.run([arguments.programs / "python", __file__, "--make", arguments.programs, folder])

    import torch

    from mtt.verify import run as verification

    torch.set_num_threads(1)
    program = verification.program()
    levels = arguments.levels.split(",")
    found = dict.fromkeys(levels, 0)
    alarms, differing, missed = 0, 0, []
    for number in range(COUNT):
        place = folder / f"{number:02}"
        drawn = json.loads((place / "drawn.json").read_text())
        cases = [(name, level) for name in ("short", "true") for level in levels]
        with ThreadPoolExecutor(2) as pool:
            answers = pool.map(lambda c: verify(program, place / f"{c[0]}.pt", c[1]), cases)
            truths = {name: truth(place, drawn, name) for name in ("short", "true")}
            said = dict(zip(cases, answers, strict=True))
        print(line(drawn, truths, said), flush=True)
        differs = truths["short"]["ratio"] > 1
        differing += differs
        for level in levels:
            found[level] += bool(said["short", level]["failed"])
            alarms += bool(said["true", level]["failed"])
            if differs and not said["short", level]["failed"]:
                missed.append(f"{number} by {level}")
    print(f"one cutoff short: found {found} of {COUNT}; false alarms with the true range: {alarms}")
    print(f"divided systems differ by more than the tolerance: {differing}; of these missed: {missed}")


if __name__ == "__main__":
    sys.exit(main())
