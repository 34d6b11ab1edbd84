"""Errors of parts of the data: by config_type, element and size; and the structures with the largest."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mtt.data.structure import Structure
from mtt.elements import symbols
from mtt.printable import plural
from mtt.report.parity import Parity, rmse

Errors = dict[str, dict[str, float | int | str]]
# By what structures or atoms are divided, and by the name of each group: its errors.
Groups = dict[str, dict[str, dict[str, Any]]]

CONFIG_TYPE: Final = "config_type"
ELEMENT: Final = "element"
SIZE: Final = "size"
_NO_CONFIG_TYPE: Final = "(none)"
_SIZES: Final = 4
_WORST: Final = 10
_BINS: Final = 41


def errors(panels: Mapping[str, Parity]) -> Errors:
    """Return RMSE, MAE, largest error, unit and number of values of each panel, ready for JSON."""
    return {key(name): _errors(panel.errors, panel.unit) for name, panel in panels.items()}


def key(label: str) -> str:
    """Return the name in JSON of what has this label."""
    return label.replace(" ", "_")


def _errors(differences: NDArray[np.float64], unit: str) -> dict[str, float | int | str]:
    return {
        "rmse": rmse(differences),
        "mae": float(np.mean(np.abs(differences))),
        "max": float(np.max(np.abs(differences))),
        "unit": unit,
        "values": len(differences),
    }


def groups(panels: Mapping[str, Parity], structures: Sequence[Structure]) -> Groups:
    """Return the errors of each group of structures, and of the atoms of each element.

    A division of the data into one group is left out: it says nothing new.
    """
    divided: Groups = {}
    for division, names in (
        (CONFIG_TYPE, [structure.config_type or _NO_CONFIG_TYPE for structure in structures]),
        (SIZE, _sizes([len(structure) for structure in structures])),
    ):
        counted = Counter(names)
        if len(counted) > 1:
            ordered = sorted(counted, key=_in_order)
            numbers = {name: number for number, name in enumerate(ordered)}
            own = np.array([numbers[name] for name in names])
            of_values = {
                name: own[panel.structures]
                for name, panel in panels.items()
                if panel.structures is not None
            }
            parts = _divided(panels, of_values, len(ordered))
            divided[division] = _named(ordered, [counted[name] for name in ordered], parts)
    containing = Counter(kind for each in structures for kind in np.unique(each.types).tolist())
    types = sorted(containing)
    if len(types) > 1:
        of_values = {
            name: np.searchsorted(types, panel.types)
            for name, panel in panels.items()
            if panel.types is not None
        }
        parts = _divided(panels, of_values, len(types))
        names = [symbol or str(kind) for kind, symbol in zip(types, symbols(types), strict=True)]
        divided[ELEMENT] = _named(names, [containing[kind] for kind in types], parts)
    return divided


def _named(
    names: Sequence[str], counts: Sequence[int], parts: Sequence[Errors]
) -> dict[str, dict[str, Any]]:
    return {
        name: {"structures": count, "errors": part}
        for name, count, part in zip(names, counts, parts, strict=True)
    }


def _in_order(name: str) -> tuple[int, str]:
    """Sizes by number, everything else by the alphabet."""
    first = name.partition(" ")[0]
    return (int(first) if first.isascii() and first.isdigit() else 0, name)


def _sizes(numbers: Sequence[int]) -> list[str]:
    """Return names of groups with about as many structures each, ``2 to 8 atoms``; of few sizes, each."""
    ends = np.unique(numbers)
    if len(ends) > _SIZES:
        ends = np.unique(np.quantile(numbers, np.linspace(0, 1, _SIZES + 1)[1:], method="higher"))
    which = np.searchsorted(ends, numbers)
    named = {}
    for group in set(which.tolist()):
        inside = [number for number, own in zip(numbers, which, strict=True) if own == group]
        low, high = min(inside), max(inside)
        named[group] = plural(low, "atom") if low == high else f"{low} to {high} atoms"
    return [named[int(group)] for group in which]


def _divided(
    panels: Mapping[str, Parity], of_values: Mapping[str, NDArray[np.int64]], count: int
) -> list[Errors]:
    """Return the errors of each group; values are sorted once, as there may be very many groups.

    :param of_values: the number of the group of each value, by panel; others are left out
    """
    parts: list[Errors] = [{} for _ in range(count)]
    for name, numbers in of_values.items():
        order = np.argsort(numbers, kind="stable")
        ends = np.searchsorted(numbers[order], np.arange(count + 1))
        differences = panels[name].errors[order]
        for part, (first, end) in zip(parts, itertools.pairwise(ends.tolist()), strict=True):
            if end > first:
                part[key(name)] = _errors(differences[first:end], panels[name].unit)
    return parts


def worst(
    panels: Mapping[str, Parity], structures: Sequence[Structure]
) -> dict[str, list[dict[str, Any]]]:
    """Return the structures with the largest error of any value, worst first, for each panel."""
    listed: dict[str, list[dict[str, Any]]] = {}
    for name, panel in _shown(panels):
        assert panel.structures is not None
        largest = np.zeros(len(structures))
        np.maximum.at(largest, panel.structures, np.abs(panel.errors))
        order = np.argsort(-largest, kind="stable")[:_WORST]
        listed[key(name)] = [
            {
                "index": int(index),
                "source": structures[index].source,
                "config_type": structures[index].config_type,
                "atoms": len(structures[index]),
                "error": float(largest[index]),
                "unit": panel.unit,
            }
            for index in order
            if index in set(panel.structures.tolist())
        ]
    return listed


def histograms(panels: Mapping[str, Parity]) -> dict[str, dict[str, Any]]:
    """Return how many errors of each panel are in each of the bins around zero."""
    made = {}
    for name, panel in _shown(panels):
        limit = float(np.abs(panel.errors).max()) or 1.0
        counts, edges = np.histogram(panel.errors, _BINS, (-limit, limit))
        made[key(name)] = {"edges": edges.tolist(), "counts": counts.tolist(), "unit": panel.unit}
    return made


def _shown(panels: Mapping[str, Parity]) -> Iterable[tuple[str, Parity]]:
    return [(name, panel) for name, panel in panels.items() if not panel.is_total]
