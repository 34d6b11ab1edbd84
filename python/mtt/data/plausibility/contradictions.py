"""Values of a file that contradict each other: two energies, or a stress and a virial."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import ase
import numpy as np
from numpy.typing import NDArray

from mtt.data.ase_frames import as_matrix, find

if TYPE_CHECKING:
    from mtt.options.schema.datasets import TargetOptions

_FREE: Final = "free_energy"
# Rounding in files is below this; what smearing or a wrong sign does is far above.
_TOLERANCE: Final = 1e-3


def contradictions(
    frames: Sequence[ase.Atoms], target: "TargetOptions", name: str
) -> Iterator[str]:
    """Say which values of the frames do not fit together, for one target that is an energy."""
    if not target.is_energy:
        return
    if target.key == "energy" and target.read_from is None and target.forces is not False:
        yield from _free_energies(frames, name)
    # In a unit of its own, a stress cannot be compared with what the file has beside it.
    if target.stress is not False and target.virial is not False and not _has_unit(target):
        yield from _stress_and_virial(frames)


def _has_unit(target: "TargetOptions") -> bool:
    return any(part and part.unit for part in (target.stress, target.virial))


def _free_energies(frames: Sequence[ase.Atoms], name: str) -> Iterator[str]:
    pairs = [(find(atoms, "energy"), find(atoms, _FREE)) for atoms in frames]
    known = [(_number(a), _number(b)) for a, b in pairs if a is not None and b is not None]
    energies, free = np.array(known, dtype=np.float64).reshape(-1, 2).T
    differing = np.abs(energies - free) > _TOLERANCE
    if differing.any():
        yield (
            f"{int(differing.sum())} of {len(frames)} structures have an `energy` and another "
            f"`{_FREE}` (up to {np.nanmax(np.abs(energies - free)):.4g} apart): with smearing, forces "
            f"belong to the free energy; take it with `{name}: {{key: {_FREE}}}`"
        )


def _number(value: Any) -> float:
    array = np.asarray(value)
    return float(array.reshape(-1)[0]) if array.size == 1 and array.dtype.kind in "fiu" else np.nan


def _stress_and_virial(frames: Sequence[ase.Atoms]) -> Iterator[str]:
    ratios = []
    for atoms in frames:
        stress, virial = (_matrix(find(atoms, key)) for key in ("stress", "virial"))
        if stress is None or virial is None or not atoms.pbc.all():
            continue
        expected = -stress * atoms.get_volume()
        scale = max(float(np.abs(expected).max()), float(np.abs(virial).max()))
        if np.abs(virial - expected).max() > _TOLERANCE * scale:
            size = float((expected * expected).sum())
            ratios.append(float((virial * expected).sum()) / size if size else np.inf)
    if not ratios:
        return
    ratio = float(np.median(ratios))
    how = (
        "the sign of one of them is reversed"
        if abs(ratio + 1.0) < 0.01
        else (f"one is {ratio:.4g} times what belongs to the other")
    )
    yield (
        f"{len(ratios)} of {len(frames)} structures have a `stress` and a `virial` that contradict "
        f"each other: {how} (virial = -volume * stress); say which one is wrong with `stress: off` or "
        "`virial: off`"
    )


def _matrix(value: Any) -> NDArray[np.float64] | None:
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        return None
    matrix = as_matrix(array)
    return None if matrix is None else matrix.astype(np.float64)
