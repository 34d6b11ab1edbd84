"""What is taken off the targets before training: a value per atom type, and one scale each.

Per system, with n_it atoms of type t among the n_i of structure i, the composition c solves the
least-squares problem ``min sum_i (E_i - sum_t n_it c_t)^2`` and, where the data leave it open (one
molecule only), is the shortest such vector. The scale is the root mean square of the
force components of the training structures times one angstrom, so that the network's output is of the
size that makes its derivatives of order one; without forces, or where the options say so, it is that over
the training structures of ``(E_i - sum_t n_it c_t) / n_i``. A model is trained on the *training units*

    value per atom   e_i = (E_i - sum_t n_it c_t) / (n_i scale)
    forces           f_i = F_i / scale
    strain per atom  s_i = V_i stress_i / (n_i scale)          (dE/dstrain, not the virial's sign)

Per atom, with t(k) the type of atom k, c_t is the mean of the values q_k of the atoms of type t,
the scale the root mean square of ``q_k - c_t(k)`` over the atoms, and the training units are

    value            v_k = (q_k - c_t(k)) / scale

Numbers that turn with the structure, as the components of a dipole, have no composition, since a
vector that is the same for all atoms of a type would turn with none of them: theirs is zero. Values
that belong to the volume, as a non-conservative stress, count as V_i / (n_i scale) times the value.

Values that are not known take no part in any of this, nor does what stands in the room of spectra that
are known up to a shift (:mod:`mtt.data.spectra`), and neither do values per system that are
further than 100 robust deviations from a fit that such values do not spoil: one energy that is
wrong by 1e5 eV would make the scale, and with it the loss, meaningless. The same holds for the forces
of structures whose root mean square is as far from that of the others. Everything here is float64,
so that an offset of -1e5 eV per atom changes nothing that a float32 model gets to see.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mtt.data.dataset import named
from mtt.data.plausibility.robust import far_from_others, robust_residuals
from mtt.data.structure import Reference, Structure
from mtt.data.target import Target
from mtt.errors import UserError

Fixed = float | Mapping[int, float] | None


@dataclass(frozen=True)
class Baseline:
    """What belongs to each target, in its unit.

    ``composition`` (n_types, P) float64: the part of an atom of each type; ``scale``: a number.
    """

    composition: NDArray[np.float64]
    scale: float


def fit_baseline(
    structures: Sequence[Structure],
    target: Target,
    atomic_types: Sequence[int],
    fixed: Fixed = None,
    scale_targets: bool | Literal["forces"] = True,
    angstrom: float = 1.0,
) -> Baseline:
    """Fit composition and scale to training structures.

    :param atomic_types: sorted types, among them all that occur
    :param fixed: values per atom that are not to be fitted: one for all types, or one for each of
        some types
    :param scale_targets: whether the scale is that of the values, or of the forces if there are any;
        False leaves it at one unit of the target
    :param angstrom: one angstrom in the length unit of the structures
    """
    values, design = _values(structures, target), _design(structures, target, atomic_types)
    values[:, : target.room] = np.nan
    columns, residuals, sizes = [], [], []
    known_columns = _without_far_values(values, design)
    for (known, column), invariant in zip(known_columns, target.invariant, strict=True):
        own = fixed if invariant else 0.0
        composition = _fit_composition(known, column, atomic_types, own)
        columns.append(composition)
        residuals.append((column - known.times(composition)) / known.n_atoms)
        sizes.append(np.abs(column / known.n_atoms))
    composition = np.stack(columns, axis=1)
    if scale_targets == "forces":
        size_of_forces = _size_of_forces(structures, target)
        if size_of_forces is not None:
            return Baseline(composition, size_of_forces * angstrom)
    residual, size = np.concatenate(residuals), np.concatenate(sizes)
    if not scale_targets or len(residual) == 0:
        return Baseline(composition, 1.0)
    rms = float(np.sqrt(np.mean(residual * residual)))
    # Values that the composition explains exactly leave only noise to divide by.
    noise = 1e-12 * max(1e-300, float(size.max()))
    return Baseline(composition, rms if rms > noise else 1.0)


def _size_of_forces(structures: Sequence[Structure], target: Target) -> float | None:
    """Return the root mean square of force components, None where there are none but zeros."""
    references = [structure.references.get(target.name) for structure in structures]
    squares = [
        np.nanmean(reference.forces * reference.forces)
        for reference in references
        if reference is not None
        and reference.forces is not None
        and np.isfinite(reference.forces).any()
    ]
    if not squares:
        return None
    sizes = np.sqrt(np.array(squares))
    size = float(np.sqrt(np.mean(sizes[~far_from_others(sizes)] ** 2)))
    return size if size > 0.0 else None


def isolated_atoms(
    structures: Iterable[Structure], target: Target, atomic_types: Sequence[int]
) -> dict[int, float]:
    """Return the value of each atomic type from frames of one neutral atom, without periodicity.

    :raises UserError: a type has no such frame, or several whose values differ
    """
    values: dict[int, float] = {}
    for structure in structures:
        reference = structure.references.get(target.name)
        alone = len(structure) == 1 and not structure.pbc.any() and structure.charge == 0
        if not alone or reference is None:
            continue
        value, kind = float(reference.values.reshape(-1)[0]), int(structure.types[0])
        if not np.isfinite(value):
            continue
        if abs(values.setdefault(kind, value) - value) > 1e-6 * max(1.0, abs(value)):
            raise UserError(
                f"single atoms of type {named(kind)} have different values of '{target.name}': "
                f"{values[kind]:.8g} and {value:.8g} {target.unit}".rstrip(),
                where=structure.source or None,
                hint="keep the frame of the ground state only",
            )
    missing = [named(kind) for kind in atomic_types if kind not in values]
    if missing:
        raise UserError(
            f"there is no frame of a single atom of type {', '.join(missing)} with '{target.name}'",
            where="architecture.training.atomic_baseline",
            hint="`isolated` takes the baseline from structures of one atom, not periodic, in "
            "training_set: add them, or write the numbers as {H: -13.6}",
        )
    return values


def refit_baseline(
    baseline: Baseline,
    structures: Sequence[Structure],
    target: Target,
    atomic_types: Sequence[int],
    predicted: Sequence[NDArray[np.float64]],
) -> Baseline:
    """Return the baseline with its composition fitted again to what a model with it leaves.

    The correction of the composition solves the same problem as in :func:`fit_baseline`, with the
    residuals for values; types that do not occur keep their value, and the scale stays.

    :param predicted: for each structure the values that the model with ``baseline`` gives: (P,) of
        a target per system, (N, P) per atom
    """
    values, design = _values(structures, target), _design(structures, target, atomic_types)
    left = values - np.concatenate([values.reshape(-1, target.numbers) for values in predicted])
    composition = baseline.composition.copy()
    for index, (known, column) in enumerate(_columns(left, design)):
        if not target.invariant[index]:
            continue
        occur = known.occurring()
        types = [atomic_types[index] for index in occur.tolist()]
        correction = _fit_composition(known.only(occur), column, types, None)
        composition[occur, index] += correction
    return replace(baseline, composition=composition)


def in_training_units(
    structures: Sequence[Structure],
    targets: Sequence[Target],
    atomic_types: Sequence[int],
    baselines: Mapping[str, Baseline],
) -> list[Structure]:
    """Return the same structures, with references of ``targets`` only, in training units."""
    references: list[dict[str, Reference]] = [{} for _ in structures]
    for target in targets:
        baseline = baselines[target.name]
        offsets = _offsets(structures, target, atomic_types, baseline)
        for structure, offset, converted in zip(structures, offsets, references, strict=True):
            reference = structure.references.get(target.name)
            if reference is not None:
                scale = baseline.scale
                converted[target.name] = _converted(reference, structure, target, offset, scale)
    return [
        replace(structure, references=converted)
        for structure, converted in zip(structures, references, strict=True)
    ]


def _offsets(
    structures: Sequence[Structure],
    target: Target,
    atomic_types: Sequence[int],
    baseline: Baseline,
) -> list[NDArray[np.float64]]:
    """Return what the composition gives for each structure, (P,) or (N, P)."""
    design = _design(structures, target, atomic_types)
    columns = [design.times(np.ascontiguousarray(column)) for column in baseline.composition.T]
    offsets = np.stack(columns, axis=1)
    if target.per == "system":
        return list(offsets)
    return np.split(offsets, np.cumsum([len(structure) for structure in structures])[:-1])


def _converted(
    reference: Reference,
    structure: Structure,
    target: Target,
    offset: NDArray[np.float64],
    scale: float,
) -> Reference:
    n_atoms = len(structure) if target.per == "system" else 1
    factor = 1.0 / (n_atoms * scale)
    forces, stress = reference.forces, reference.stress
    amount = structure.volume if target.per_volume else 1.0
    return Reference(
        values=(reference.values * amount - offset) * factor,
        forces=None if forces is None else forces / scale,
        stress=None if stress is None else stress * (structure.volume * factor),
    )


class _Sums:
    """How values of structures depend on the composition: as ``counts`` [R, n_types] @ c."""

    def __init__(self, counts: NDArray[np.float64]) -> None:
        self.counts = counts
        self.n_atoms: NDArray[np.float64] = counts.sum(axis=1)

    def where(self, rows: NDArray[np.bool_]) -> "_Sums":
        return _Sums(self.counts[rows])

    def occurring(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.counts.sum(axis=0))

    def only(self, types: NDArray[np.int64]) -> "_Sums":
        return _Sums(self.counts[:, types])

    def times(self, composition: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.counts @ composition

    def solve(self, values: NDArray[np.float64], free: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the shortest least-squares solution for the ``free`` types."""
        solution, *_ = np.linalg.lstsq(self.counts[:, free], values, rcond=None)
        return np.asarray(solution)


