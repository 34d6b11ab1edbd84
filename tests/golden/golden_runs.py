"""Making golden checkpoints, and asking them what they predict.

A folder ``checkpoints/format-F_NAME-V_options-O`` holds what was written by those versions: one
``CASE.ckpt`` for each case, and ``predictions.json`` with systems and what each file's best and last
weights gave for them, in float64. The numbers in it are never made again: later versions must agree.
"""

import contextlib
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import torch
from small_runs import SCALARS, TARGETS, make_options, write_data

from mtt import architecture_registry, checkpoint
from mtt.architectures.evaluate import Values
from mtt.data.batch import collate
from mtt.data.dataset import Dataset
from mtt.data.read_files import read_datasets
from mtt.data.structure import Structure
from mtt.errors import UserError
from mtt.options import load_options
from mtt.training import fit_uncertainty, loop
from mtt.training.prepare import prepare

FOLDER = Path(__file__).parent / "checkpoints"


class Silent:
    """An observer that wants nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: False


def make(folder: Path, number: int, case: dict[str, Any], scratch: Path) -> Path:
    """Train one case to its end and write its checkpoint into ``folder``."""
    # Paths are kept in checkpoints: these say nothing of the machine.
    with contextlib.chdir(scratch):
        several = case.get("several", False) or case.get("turning", False)
        # Data of its own, as the other cases have one target.
        folder_of_data = Path("several") if several else Path()
        folder_of_data.mkdir(exist_ok=True)
        changes: dict[str, Any] = {"base_precision": case["base_precision"]}
        if "seed" in case:
            changes["seed"] = case["seed"]
        if several:
            path = str(folder_of_data / "data.xyz")
            # What does not turn came first: those files are older.
            targets = TARGETS if case.get("turning", False) else SCALARS
            changes["training_set"] = {"systems": path, "targets": targets}
        if case.get("states", False):
            folder_of_data = Path("states")
            folder_of_data.mkdir(exist_ok=True)
            write_states(folder_of_data / "data.xyz")
            keys = {"charge": {}, "spin_multiplicity": {"missing": "allow"}}
            changes["training_set"] = {"systems": "states/data.xyz"}
        options = make_options(folder_of_data, case["training"], several, **changes)
        # JSON is YAML, and small_runs has a small model of its own.
        plain = {**options.to_dict(), "version": options.version}
        name = case["architecture"]
        version = architecture_registry.get(name).version
        plain["architecture"] |= {"name": name, "version": version, "model": case["model"]}
        if case.get("states", False):
            plain["training_set"][0]["extra_data"] = keys
        Path("options.yaml").write_text(json.dumps(plain))
        source = folder / case["base"] if "base" in case else None
        run = prepare(load_options(Path("options.yaml")), source, Path("model.pt"), lambda _: None)
        loop.train(run.state, run.problem, Silent(), fit_uncertainty.fit)
        run.save(folder / f"{number}.ckpt")
    return folder / f"{number}.ckpt"


def write_states(path: Path) -> None:
    """Write the data of the other cases, with charges and, of ions, spins."""
    write_data(path)
    frames = ase.io.read(path, ":")
    for index, atoms in enumerate(frames):
        atoms.info["charge"] = index % 3 - 1
        if index % 3 != 1:
            atoms.info["spin_multiplicity"] = 2
    ase.io.write(path, frames, format="extxyz")


def systems(scratch: Path) -> list[Structure]:
    """Water, methanol and copper, displaced otherwise than in the training data."""
    write_data(scratch / "systems.xyz", n=3, seed=99)
    options = make_options(scratch, training_set=str(scratch / "systems.xyz"))
    return read_datasets(options.training_set)


def to_json(structures: list[Structure]) -> list[dict[str, Any]]:
    """Structures as plain lists."""
    parts = ("types", "positions", "cell", "pbc")
    return [{part: getattr(one, part).tolist() for part in parts} for one in structures]


def from_json(plain: list[dict[str, Any]]) -> list[Structure]:
    """Inverse of :func:`to_json`."""
    kinds = {"types": np.int32, "positions": np.float64, "cell": np.float64, "pbc": bool}
    return [
        Structure(**{part: np.array(one[part], dtype=kind) for part, kind in kinds.items()})
        for one in plain
    ]


def predict(path: Path, structures: list[Structure]) -> dict[str, list[dict[str, Any]]]:
    """Energy, forces and virial by the best and the last weights of a checkpoint, in float64."""
    header, tensors = checkpoint.read(path)
    found: dict[str, list[dict[str, Any]]] = {}
    for weights in ("best", "last"):
        potential = checkpoint.load_potential(header, tensors, weights)
        potential = potential.set_precision(torch.float64).eval()
        known = potential.known_states()
        if known is not None:
            state = {"charge": max(known[0]), "spin_multiplicity": max(known[1])}
            structures = [structure.in_state(state) for structure in structures]
        dataset = Dataset(structures, potential.atomic_types, potential.cutoff, potential.targets)
        found[weights] = []
        for index in range(len(structures)):
            graph = collate(dataset, [index], torch.float64).graph
            values = potential.evaluate(graph) | potential.evaluate_derived(graph)
            others = [target for target in potential.outputs if target.name != "energy"]
            found[weights].append(
                {
                    **_plain(values["energy"]),
                    **{
                        f"{target.name} {quantity}": number
                        for target in others
                        for quantity, number in _plain(values[target.name]).items()
                    },
                }
            )
    return found


def _plain(values: Values) -> dict[str, Any]:
    """Return energy, forces and virial of one structure, or the values of its atoms."""
    if values.systems is None or values.forces is None or values.strain is None:
        return {"atoms": values.atoms.tolist()}
    return {
        "energy": float(values.systems),
        "forces": values.forces.tolist(),
        "virial": (-values.strain[0]).tolist(),
    }


def write_predictions(folder: Path, structures: list[Structure]) -> None:
    """Add to ``predictions.json`` those of the checkpoints in ``folder`` that it lacks."""
    file = folder / "predictions.json"
    stored = json.loads(file.read_text()) if file.exists() else {"predictions": {}}
    stored.setdefault("systems", to_json(structures))
    for path in sorted(folder.glob("*.ckpt")):
        if path.stem not in stored["predictions"]:
            of = from_json(stored["systems"])
            stored["predictions"][path.stem] = predict(path, of)
    file.write_text(json.dumps({"systems": stored["systems"], **stored}, indent=None) + "\n")


def lives_here(path: Path) -> bool:
    """Whether the installed versions take the checkpoint up; the others live on in their images."""
    try:
        checkpoint.check_architecture(checkpoint.read_header(path))
    except UserError:
        return False
    return True


def can_be_asked(path: Path) -> bool:
    """Whether the packages are installed that its architecture is made of; the image has them."""
    name = checkpoint.read_header(path).architecture.name
    return name != "mace" or find_spec("mace") is not None


def structure_of(path: Path) -> dict[str, str]:
    """Every key of the header as stored, and every tensor, with its kind: what a version promises."""
    import struct

    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    table = json.loads(raw[8 : 8 + length])
    found = dict(_keys(json.loads(table.pop("__metadata__")["mtt"])))
    found |= {f"tensor {name}": f"{one['dtype']} {one['shape']}" for name, one in table.items()}
    return found


def _keys(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys with the types of what they lead to; versions of packages are not structure."""
    if isinstance(value, dict) and prefix != "packages":
        for key, one in value.items():
            yield from _keys(one, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, type(value).__name__
