"""Energies that are off by the factor between two units, which no error in eV/atom tells."""

from collections.abc import Iterator, Mapping
from itertools import permutations
from typing import Final

import numpy as np

from mtt.data.same_units import factor
from mtt.report.parity import Parity
from mtt.units import ENERGY_UNITS, spelling

# Nobody has energies of atoms in joule.
_UNITS: Final = tuple(unit for unit in ENERGY_UNITS if unit != "J")
# How far predictions over references may be from the factor, of nearly all structures.
_WITHIN: Final = 0.02
_MOST: Final = 90


def unit_doubts(panels: Mapping[str, Parity]) -> Iterator[str]:
    """Give a sentence for each energy whose references look as if they had another unit."""
    for name, panel in panels.items():
        if not panel.is_total or spelling(panel.unit) not in ENERGY_UNITS:
            continue
        if not len(panel.reference) or (panel.reference == 0.0).any():
            continue
        ratios = panel.predicted / panel.reference
        for larger, smaller in permutations(_UNITS, 2):
            expected = factor(larger, smaller)
            if np.percentile(np.abs(ratios / expected - 1.0), _MOST) < _WITHIN:
                yield (
                    f"warning: predictions of {name} are {np.median(ratios):.4g} times the references,"
                    f" the factor between {larger} and {smaller}: check the unit that the options"
                    " state for the data, as in energy: {unit: eV}"
                )
                break
