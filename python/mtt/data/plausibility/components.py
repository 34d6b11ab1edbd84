"""Values of targets that are no energies: median and spread, and which stand far from the others."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtt.data.plausibility.robust import FAR, far_from_others
from mtt.data.plausibility.sets import Sets, places
from mtt.data.structure import Structure
from mtt.data.target import Target
from mtt.printable import plural

# Of more numbers, as of a spectrum, only their size is looked at.
_MOST: Final = 27
_AXES: Final = "xyz"


class Component(NamedTuple):
    """One component of a target, in its unit.

    - ``name``: of the component; empty if there is only one;
    - ``known``: how many numbers there are; ``missing``: how many are not known;
    - ``least``, ``median``, ``most``, ``spread``: of the numbers; the spread is 1.4826 times the median
      distance from the median, the standard deviation of normally distributed ones;
    - ``far``: structures with numbers far from the others, the furthest first, each with that number.
    """

    name: str
    known: int
    missing: int
    least: float
    median: float
    most: float
    spread: float
    far: list[tuple[int, float]]


def components(
    structures: Sequence[Structure], target: Target, far: float = FAR
) -> Iterator[Component]:
    """Yield what the values of a target are like, component by component; nothing if none is known.

    :param far: in robust deviations, what counts as far from the others
    """
    rows: list[NDArray[np.float64]] = []
    owners: list[int] = []
    for index, structure in enumerate(structures):
        if target.name in structure.references:
            values = structure.references[target.name].values.reshape(-1, target.numbers)
            rows.append(values)
            owners += [index] * len(values)
    if not rows:
        return
    table, owner = np.concatenate(rows), np.array(owners)
    names = _names(target)
    if not names:
        table, names = np.sqrt(np.nansum(table**2, axis=1, keepdims=True)), ["size"]
    for name, column in zip(names, table.T, strict=True):
        known = np.isfinite(column)
        own = column[known]
        if not len(own):
            continue
        median = float(np.median(own))
        away = np.abs(own - median)
        chosen = np.flatnonzero(far_from_others(own, far))
        worst: dict[int, float] = {}
        for row in chosen[np.argsort(-away[chosen], kind="stable")].tolist():
            worst.setdefault(int(owner[known][row]), float(own[row]))
        yield Component(
            name,
            len(own),
            int((~known).sum()),
            float(own.min()),
            median,
            float(own.max()),
            1.4826 * float(np.median(away)),
            list(worst.items()),
        )


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
                rows = np.array([row for row, _ in part.far])
                value = part.far[0][1]
                unit = f" {target.unit}" if target.unit else ""
                of = f"'{target.name}' ({part.name})" if part.name else f"'{target.name}'"
                yield (
                    f"{plural(len(rows), 'structure')} of training_set "
                    f"{'has' if len(rows) == 1 else 'have'} values of {of} far from all others, as "
                    f"{value:.4g}{unit}, where they are {part.median:.3g} +- {part.spread:.2g}: "
                    f"{places(sets.train, rows)}"
                )