class _Atoms:
    """How values of atoms depend on the composition: as c[``kinds``] [R], indices of types."""

    def __init__(self, kinds: NDArray[np.int64], n_types: int) -> None:
        self.kinds, self.n_types = kinds, n_types
        self.n_atoms = np.ones(len(kinds))

    def where(self, rows: NDArray[np.bool_]) -> "_Atoms":
        return _Atoms(self.kinds[rows], self.n_types)

    def occurring(self) -> NDArray[np.int64]:
        return np.flatnonzero(np.bincount(self.kinds, minlength=self.n_types))

    def only(self, types: NDArray[np.int64]) -> "_Atoms":
        return _Atoms(np.searchsorted(types, self.kinds), len(types))

    def times(self, composition: NDArray[np.float64]) -> NDArray[np.float64]:
        return composition[self.kinds]

    def solve(self, values: NDArray[np.float64], free: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the mean of the values of each ``free`` type, zero if it does not occur."""
        sums = np.bincount(self.kinds, weights=values, minlength=self.n_types)
        counts = np.bincount(self.kinds, minlength=self.n_types)
        return (sums / np.maximum(counts, 1))[free]


def _design(
    structures: Sequence[Structure], target: Target, atomic_types: Sequence[int]
) -> "_Sums | _Atoms":
    if target.per == "system":
        return _Sums(_counts(structures, atomic_types))
    kinds = np.concatenate([structure.types for structure in structures])
    # Types that are not among them are refused once neighbor lists are made.
    indices = np.searchsorted(np.asarray(atomic_types), kinds)
    return _Atoms(np.minimum(indices, len(atomic_types) - 1), len(atomic_types))


def _values(structures: Sequence[Structure], target: Target) -> NDArray[np.float64]:
    """Return the values of all structures or atoms, [R, P], NaN where there is none."""
    values = []
    for structure in structures:
        shape = (len(structure) if target.per == "atom" else 1, target.numbers)
        reference = structure.references.get(target.name)
        missing = np.full(shape, np.nan)
        amount = structure.volume if target.per_volume else 1.0
        own = missing if reference is None else reference.values.reshape(shape) * amount
        values.append(own)
    return np.concatenate(values)


def _columns(
    values: NDArray[np.float64], design: "_Sums | _Atoms"
) -> Iterator[tuple["_Sums | _Atoms", NDArray[np.float64]]]:
    """Give for each property the values that are known, and what they depend on."""
    for column in values.T:
        known = ~np.isnan(column)
        yield design.where(known), column[known]


def _without_far_values(
    values: NDArray[np.float64], design: "_Sums | _Atoms"
) -> Iterator[tuple["_Sums | _Atoms", NDArray[np.float64]]]:
    """Give what :func:`_columns` gives, without values of systems that no composition explains."""
    for known, column in _columns(values, design):
        if isinstance(known, _Sums) and len(column):
            shares = known.counts / known.n_atoms[:, None]
            far = far_from_others(robust_residuals(shares, column / known.n_atoms))
            if far.any():
                yield known.where(~far), column[~far]
                continue
        yield known, column


def _counts(structures: Sequence[Structure], atomic_types: Sequence[int]) -> NDArray[np.float64]:
    """Return the number of atoms of each type in each structure, (n_structures, n_types)."""
    types = np.asarray(atomic_types)
    counts = np.zeros((len(structures), len(types)))
    for row, structure in zip(counts, structures, strict=True):
        row += (structure.types[:, None] == types).sum(axis=0)
    return counts


def _fit_composition(
    design: "_Sums | _Atoms",
    values: NDArray[np.float64],
    atomic_types: Sequence[int],
    fixed: Fixed,
) -> NDArray[np.float64]:
    if isinstance(fixed, Mapping):
        known = {int(atomic_type): float(value) for atomic_type, value in fixed.items()}
    else:
        known = {} if fixed is None else dict.fromkeys(atomic_types, float(fixed))
    composition = np.array([known.get(atomic_type, 0.0) for atomic_type in atomic_types])
    free = np.array([atomic_type not in known for atomic_type in atomic_types])
    if free.any():
        # The second pass fits what rounding left of the first one: with energies of -1e6 eV the
        # residuals are otherwise a few digits worse than the data.
        for _ in range(2):
            composition[free] += design.solve(values - design.times(composition), free)
    return composition
