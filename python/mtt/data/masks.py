"""Masks of values: where those of a frame are known."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtt.data.ase_frames import as_numbers, as_rows, find
from mtt.data.frames import Frame
from mtt.data.packed_zip import PackedAtoms
from mtt.data.structure import Structure
from mtt.data.target import Target
from mtt.errors import UserError
from mtt.options.reading.problems import did_you_mean


def find_value(frame: Frame, key: str, target: Target) -> Any:
    """Return what a frame has under a key; if it says what that is, in the order of the target."""
    value = find(frame.atoms, key)
    kept = frame.atoms.kept if isinstance(frame.atoms, PackedAtoms) else {}
    return value if value is None or key not in kept else kept[key].of(target, key, frame.source)


def find_masks(
    frames: Sequence[Frame],
    stored: Sequence[Any],
    structures: Sequence[Structure],
    target: Target,
    key: str,
) -> list[NDArray[np.bool_] | None]:
    """Return where values of each structure are known, in their own shape; None where all are.

    :param stored: the values
    :param key: of the masks in the file; empty if there are none
    :raises UserError: a mask is missing, of another shape than the values, or not of 0 and 1
    """
    if not key:
        return [None] * len(frames)
    masks: list[NDArray[np.bool_] | None] = []
    for value, structure, frame in zip(stored, structures, frames, strict=True):
        if value is None:
            masks.append(None)
            continue
        mask = find_value(frame, key, target)
        if mask is None:
            has = {*frame.atoms.info, *frame.atoms.arrays}
            near = did_you_mean(key, sorted(has))
            guess = f"did you mean '{near}'? " if near else ""
            raise UserError(
                f"no mask is stored under the key '{key}'",
                where=frame.source,
                hint=f"{guess}give each structure that has values a mask of them, or leave 'mask' out",
            )
        array = as_numbers(mask, "mask", key, frame.source)
        # Values of a shape that does not fit are refused as such.
        fits = as_rows(np.empty(np.shape(value)), target, len(structure)) is not None
        if fits and array.shape != np.shape(value):
            raise UserError(
                f"the mask under the key '{key}' has the shape {array.shape}, and the values that it "
                f"is of have {np.shape(value)}",
                where=frame.source,
            )
        if not np.isin(array, (0.0, 1.0)).all():
            bad = array[~np.isin(array, (0.0, 1.0))].ravel()[0]
            raise UserError(
                f"there is {bad:g} in the mask under the key '{key}'",
                where=frame.source,
                hint="write 1 where a value is known, and 0 where it is missing",
            )
        masks.append(array == 1.0 if fits else None)
    return masks


def with_room_left_out(
    value: Any, mask: NDArray[np.bool_] | None, room: int
) -> NDArray[np.bool_] | None:
    """Return the mask without those of the first ``room`` values that are not finite.

    Finite ones stay as they are: the hash of data that was read before depends on them.
    """
    try:
        first = np.isfinite(np.asarray(value, dtype=np.float64).ravel()[:room])
    except (TypeError, ValueError):
        return mask  # refused as such
    if first.all():
        return mask
    known = np.ones(np.size(value), bool) if mask is None else mask.ravel().copy()
    known[:room] &= first
    return known.reshape(np.shape(value))
