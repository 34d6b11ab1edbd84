"""Forces and stresses: their size, and whether they belong to the energies and to each other."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from ase.units import GPa
from numpy.typing import NDArray

from mtt.data.plausibility.pair_fit import PairFit, fit_pairs
from mtt.data.plausibility.robust import far_from_others, robust_residuals
from mtt.data.plausibility.sets import Sets, counts, places
from mtt.data.structure import Structure
from mtt.data.target import Target
from mtt.printable import plural

_CUTOFF: Final = 5.0  # angstrom; of the quick fit
_FORCES: Final = 8.0  # eV/angstrom, root mean square
_SMALL_FORCES: Final = 0.005
_FAR_FORCES: Final = 50.0  # eV/angstrom, the largest component
_STRESS: Final = 0.6  # eV/angstrom^3, root mean square: 100 GPa
_SHORTEST_VACUUM: Final = 6.0  # angstrom
# A correlation below the first says nothing; a quick fit that explains more than the second does.
_LOWEST, _EXPLAINED = 0.4, 0.3
# What a quick fit gives varies 0.4 to 1.5 times as much as the energies do.
_LEAST, _MOST_FACTOR = 1 / 15, 6.0


def check_gradients(sets: Sets) -> Iterator[str]:
    """Say what is unusual in the forces and stresses of the training set."""
    for target in sets.energies:
        with_forces = [s for s in sets.train if _forces(s, target) is not None]
        if with_forces:
            yield from _size_of_forces(sets, target, with_forces)
        fit = fit_pairs(sets.train, target.name, _CUTOFF / sets.angstrom)
        if fit is not None and fit.explained > _EXPLAINED:
            yield from _energies_and_forces(target, fit)
        with_stress = [s for s in sets.train if _stress(s, target) is not None]
        if with_stress:
            yield from _stresses(sets, target, with_stress, fit)
            yield from _vacuum(sets, target, with_stress)


def _forces(structure: Structure, target: Target) -> NDArray[np.float64] | None:
    reference = structure.references.get(target.name)
    return None if reference is None else reference.forces


def _stress(structure: Structure, target: Target) -> NDArray[np.float64] | None:
    reference = structure.references.get(target.name)
    return None if reference is None else reference.stress


def _size_of_forces(sets: Sets, target: Target, structures: Sequence[Structure]) -> Iterator[str]:
    factor = sets.ev(target, 1)
    several = [s for s in structures if len(s) > 1]
    forces = [own * factor for s in several if (own := _forces(s, target)) is not None]
    if not forces:
        return
    largest = np.array([np.abs(own).max() for own in forces])
    if not largest.any():
        yield (
            f"all forces of '{target.name}' are zero: nothing can be learned of them; leave them out "
            "with `forces: off`, or look whether the file has others"
        )
        return
    squares = np.concatenate([np.square(own).mean(axis=1) for own in forces])
    typical = float(np.sqrt(np.median(squares)))
    if typical > _FORCES:
        yield (
            f"forces of '{target.name}' are typically {typical:.3g} eV/angstrom, more than in most "
            f"materials: is {target.unit}/{sets.length_unit} their unit (kcal/mol taken for eV gives "
            "23 times too much)?"
        )
    elif typical < _SMALL_FORCES:
        yield (
            f"forces of '{target.name}' are typically {typical:.1g} eV/angstrom, less than in most data: "
            f"is {target.unit}/{sets.length_unit} their unit (eV taken for meV gives 1000 times too "
            "little), or are all structures relaxed?"
        )
    far = np.flatnonzero(largest > max(_FAR_FORCES, 20.0 * float(np.median(largest))))
    if len(far):
        worst = far[np.argsort(-largest[far])]
        yield (
            f"{plural(len(far), 'structure')} of training_set "
            f"{'has' if len(far) == 1 else 'have'} forces of up to {largest[worst[0]]:.3g} "
            f"eV/angstrom, far beyond the others: {places(several, worst)}"
        )


def _energies_and_forces(target: Target, fit: PairFit) -> Iterator[str]:
    """Compare with the energies that belong to the forces, whatever the composition adds."""
    energies = np.array([s.references[target.name].values[0] for s in fit.structures])
    known = np.isfinite(energies)
    _, table = counts(fit.structures)
    # One of them alone would decide the correlation.
    known[known] = ~far_from_others(robust_residuals(table[known], energies[known]))
    if known.sum() < max(10, 2 * table.shape[1]):
        return
    own, suggested = (_without(values[known], table[known]) for values in (energies, fit.energies))
    correlation, slope = _compare(own, suggested)
    if correlation < -_LOWEST:
        yield (
            f"forces of '{target.name}' have the wrong sign: energies go down where the forces say "
            f"that they go up (correlation {correlation:.2f} with a quick fit to the forces); are "
            "they gradients? forces are minus the gradient of the energy"
        )
    elif correlation > _LOWEST and not _LEAST < slope < _MOST_FACTOR:
        ratio = f"{slope:.3g} times" if slope > 1 else f"{1 / slope:.3g} times less than"
        yield (
            f"energies of '{target.name}' vary {ratio} what the forces suggest: are both in "
            f"{target.unit}? (Hartree is 27.2 eV, eV is 23.1 kcal/mol, bohr is 0.529 angstrom)"
        )
    elif fit.explained > 0.9 and abs(correlation) < 0.2 and known.sum() >= 20:
        yield (
            f"energies of '{target.name}' do not follow the forces (correlation {correlation:.2f} "
            "with a quick fit to the forces): do they belong to the same structures, and to the "
            "same level of theory?"
        )


def _without(values: NDArray[np.float64], table: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values - table @ np.linalg.lstsq(table, values, rcond=None)[0])


def _compare(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float]:
    """Return the correlation of two arrays without their means, and the factor from b to a."""
    both, aa, bb = float((a * b).sum()), float((a * a).sum()), float((b * b).sum())
    if aa <= 0.0 or bb <= 0.0:
        return 0.0, 1.0
    return both / np.sqrt(aa * bb), both / bb


def _stresses(
    sets: Sets, target: Target, structures: Sequence[Structure], fit: PairFit | None
) -> Iterator[str]:
    told = False
    if fit is not None and fit.explained > 0.7:
        for text in _stress_and_forces(sets, target, fit):
            told = True
            yield text
    stresses = np.array([s.references[target.name].stress for s in structures])
    if not stresses.any():
        yield (
            f"all stresses of '{target.name}' are zero: if nobody computed them, leave them out with "
            "`stress: off`"
        )
        return
    unit = sets.ev(target, 3)
    typical = float(np.sqrt(np.median((stresses * unit) ** 2, axis=0).max()))
    if typical > _STRESS and not told:
        yield (
            f"the stress of '{target.name}' is typically {typical:.3g} eV/angstrom^3, that is "
            f"{typical / GPa:.3g} GPa: {_other_kinds(target)}"
        )


def _other_kinds(target: Target) -> str:
    return (
        "is it in kbar or GPa (`stress: {unit: kbar}`), or a virial, an energy "
        "(`virial: {key: ...}` in the place of `stress`)?"
    )


def _stress_and_forces(sets: Sets, target: Target, fit: PairFit) -> Iterator[str]:
    """Compare the part of the stress that shears: pressure needs more than pairs to be right."""
    rows = [i for i, s in enumerate(fit.structures) if _stress(s, target) is not None]
    if len(rows) < 5:
        return
    structures = [fit.structures[row] for row in rows]
    volumes = np.array([s.volume for s in structures])
    own = np.array([s.references[target.name].stress for s in structures])
    suggested = fit.strain[rows] / volumes[:, None, None]
    correlation, slope = _compare(_traceless(own), _traceless(suggested))
    order, best = _best_order(own, suggested)
    if order and best > 0.9 and correlation < best - 0.1:
        yield (
            f"the components of the stress of '{target.name}' seem to be in another order: {order} in "
            "the place of xx, yy, zz, yz, xz, xy would fit the forces"
        )
        return
    kinds = _kinds(sets, target, volumes)
    fits = [(text, *_compare(_traceless(own), _traceless(suggested * f))) for text, f in kinds]
    good = [(text, c, s) for text, c, s in fits if abs(c) > 0.8 and 0.6 < abs(s) < 1.6]
    if good:
        text, _, slope = min(good, key=lambda fit: abs(np.log(abs(fit[2]))))
        if slope < 0:
            yield (
                f"the stress of '{target.name}' has the wrong sign: it is the derivative of the energy "
                "by strain over the volume, positive where the cell wants to shrink; a virial has the "
                "other sign (`virial: {key: ...}` takes it)"
            )
        if text:
            yield f"the stress of '{target.name}' is no stress in {_own_unit(sets, target)}: {text}"
    elif abs(correlation) > 0.8:
        yield (
            f"the stress of '{target.name}' is {slope:.4g} times what belongs to the forces: "
            f"{_other_kinds(target)}"
        )


def _own_unit(sets: Sets, target: Target) -> str:
    return f"{target.unit}/{sets.length_unit}^3"


def _kinds(
    sets: Sets, target: Target, volumes: NDArray[np.float64]
) -> list[tuple[str, NDArray[np.float64]]]:
    """Return what a stress may be, with the factors (S, 1, 1) from a stress in the right unit."""
    unit = sets.ev(target, 3)
    constants = {
        "": 1.0,
        "that is kbar: say `stress: {unit: kbar}`": unit / (0.1 * GPa),
        "that is GPa: say `stress: {unit: GPa}`": unit / GPa,
    }
    if unit != 1.0:
        constants["that is eV/angstrom^3: say `stress: {unit: eV/angstrom^3}`"] = unit
    virial = "that is a virial, an energy: ask for it with `virial: {key: ...}`"
    ones = np.ones((len(volumes), 1, 1))
    return [(text, f * ones) for text, f in constants.items()] + [(virial, volumes[:, None, None])]


def _traceless(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    trace = np.trace(matrices, axis1=1, axis2=2) / 3.0
    return matrices - trace[:, None, None] * np.eye(3)


_SHEAR: Final = {"yz": (1, 2), "xz": (0, 2), "xy": (0, 1)}


def _best_order(own: NDArray[np.float64], suggested: NDArray[np.float64]) -> tuple[str, float]:
    """Return the order of the off-diagonal components that fits best, empty if it is the usual one."""
    best = ("", -1.0)
    theirs = np.stack([suggested[:, i, j] for i, j in _SHEAR.values()], axis=1)
    for order in itertools.permutations(_SHEAR):
        # What is stored where yz is expected is called order[0], and so on.
        where = {name: list(_SHEAR.values())[k] for k, name in enumerate(order)}
        ours = np.stack([own[:, where[name][0], where[name][1]] for name in _SHEAR], axis=1)
        correlation, _ = _compare(ours, theirs)
        if abs(correlation) > best[1] + 1e-9:
            usual = list(order) == list(_SHEAR)
            best = ("" if usual else f"xx, yy, zz, {', '.join(order)}", abs(correlation))
    return best


def _vacuum(sets: Sets, target: Target, structures: Sequence[Structure]) -> Iterator[str]:
    """A cell with vacuum has a stress that depends on how much of it there is."""
    rows = [i for i, s in enumerate(structures) if _gap(s) * sets.angstrom > _SHORTEST_VACUUM]
    if rows:
        yield (
            f"{plural(len(rows), 'structure')} with a stress {'has' if len(rows) == 1 else 'have'} "
            f"more than {_SHORTEST_VACUUM:g} angstrom of vacuum ({places(structures, np.array(rows))}): "
            "the stress of a slab or a molecule in a cell depends on the vacuum; leave it out with "
            "`stress: off`, or make the axis non-periodic (pbc)"
        )


def _gap(structure: Structure) -> float:
    """Return the widest empty layer along a lattice vector, in the length unit of the structure."""
    inverse = np.linalg.inv(structure.cell)
    heights = 1.0 / np.linalg.norm(inverse, axis=0)
    scaled = np.sort(structure.positions @ inverse % 1.0, axis=0)
    around = np.concatenate([scaled, scaled[:1] + 1.0])
    return float((np.diff(around, axis=0).max(axis=0) * heights).max())
