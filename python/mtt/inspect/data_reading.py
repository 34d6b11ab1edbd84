"""Reads data files as they are, keeping what is wrong with single frames instead of refusing them."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import ase
import numpy as np
from numpy.typing import NDArray

from mtt.data.ase_frames import ENERGY, KINDS, as_matrix, as_numbers, each_frame, find
from mtt.data.frames import Frame, read_all
from mtt.data.plausibility.contradictions import contradictions
from mtt.data.read_files import structure_of
from mtt.data.structure import Reference, Structure
from mtt.errors import UserError
from mtt.options.schema.data_paths import data_files, is_data_folder, is_packed, why_unusable
from mtt.options.schema.datasets import TargetOptions

LABELS: Final = ("energy", "forces", "stress", "virial")
TARGET: Final = "energy"
# What the name of a mask ends with, after that of the values.
MASK: Final = "_mask"
# What a key is called that has a label under a name of its own: REF_energy, dft_forces, ...
_WORDS: Final = {"energy": "energy", "forces": "force", "stress": "stress", "virial": "virial"}
# Never the energy of a structure as it is.
_OTHERS: Final = (
    "free",
    "per_atom",
    "peratom",
    "formation",
    "atomic",
    "energies",
    "kinetic",
    "std",
)
# Frames that are compared value by value; all of them would have to be kept.
_COMPARED: Final = 5000
_MOST_SHAPES: Final = 4


@dataclass
class Key:
    """A key of a file: where it is, in how many frames, and the shapes of its values.

    - ``numbers``: how many there are in all, of which ``zeros`` are 0, and ``others`` neither 0 nor 1;
    - ``not_finite``: how many of them are NaN or infinite, ``spoilt``: in which frames;
    - ``mask_of``: the key whose values it says of which are known, if that is what it is.
    """

    place: str
    frames: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    could_be: set[str] = field(default_factory=set)
    numbers: int = 0
    zeros: int = 0
    others: int = 0
    not_finite: int = 0
    spoilt: list[str] = field(default_factory=list)
    mask_of: str = ""


@dataclass
class DataFile:
    """What one file holds.

    - ``structures``: those without a fault in their geometry, with what labels they have;
    - ``faults``: where, and what is wrong there;
    - ``keys``: by name; ``taken``: the key of each label;
    - ``missing``: by label, the frames that lack it;
    - ``doubts``: sentences about values that contradict each other.
    """

    path: Path
    frames: int = 0
    structures: list[Structure] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)
    keys: dict[str, Key] = field(default_factory=dict)
    taken: dict[str, str] = field(default_factory=dict)
    missing: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    doubts: list[str] = field(default_factory=list)


def read(path: Path, keys: Mapping[str, str]) -> Iterator[DataFile]:
    """Yield each file that a path stands for.

    :param keys: of the labels whose key is given; others are looked for
    :raises UserError: a file cannot be read at all, or no frame of it has a key that is given
    """
    files = data_files(path)
    if not files:
        raise UserError(why_unusable(path) or "no file", where=str(path))
    for file in files:
        yield _read_file(file, keys)


def _read_file(path: Path, keys: Mapping[str, str]) -> DataFile:
    found = DataFile(path, taken=dict(keys))
    compared: list[ase.Atoms] = []
    for frame in _frames(path):
        found.frames += 1
        _note_keys(found, frame)
        _read_frame(found, frame)
        if len(compared) < _COMPARED:
            compared.append(frame.atoms)
    for label, key in keys.items():
        if len(found.missing[label]) == found.frames:
            known = ", ".join(f"'{name}'" for name in _fitting(found.keys, label))
            hint = f"keys that could be it: {known}" if known else None
            raise UserError(f"no structure has the {label} '{key}'", where=str(path), hint=hint)
    _find_masks(found.keys)
    own = TargetOptions(quantity="energy", key=found.taken.get("energy", "energy"))
    found.doubts += contradictions(compared, own, TARGET)
    for label in LABELS:
        if label not in found.taken:
            found.missing.pop(label, None)
    return found


def _frames(path: Path) -> Iterator[Frame]:
    if is_data_folder(path) or is_packed(path):
        yield from read_all(path)
        return
    for index, atoms in enumerate(each_frame(path)):
        yield Frame(atoms, f"{path}#{index}")


def _values(atoms: ase.Atoms) -> Iterator[tuple[str, str, Any]]:
    """Yield key, place and value of everything that is with a frame."""
    for key, value in atoms.info.items():
        yield str(key), "structure", value
    for key, value in atoms.arrays.items():
        if key not in ("numbers", "positions"):
            yield str(key), "atoms", value
    results = {} if atoms.calc is None else getattr(atoms.calc, "results", {})
    for key, value in results.items():
        yield str(key), "calculator", value


def _note_keys(found: DataFile, frame: Frame) -> None:
    atoms, seen = frame.atoms, set()
    for name, place, value in _values(atoms):
        if name in seen:
            continue
        seen.add(name)
        key = found.keys.setdefault(name, Key(place))
        key.frames += 1
        array = np.asarray(value)
        if name.endswith(MASK) and array.dtype.kind in "fiub":
            key.numbers += array.size
            key.zeros += int((array == 0).sum())
            key.others += int(((array != 0) & (array != 1)).sum())
        if array.dtype.kind == "f" and not (finite := np.isfinite(array)).all():
            key.not_finite += int((~finite).sum())
            key.spoilt.append(frame.source)
        shape = _shape(array, len(atoms))
        if shape in key.kinds or len(key.kinds) < _MOST_SHAPES:
            key.kinds[shape] += 1
        if array.dtype.kind == "f":
            key.could_be |= _could_be(array, len(atoms))


def _find_masks(keys: Mapping[str, Key]) -> None:
    """Note which keys are masks: ``NAME_mask`` of 0 and 1, in the shape of ``NAME``."""
    for name, key in keys.items():
        masked = name.removesuffix(MASK)
        of = keys.get(masked)
        if of is key or of is None or key.numbers == 0 or key.others:
            continue
        if of.place == key.place and of.kinds.keys() == key.kinds.keys():
            key.mask_of, key.could_be = masked, {f"mask of {masked}"}


def _shape(array: NDArray[Any], n_atoms: int) -> str:
    if array.dtype.kind not in "fiub":
        return "text"
    if array.ndim == 0 or array.shape == (1,):
        return "number"
    sizes = [
        "atoms" if size == n_atoms and not axis else str(size)
        for axis, size in enumerate(array.shape)
    ]
    return f"({', '.join(sizes)})"


def _could_be(array: NDArray[Any], n_atoms: int) -> set[str]:
    labels = {label for label, kind in KINDS.items() if kind.fits(array, n_atoms)}
    if ENERGY.fits(array, n_atoms):
        labels.add("energy")
    if array.ndim and len(array) == n_atoms:
        labels.add("target per atom")
    return labels or {"target"}


def _fitting(keys: Mapping[str, Key], label: str, energy: str = "") -> list[str]:
    """Return the keys whose values have the shape of a label and whose names say that they are it.

    :param energy: the key of the energy, whose own gradients come before those of others
    """
    word = _WORDS[label]
    named = [name for name, key in keys.items() if word in name.lower() and label in key.could_be]
    if label == "energy":
        named = [name for name in named if not any(each in name.lower() for each in _OTHERS)]
    own = f"{energy}/{label}"
    return sorted(
        named, key=lambda name: (name != label, name.lower() != label, name != own, len(name), name)
    )


def _read_frame(found: DataFile, frame: Frame) -> None:
    try:
        structure = structure_of(*frame)
    except UserError as error:
        found.faults.append((frame.source, error.what))
        return
    labels: dict[str, NDArray[np.float64]] = {}
    for label in LABELS:
        if label not in found.taken:
            fitting = _fitting(found.keys, label, found.taken.get("energy", ""))
            if fitting:
                found.taken[label] = fitting[0]
        key = found.taken.get(label)
        value = None if key is None else _label(found, frame, label, key)
        if value is None:
            if label in ("energy", "forces") or structure.pbc.all():
                found.missing[label].append(frame.source)
            continue
        labels[label] = value
    found.structures.append(_with_labels(structure, labels))


def _label(found: DataFile, frame: Frame, label: str, key: str) -> NDArray[np.float64] | None:
    value = find(frame.atoms, key)
    if value is None:
        return None
    try:
        array = as_numbers(value, label, key, frame.source)
    except UserError as error:
        found.faults.append((frame.source, error.what))
        return None
    kind = ENERGY if label == "energy" else KINDS[label]
    if not kind.fits(array, len(frame.atoms)):
        what = f"the {label} under the key '{key}' has the shape {array.shape}"
        found.faults.append((frame.source, what))
        return None
    return array


def _with_labels(structure: Structure, labels: Mapping[str, NDArray[np.float64]]) -> Structure:
    energy = labels.get("energy")
    values = np.array([np.nan]) if energy is None else energy.reshape(1).astype(np.float64)
    stress = None
    if structure.volume > 0.0:
        if "stress" in labels:
            stress = as_matrix(labels["stress"])
        elif "virial" in labels:
            virial = as_matrix(labels["virial"])
            stress = None if virial is None else -virial / structure.volume
    if labels:
        structure.references[TARGET] = Reference(values, labels.get("forces"), stress)
    return structure


def all_structures(files: Sequence[DataFile]) -> list[Structure]:
    """Return the structures of all files, one file after the other."""
    return [structure for file in files for structure in file.structures]
