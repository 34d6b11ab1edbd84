"""Does the data look like what the options say it is? One line for each doubt, never a refusal."""

from collections.abc import Iterator, Mapping, Sequence

from mtt.data.plausibility.closeness import check_closeness
from mtt.data.plausibility.components import check_values
from mtt.data.plausibility.energies import check_energies
from mtt.data.plausibility.geometry import check_copies, check_geometry
from mtt.data.plausibility.gradients import check_gradients
from mtt.data.plausibility.sets import Sets
from mtt.data.structure import Structure
from mtt.data.target import Target

__all__ = ["doubts"]


def doubts(
    sets: Mapping[str, Sequence[Structure]],
    targets: Sequence[Target],
    length_unit: str,
    cutoff: float,
    fixed_baselines: Mapping[str, object],
    copies: bool = True,
    close: bool = True,
) -> Iterator[str]:
    """Give one sentence for each thing in the data that is rarely meant.

    :param sets: structures by the option they come from, ``training_set`` first
    :param cutoff: of the model, in ``length_unit``, the unit of the structures
    :param fixed_baselines: baselines that are not fitted, by the name of the target
    :param copies: look for structures that are there several times
    :param close: look for atoms that are too close in single structures
    """
    filled = {name: structures for name, structures in sets.items() if len(structures)}
    checked = Sets(filled, targets, length_unit, cutoff)
    yield from check_geometry(checked)
    if close:
        yield from check_closeness(checked)
    if copies:
        yield from check_copies(checked)
    yield from check_energies(checked, fixed_baselines)
    yield from check_gradients(checked)
    yield from check_values(checked)
