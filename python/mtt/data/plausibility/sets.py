"""The structures of a run as the checks of plausibility see them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtt.data.same_units import factor, in_angstrom, in_ev
from mtt.data.structure import Structure
from mtt.data.target import Target


@dataclass(frozen=True)
class Sets:
    """The structures of a run.

    - ``by_name``: structures by the option they come from, ``training_set`` first; none is empty;
    - ``targets``: those of the run;
    - ``length_unit``, ``cutoff``: of the model, whose unit is that of the structures.
    """

    by_name: Mapping[str, Sequence[Structure]]
    targets: Sequence[Target]
    length_unit: str
    cutoff: float

    @property
    def train(self) -> Sequence[Structure]:
        return self.by_name["training_set"]

    @property
    def angstrom(self) -> float:
        """Return the length unit of the structures in angstrom."""
        return in_angstrom(self.length_unit) or 1.0

    def ev(self, target: Target, power: int = 0) -> float:
        """Return the unit of an energy, over a power of the length unit, in eV and angstrom."""
        return factor(target.unit, "eV") / self.angstrom**power

    @property
    def energies(self) -> list[Target]:
        """Return the targets that are energies in a known unit."""
        return [t for t in self.targets if t.is_energy and in_ev(t.unit)]


def counts(structures: Sequence[Structure]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the sorted atomic types (T,) and how many atoms of each a structure has, (S, T)."""
    types = np.unique(np.concatenate([structure.types for structure in structures]))
    table = [(structure.types[:, None] == types).sum(axis=0) for structure in structures]
    return types, np.array(table, dtype=np.float64)


def places(structures: Sequence[Structure], rows: NDArray[np.int64], most: int = 3) -> str:
    """Return where some structures were read, as ``a.xyz#3, a.xyz#8 and 5 more``."""
    shown = [structures[row].source or f"structure {row}" for row in rows[:most].tolist()]
    if len(rows) > most:
        return f"{', '.join(shown)} and {len(rows) - most} more"
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))
