"""Values of targets that are no energies: median and spread, and which stand far from the others."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtt.data.plausibility.robust import FAR, far_from_others
from mtt.data.plausibility.sets import Sets, places
from mtt.data.structure import Structure
from mtt.data.target import Target
from mtt.elements import symbols
from mtt.printable import plural

# Of more numbers, as of a spectrum, only their size is looked at.
_MOST: Final = 27
# More than this part are no outliers, but a second population.
_FEW: Final = 0.02
_AXES: Final = "xyz"


class Outlier(NamedTuple):
    """The number of a structure that is furthest from the others, in the unit of its target.

    ``row`` is that of the structure; ``median`` and ``spread`` are of the others: of values of atoms,
    those of atoms of the same type, ``kind``.
    """

    row: int
    value: float
    median: float
    spread: float
    kind: int | None


class Component(NamedTuple):
    """One component of a target, in its unit.

    - ``name``: of the component; empty if there is only one;
    - ``known``: how many numbers there are; ``missing``: how many are not known;
    - ``least``, ``median``, ``most``, ``spread``: of the numbers; the spread is 1.4826 times the median
      distance from the median, the standard deviation of normally distributed ones;
    - ``far``: structures with numbers far from the others, the furthest first.
    """

    name: str
    known: int
    missing: int
    least: float
    median: float
    most: float
    spread: float
    far: list[Outlier]


def components(
    structures: Sequence[Structure], target: Target, far: float = FAR
) -> Iterator[Component]:
    """Yield what the values of a target are like, component by component; nothing if none is known.

    :param far: in robust deviations, what counts as far from the others
    """
    rows: list[NDArray[np.float64]] = []
    owners: list[int] = []
    types: list[NDArray[np.int32]] = []
    for index, structure in enumerate(structures):
        if target.name in structure.references:
            values = structure.references[target.name].values.reshape(-1, target.numbers)
            rows.append(values)
            owners += [index] * len(values)
            if target.per == "atom":
                types.append(structure.types)
    if not rows:
        return
    table, owner = np.concatenate(rows), np.array(owners)
    kinds = np.concatenate(types) if types else None
    names = _names(target)
    if not names:
        sizes = np.sqrt(np.nansum(table**2, axis=1))
        sizes[np.isnan(table).all(axis=1)] = np.nan
        table, names = sizes[:, None], ["size"]
    for name, column in zip(names, table.T, strict=True):
        known = np.isfinite(column)
        own = column[known]
        if not len(own):
            continue
        median, spread = _usual(own)
        yield Component(
            name,
            len(own),
            int((~known).sum()),
            float(own.min()),
            median,
            float(own.max()),
            spread,
            _outliers(own, owner[known], None if kinds is None else kinds[known], far),
        )


def _usual(values: NDArray[np.float64]) -> tuple[float, float]:
    median = float(np.median(values))
    return median, 1.4826 * float(np.median(np.abs(values - median)))


def _outliers(
    values: NDArray[np.float64],
    owner: NDArray[np.int64],
    kinds: NDArray[np.int32] | None,
    far: float,
) -> list[Outlier]:
    """Return the structures with values (n,) far from the others, of the same type if there are types."""
    worst: dict[int, tuple[float, Outlier]] = {}
    for kind in [None] if kinds is None else np.unique(kinds).tolist():
        chosen = np.arange(len(values)) if kind is None else np.flatnonzero(kinds == kind)
        own, rows = values[chosen], owner[chosen]
        away = far_from_others(own, far)
        # Of few structures, values of atoms are counted.
        structures = len(np.unique(rows))
        found, of = (len(np.unique(rows[away])), structures)
        if structures < 5:
            found, of = int(away.sum()), len(own)
        if not found or found > max(1.0, _FEW * of):
            continue
        median, spread = _usual(own)
        for row, value in zip(rows[away].tolist(), own[away].tolist(), strict=True):
            distance = abs(value - median) / spread
            if row not in worst or distance > worst[row][0]:
                worst[row] = distance, Outlier(row, value, median, spread, kind)
    return [each for _, each in sorted(worst.values(), key=lambda pair: -pair[0])]


def _names(target: Target) -> list[str]:
    """Return the names of the numbers of a row; none if they are too many."""
    if target.numbers > _MOST:
        return []
    if target.type == "vector":
        names = list(_AXES)
    elif target.type == "matrix":
        names = [a + b for a in _AXES for b in _AXES]
    elif target.type == "spherical":
        names = [
            f"l={degree} m={m}" for degree, _ in target.irreps for m in range(-degree, degree + 1)
        ]
    else:
        names = [""]
    if target.properties == 1:
        return names
    return [f"{name} {k}".strip() for name in names for k in range(target.properties)]


def check_values(sets: Sets) -> Iterator[str]:
    """Tell of values of the training set far from all others, of targets that are no energies."""
    for target in sets.targets:
        if target.is_energy:
            continue
        for part in components(sets.train, target):
            if part.far:
                rows = np.array([each.row for each in part.far])
                worst = part.far[0]
                unit = f" {target.unit}" if target.unit else ""
                of = f"'{target.name}' ({part.name})" if part.name else f"'{target.name}'"
                others = "they are"
                if worst.kind is not None:
                    (symbol,) = symbols([worst.kind])
                    others = f"those of {symbol or f'type {worst.kind}'} are"
                yield (
                    f"{plural(len(rows), 'structure')} of training_set "
                    f"{'has' if len(rows) == 1 else 'have'} values of {of} far from all others, as "
                    f"{worst.value:.4g}{unit}, where {others} {worst.median:.3g} +- "
                    f"{worst.spread:.2g}: {places(sets.train, rows)}"
                )
