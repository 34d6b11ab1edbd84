"""Positions: their unit, the reach of the cutoff, and structures that occur more than once."""

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray

from mtt.data.neighbors import neighbor_list
from mtt.data.plausibility.sets import Sets, places
from mtt.data.structure import Structure, fingerprints
from mtt.errors import UserError
from mtt.printable import plural

_NOBLE: Final = (2, 10, 18, 36, 54, 86)
# Closest pair over the sum of the covalent radii, in real matter: 0.7 (under pressure) to 1.4.
_CLOSE, _APART = 0.62, 1.65
_SAMPLE: Final = 100
_SHORT_CUTOFF, _FEW_NEIGHBORS = 3.0, 4.0
# Beyond what message passing needs; time and memory grow with the cube.
_LONG_CUTOFF: Final = 12.0


def check_geometry(sets: Sets) -> Iterator[str]:
    """Say what is unusual in the positions of all sets."""
    sample = _sample(sets.train)
    yield from _length_unit(sets, sample)
    yield from _reach(sets, sample)


def _sample(structures: Sequence[Structure]) -> list[Structure]:
    step = max(1, len(structures) // _SAMPLE)
    return [structures[index] for index in range(0, len(structures), step)]


def _closest(structure: Structure, angstrom: float) -> tuple[float, float] | None:
    """Return the closest pair over its covalent radii, and its distance in angstrom."""
    if np.isin(structure.types, _NOBLE).all():
        return None
    radii = covalent_radii[np.minimum(structure.types, len(covalent_radii) - 1)] / angstrom
    # Doubling finds the closest pair without a list of all pairs.
    cutoff = float(radii.max())
    for _ in range(12):
        try:
            pairs = neighbor_list(structure, cutoff)
        except UserError:
            # Too large for this cutoff, which is not that of the model.
            return None
        if len(pairs.centers):
            distances = np.linalg.norm(pairs.vectors, axis=1)
            ratios = distances / (radii[pairs.centers] + radii[pairs.neighbors])
            closest = int(ratios.argmin())
            return float(ratios[closest]), float(distances[closest]) * angstrom
        if len(structure) == 1 and not structure.pbc.any():
            return None
        cutoff *= 1.5
    return None


def _length_unit(sets: Sets, sample: Sequence[Structure]) -> Iterator[str]:
    found = [pair for s in sample if (pair := _closest(s, sets.angstrom)) is not None]
    if not found:
        return
    ratio, distance = (float(np.median(column)) for column in zip(*found, strict=True))
    if _CLOSE <= ratio <= _APART:
        return
    units = {"angstrom": 1.0, "bohr": 0.529, "nm": 10.0}
    own = sets.angstrom
    likely = min(units, key=lambda unit: abs(np.log(ratio * units[unit] / own)))
    fits = _CLOSE < ratio * units[likely] / own < _APART and abs(units[likely] / own - 1) > 0.1
    guess = f": is `length_unit: {likely}` meant?" if fits else ""
    near = "close together" if ratio < _CLOSE else "far apart"
    yield (
        f"atoms are unusually {near}: the closest pair of a structure is typically at {distance:.3g} "
        f"angstrom, {ratio:.2g} times the sum of the covalent radii (positions are read as "
        f"{sets.length_unit}){guess}"
    )


def _reach(sets: Sets, sample: Sequence[Structure]) -> Iterator[str]:
    """Tell of a cutoff that sees little."""
    several = [s for s in sample if len(s) > 1 or s.pbc.any()]
    listed: list[Structure] = []
    numbers = []
    for structure in several:
        # One that has no neighbor list ends a training, with a word of its own, but no look at data.
        with contextlib.suppress(UserError):
            pairs = neighbor_list(structure, sets.cutoff)
            numbers.append(len(pairs.centers) / len(structure))
            listed.append(structure)
    if not listed:
        return
    average = float(np.mean(numbers))
    cutoff = sets.cutoff * sets.angstrom
    alone = np.flatnonzero(np.array(numbers) == 0.0)
    if len(alone) == len(listed):
        yield (
            f"no atom has a neighbor within the cutoff of {cutoff:.3g} angstrom: the model learns "
            "the energies of single atoms, and all its forces are zero"
        )
    elif cutoff < _SHORT_CUTOFF or average < min(_FEW_NEIGHBORS, _most(listed)):
        unit = "" if sets.angstrom == 1.0 else f" ({sets.cutoff:g} {sets.length_unit})"
        yield (
            f"the cutoff of {cutoff:.3g} angstrom{unit} is short: an atom has {average:.3g} neighbors "
            "on average"
        )
    elif cutoff > _LONG_CUTOFF:
        yield (
            f"the cutoff of {cutoff:.3g} angstrom is long: an atom has {average:.3g} neighbors on"
            " average, and more in larger systems; 4 to 6 angstrom are usual"
        )
    elif len(alone):
        yield (
            f"{plural(len(alone), 'structure')} of {len(listed)} looked at "
            f"{'has' if len(alone) == 1 else 'have'} no pair of atoms within the cutoff of "
            f"{cutoff:.3g} angstrom: {places(listed, alone)}"
        )


def _most(structures: Sequence[Structure]) -> float:
    """Return the neighbors that there could be: small molecules have few."""
    if any(structure.pbc.any() for structure in structures):
        return _FEW_NEIGHBORS
    return 0.5 * float(np.mean([len(structure) - 1 for structure in structures]))


def check_copies(sets: Sets) -> Iterator[str]:
    """Tell of copies, bit by bit, within the sets and across them."""
    rows = {name: fingerprints(structures)[1] for name, structures in sets.by_name.items()}
    seen: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for name, prints in rows.items():
        for index, geometry in enumerate(prints[:, 0].tolist()):
            seen[geometry].append((name, index))
    groups = [group for group in seen.values() if len(group) > 1]
    for name, structures in sets.by_name.items():
        own = [[i for where, i in group if where == name] for group in groups]
        again = np.array([i for members in own for i in members[1:]], dtype=np.int64)
        if len(again):
            yield (
                f"{plural(len(again), 'structure')} of {name} "
                f"{'is a copy' if len(again) == 1 else 'are copies'} of another of the same set: "
                f"{places(structures, again)}{_differing(rows[name], own)}"
            )
    for name, structures in list(sets.by_name.items())[1:]:
        shared = [
            group for group in groups if {where for where, _ in group} >= {name, "training_set"}
        ]
        indices = np.array(
            [i for group in shared for where, i in group if where == name], dtype=np.int64
        )
        if len(indices):
            yield (
                f"{len(indices)} of {plural(len(structures), 'structure')} of {name} "
                f"{'is' if len(indices) == 1 else 'are'} in the training set too, so that errors come "
                f"out too small: {places(structures, indices)}"
            )


def _differing(prints: NDArray[np.int64], groups: Sequence[Sequence[int]]) -> str:
    differ = sum(len(set(prints[list(members), 1].tolist())) > 1 for members in groups if members)
    return f", {differ} of them with other values" if differ else ""
