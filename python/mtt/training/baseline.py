"""What is taken off the energies before training: an energy per atom type, and a common scale.

With n_it atoms of type t among the n_i of structure i, the composition c solves the least-squares
problem ``min sum_i (E_i - sum_t n_it c_t)^2`` and, where the data leave it open (one molecule
only), is the shortest such vector. The scale is the root mean square over the training structures
of ``(E_i - sum_t n_it c_t) / n_i``. A model is trained on the *training units*

    energy per atom  e_i = (E_i - sum_t n_it c_t) / (n_i scale)
    forces           f_i = F_i / scale
    strain per atom  s_i = V_i stress_i / (n_i scale)          (dE/dstrain, not the virial's sign)

Everything here is float64, so that an offset of -1e5 eV per atom changes nothing that a float32
model gets to see.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mtt.data.structure import Structure, Target

Fixed = float | Mapping[int, float] | None


@dataclass(frozen=True)
class Baseline:
    """``composition`` (n_types,) float64, energy per atom of each type; ``scale``, an energy."""

    composition: NDArray[np.float64]
    scale: float


def fit_baseline(
    structures: Sequence[Structure],
    target: str,
    atomic_types: Sequence[int],
    fixed: Fixed = None,
    scale_targets: bool = True,
) -> Baseline:
    """Fit composition and scale to training structures.

    :param atomic_types: sorted types, among them all that occur
    :param fixed: energies per atom that are not to be fitted: one for all types, or one for each of
        some types
    :param scale_targets: False leaves the scale at one energy unit
    """
    counts = _counts(structures, atomic_types)
    energies = np.array([structure.targets[target].value for structure in structures])
    composition = _fit_composition(counts, energies, atomic_types, fixed)
    scale = 1.0
    if scale_targets:
        per_atom = (energies - counts @ composition) / counts.sum(axis=1)
        rms = float(np.sqrt(np.mean(per_atom * per_atom)))
        # Energies that the composition explains exactly leave only noise to divide by.
        noise = 1e-12 * max(1e-300, float(np.abs(energies / counts.sum(axis=1)).max()))
        scale = rms if rms > noise else 1.0
    return Baseline(composition, scale)


def refit_baseline(
    baseline: Baseline,
    structures: Sequence[Structure],
    target: str,
    atomic_types: Sequence[int],
    predicted: NDArray[np.float64],
) -> Baseline:
    """The baseline with its composition fitted again to what a model with it leaves.

    The correction of the composition solves the same problem as in :func:`fit_baseline`, with the
    residuals for energies; types that do not occur keep their energy, and the scale stays.

    :param predicted: (n_structures,) energies that the model with ``baseline`` gives
    """
    counts = _counts(structures, atomic_types)
    energies = np.array([structure.targets[target].value for structure in structures])
    occur = np.flatnonzero(counts.sum(axis=0))
    types = [atomic_types[index] for index in occur.tolist()]
    composition = baseline.composition.copy()
    composition[occur] += _fit_composition(counts[:, occur], energies - predicted, types, None)
    return replace(baseline, composition=composition)


def in_training_units(
    structures: Sequence[Structure],
    target: str,
    atomic_types: Sequence[int],
    baseline: Baseline,
) -> list[Structure]:
    """The same structures, with the one target in training units (see above)."""
    counts = _counts(structures, atomic_types)
    offsets = counts @ baseline.composition
    converted = []
    for structure, offset in zip(structures, offsets, strict=True):
        value = structure.targets[target]
        per_atom = 1.0 / (len(structure) * baseline.scale)
        new = Target(
            value=(value.value - float(offset)) * per_atom,
            forces=None if value.forces is None else value.forces / baseline.scale,
            stress=None if value.stress is None else value.stress * (structure.volume * per_atom),
        )
        converted.append(replace(structure, targets={target: new}))
    return converted


def _counts(structures: Sequence[Structure], atomic_types: Sequence[int]) -> NDArray[np.float64]:
    """Number of atoms of each type in each structure, (n_structures, n_types)."""
    types = np.asarray(atomic_types)
    counts = np.zeros((len(structures), len(types)))
    for row, structure in zip(counts, structures, strict=True):
        row += (structure.types[:, None] == types).sum(axis=0)
    return counts


def _fit_composition(
    counts: NDArray[np.float64],
    energies: NDArray[np.float64],
    atomic_types: Sequence[int],
    fixed: Fixed,
) -> NDArray[np.float64]:
    if isinstance(fixed, Mapping):
        given = {int(atomic_type): float(energy) for atomic_type, energy in fixed.items()}
    else:
        given = {} if fixed is None else dict.fromkeys(atomic_types, float(fixed))
    composition = np.array([given.get(atomic_type, 0.0) for atomic_type in atomic_types])
    free = np.array([atomic_type not in given for atomic_type in atomic_types])
    if free.any():
        # The second pass fits what rounding left of the first one: with energies of -1e6 eV the
        # residuals are otherwise a few digits worse than the data.
        for _ in range(2):
            residual = energies - counts @ composition
            correction, *_ = np.linalg.lstsq(counts[:, free], residual, rcond=None)
            composition[free] += correction
    return composition
