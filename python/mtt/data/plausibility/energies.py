"""Energies: their unit, values far from all others, and baselines that the data leave open."""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from ase.units import Hartree, kcal, kJ, mol
from numpy.typing import NDArray

from mtt.data.dataset import named
from mtt.data.plausibility.robust import far_from_others, robust_residuals
from mtt.data.plausibility.sets import Sets, counts, places
from mtt.data.same_units import factor
from mtt.data.target import Target
from mtt.printable import plural
from mtt.units import same_unit

# Who has all-electron energies has them this well; those of pseudopotentials are far from it.
_CLOSE: Final = 0.04
# In eV: good enough to guess by, and there without metatomic, which takes half a second to import.
_UNITS: Final = {"eV": 1.0, "Hartree": Hartree, "kcal/mol": kcal / mol, "kJ/mol": kJ / mol}
# Without the electrons of the core, energies of heavier atoms can be a 27th of the whole by chance.
_HEAVIEST: Final = 9


def check_energies(sets: Sets, fixed: Mapping[str, object]) -> Iterator[str]:
    """Say what is unusual in the energies of all sets.

    :param fixed: baselines that are not fitted, by the name of the target
    """
    open_baselines: set[str] = set()
    for target in sets.energies:
        values, table, types = _known(sets, target)
        if len(values) == 0:
            continue
        yield from _unit(target, types, table, values)
        yield from _far(sets, target)
        if target.name not in fixed:
            open_baselines |= set(_open_baseline(sets, target))
    # Several targets of the same structures leave the same open.
    yield from sorted(open_baselines)


def _known(
    sets: Sets, target: Target, name: str = "training_set"
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int32]]:
    """Return the energies (S,) that are known, the counts of atoms (S, T), and the types (T,)."""
    structures = [s for s in sets.by_name[name] if target.name in s.references]
    if not structures:
        return np.empty(0), np.empty((0, 0)), np.empty(0, dtype=np.int32)
    types, table = counts(structures)
    values = np.array([s.references[target.name].values[0] for s in structures])
    known = np.isfinite(values)
    return values[known], table[known], types


def all_electron_energy(types: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return about the energy (T,) in eV of neutral atoms with all their electrons.

    The statistical atom with the corrections of Scott and Schwinger, within 1 % from carbon on
    (B.-G. Englert, Semiclassical Theory of Atoms, Springer 1988); -13.6 eV for hydrogen.
    """
    z = types.astype(np.float64)
    energies = -Hartree * (0.768745 * z ** (7 / 3) - 0.5 * z**2 + 0.269900 * z ** (5 / 3))
    return np.where(types == 1, -0.5 * Hartree, energies)


def _unit(
    target: Target,
    types: NDArray[np.int32],
    table: NDArray[np.float64],
    values: NDArray[np.float64],
) -> Iterator[str]:
    """Total energies of all electrons tell their unit, whatever the options say."""
    expected = table @ all_electron_energy(types)
    with np.errstate(divide="ignore", invalid="ignore"):
        own = factor(target.unit, "eV")
        ratio = float(np.median(values * own / expected))
    if abs(ratio - 1.0) < _CLOSE:
        return
    if ratio < 1.0 and types.max() > _HEAVIEST:
        return
    for unit, in_ev in _UNITS.items():
        if abs(ratio * in_ev / own - 1.0) < _CLOSE and not same_unit(unit, target.unit):
            yield (
                f"'{target.name}' looks like total energies of all electrons in {unit}, and the "
                f"options say {target.unit}: is `unit: {unit}` meant?"
            )
            return


def _far(sets: Sets, target: Target) -> Iterator[str]:
    for name in sets.by_name:
        structures = [
            s
            for s in sets.by_name[name]
            if target.name in s.references and np.isfinite(s.references[target.name].values[0])
        ]
        if not structures:
            continue
        _, table = counts(structures)
        sizes = table.sum(axis=1)
        values = np.array([s.references[target.name].values[0] for s in structures]) / sizes
        residuals = robust_residuals(table / sizes[:, None], values)
        far = np.flatnonzero(far_from_others(residuals))
        if len(far):
            worst = far[np.argsort(-np.abs(residuals[far]))]
            yield (
                f"the energy of {plural(len(far), 'structure')} of {name} is off by up to "
                f"{abs(residuals[worst[0]]):.4g} {target.unit} per atom: {places(structures, worst)} "
                "(baseline and scale leave it out, the loss does not: remove it, or use "
                "`loss: {type: huber}`)"
            )


def _open_baseline(sets: Sets, target: Target) -> Iterator[str]:
    values, table, types = _known(sets, target)
    if len(types) < 2 or np.linalg.matrix_rank(table) == len(types):
        return
    names = ", ".join(named(int(kind)) for kind in types)
    why = (
        "all structures have the same composition"
        if len(np.unique(table, axis=0)) == 1
        else "the structures have too few different compositions"
    )
    yield (
        f"the energies per atom of {names} are arbitrary: {why}; predictions for other compositions "
        "mean nothing (add such structures, or frames of single atoms with `atomic_baseline: isolated`)"
    )
