"""Errors of parts of the data: by config_type, element and size; and the structures with the largest."""

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
        if len(set(names)) > 1:
            divided[division] = {
                name: _of_structures(panels, np.array([other == name for other in names]))
                for name in dict.fromkeys(sorted(names, key=_in_order))
            }
    types = sorted({int(kind) for structure in structures for kind in structure.types})
    if len(types) > 1:
        divided[ELEMENT] = {
            symbol or str(kind): {
                "structures": sum(bool((one.types == kind).any()) for one in structures),
                "errors": _some(panels, lambda panel, kind=kind: panel.types == kind),
            }
            for kind, symbol in zip(types, symbols(types), strict=True)
        }
    return divided


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


def _of_structures(panels: Mapping[str, Parity], chosen: NDArray[np.bool_]) -> dict[str, Any]:
    return {
        "structures": int(chosen.sum()),
        "errors": _some(panels, lambda panel: chosen[panel.structures]),
    }


def _some(panels: Mapping[str, Parity], choose: Any) -> Errors:
    """Return errors of the values that ``choose`` picks from a panel."""
    chosen: Errors = {}
    for name, panel in panels.items():
        picked = panel.errors[choose(panel)]
        if panel.structures is not None and picked.size:
            chosen[key(name)] = _errors(picked.ravel(), panel.unit)
    return chosen


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
