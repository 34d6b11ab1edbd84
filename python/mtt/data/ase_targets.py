"""Values, forces and stresses of the targets of frames, checked one by one."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtt.data.ase_frames import (
    KINDS,
    Kind,
    as_matrix,
    as_numbers,
    as_rows,
    find,
    kind_of,
    missing_hint,
    shapes_of,
)
from mtt.data.frames import Frame, listed, read_all
from mtt.data.masks import find_masks, find_value, with_room_left_out
from mtt.data.packed_zip import ONLY, why_missing
from mtt.data.same_units import factor
from mtt.data.structure import Reference, Structure
from mtt.data.target import GRADIENTS, POSITIONS, STRAIN, Target
from mtt.errors import UserError
from mtt.options.schema.data_paths import is_packed, is_values

if TYPE_CHECKING:
    from mtt.options.schema.datasets import GradientOptions, TargetOptions

logger = logging.getLogger(__name__)


def _frames(
    path: Path,
    files: dict[Path, list[Frame]],
    read_from: Path | None,
    keys: Mapping[str, str],
) -> tuple[Path, list[Frame]]:
    """Return the frames of another file than the structures' own, which must match them one to one."""
    if read_from is None:
        return path, files[path]
    if read_from not in files:
        files[read_from] = read_all(read_from, keys=keys, only_values=True)
    if len(files[read_from]) != len(files[path]):
        raise UserError(
            f"the file has {len(files[read_from])} structures, but {path} has {len(files[path])}",
            where=str(read_from),
            hint="values for the same structures must be in the same order",
        )
    return read_from, files[read_from]


def read_target(
    path: Path,
    files: dict[Path, list[Frame]],
    chosen: NDArray[np.int64],
    structures: list[Structure],
    options: "TargetOptions",
    length_unit: str,
    require: bool,
    keys: Mapping[str, str],
    room: int = 0,
) -> list[Reference | None]:
    """Return what is known of one target for the frames ``chosen`` of ``path``.

    :param files: frames of the files that were read so far; other files are added to it
    :param structures: the structures that were made of these frames
    :param length_unit: of the structures; gradients are given in it and the target's unit
    :param require: whether a missing value is an error; if not, values are NaN, and a reference is
        None where nothing is known at all
    :param keys: of all targets (:func:`mtt.data.memmap_folder.values_of`)
    :param room: how many of the first values of a structure count for nothing, finite or not
    :raises UserError: missing keys, wrong shapes, values that are not finite numbers
    """
    own, frames = _frames(path, files, options.read_from, keys)
    key = _key_in(own, options)
    values = _values(own, [frames[i] for i in chosen], structures, options, key, require, room)

    def gradient(quantity: str) -> list[NDArray[np.float64] | None]:
        asked: GradientOptions | bool | None = getattr(options, quantity)
        other = getattr(asked, "read_from", None) or options.read_from
        file, all_frames = _frames(path, files, other, keys)
        key, form = getattr(asked, "key", None) or quantity, quantity
        if key == quantity and (is_packed(file) or is_values(file)):
            form = "forces" if quantity == "forces" else "strain"
            key = f"{_key_in(file, options)}/{form}"
        wish = _Wish(
            quantity,
            key,
            form,
            bool(asked),
            getattr(asked, "missing", "error") == "allow",
            _factor(quantity, getattr(asked, "unit", ""), options.unit, length_unit),
        )
        picked = [all_frames[i] for i in chosen]
        return _gradients(file, picked, structures, wish, require)

    nothing: list[NDArray[np.float64] | None] = [None] * len(structures)
    forces = stress = nothing
    if options.is_energy:
        forces = nothing if options.forces is False else gradient("forces")
        # Stress and virial are one quantity; where neither is mentioned, stress comes first.
        if options.stress or (options.stress is None and not options.virial):
            stress = gradient("stress")
        both_open = options.stress is None and options.virial is None
        if options.virial or (both_open and all(matrix is None for matrix in stress)):
            stress = gradient("virial")
    return [
        None if np.isnan(v).all() and f is None and s is None else Reference(v, f, s)
        for v, f, s in zip(values, forces, stress, strict=True)
    ]


def _key_in(path: Path, options: "TargetOptions") -> str:
    """Return the key of the values of a target in a file; some files have only one."""
    return ONLY if is_values(path) else options.key


class _Wish(NamedTuple):
    """What is looked for of a gradient, and the factor to its numbers in the file.

    ``form`` is what the file has: the quantity itself, or a derivative by ``strain``.
    """

    quantity: str
    key: str
    form: str
    requested: bool
    may_be_missing: bool
    factor: float


def _factor(quantity: str, unit: str, energy: str, length: str) -> float:
    below = {"forces": f"/{length}", "stress": f"/{length}^3"}.get(quantity, "")
    return factor(unit, energy + below)


def describe_targets(
    options: Mapping[str, "TargetOptions"],
    structures: Iterable[Structure],
    units: Mapping[str, str] | None = None,
) -> list[Target]:
    """Return the description of each target, in the order of their names.

    The order of an options file must not matter: options are recorded with sorted keys, and initial
    weights and sums depend on the order of the targets.

    :param structures: what was read; a target has the gradients that any of them has
    :param units: of the structures' targets, where they are not those of the options
    """
    gradients: dict[str, set[str]] = {name: set() for name in options}
    for structure in structures:
        for name, known in gradients.items():
            reference = structure.references.get(name)
            if reference is not None and reference.forces is not None:
                known.add(POSITIONS)
            if reference is not None and reference.stress is not None:
                known.add(STRAIN)
    return [
        replace(
            described(name, target),
            unit=(units or {}).get(name, target.unit),
            gradients=tuple(kind for kind in GRADIENTS if kind in gradients[name]),
        )
        for name, target in sorted(options.items())
    ]


def described(name: str, options: "TargetOptions") -> Target:
    """Return what the options say of a target, without gradients."""
    return Target(
        name=name,
        quantity=options.quantity,
        unit=options.unit,
        per=options.per,
        type=options.type,
        properties=options.properties,
        description=options.description,
        irreps=tuple((irrep.o3_lambda, irrep.o3_sigma) for irrep in options.irreps or ()),
    )


def _values(
    path: Path,
    frames: list[Frame],
    structures: list[Structure],
    options: "TargetOptions",
    key: str,
    require: bool,
    room: int,
) -> list[NDArray[np.float64]]:
    """Return the values of each structure: (P,) per system, (N, P) per atom, NaN where missing."""
    target = described("", options)
    kind = kind_of(target)
    stored = [find_value(frame, key, target) for frame in frames]
    missing = _sources_of_missing(frames, stored)
    everywhere, allowed = len(missing) == len(frames), options.missing == "allow"
    needed = require if allowed else require or "key" in options.model_fields_set
    if missing and needed and (everywhere or not allowed):
        lacking = [frame for frame, value in zip(frames, stored, strict=True) if value is None]
        every = [frame.atoms for frame in frames]
        pairs = [(one.atoms, one.source) for one in lacking]
        packed = why_missing(pairs, every, kind.singular, key)
        hint = missing_hint(every, kind, key)
        what = f"no {kind.singular} is stored under the key '{key}'"
        if packed is not None and (packed.is_nan or not everywhere):
            what, hint = packed.what, packed.hint
        raise UserError(
            what + ("" if everywhere else f" in {_count(len(missing), len(frames))}"),
            where=str(path) if everywhere else f"{listed(missing)} (counted from 0)",
            hint=hint if everywhere else f"{hint}; 'missing: allow' learns it from the others",
        )
    if missing:
        share = _count(len(missing), len(frames))
        where = "" if everywhere else f": {listed(missing)}"
        logger.info("%s: no reference %s in %s%s", path, kind.singular, share, where)
    flat = all(one.volume == 0.0 for one in structures)
    if target.per_volume and needed and not allowed and flat:
        raise UserError(
            f"{kind.phrase} was asked for, but no structure is periodic along all three axes",
            where=str(path),
            hint="leave the target out of the options, or write 'missing: allow'",
        )
    values = []
    masks = find_masks(frames, stored, structures, target, options.mask)
    nothing = [mask is not None and not mask.ravel()[room:].any() for mask in masks]
    if any(nothing):
        logger.log(
            logging.WARNING if require and not allowed else logging.INFO,
            "%s: the mask under the key '%s' leaves out every %s in %s: %s",
            *(path, options.mask, kind.singular, _count(sum(nothing), len(frames))),
            listed([frame.source for frame, own in zip(frames, nothing, strict=True) if own]),
        )
    for value, mask, structure, frame in zip(stored, masks, structures, frames, strict=True):
        own = (len(structure),) if target.per == "atom" else ()
        if value is None or (target.per_volume and structure.volume == 0.0):
            values.append(np.full((*own, target.numbers), np.nan))
            continue
        mask = with_room_left_out(value, mask, room)
        given = value if mask is None else np.where(mask.reshape(np.shape(value)), value, 0.0)
        rows = _checked(given, kind, key, target, len(structure), frame.source)
        known = None if mask is None else as_rows(mask, target, len(structure))
        values.append(rows if known is None else np.where(known, rows, np.nan))
    return values


def _sources_of_missing(frames: Sequence[Frame], values: Sequence[Any]) -> list[str]:
    pairs = zip(frames, values, strict=True)
    return [frame.source for frame, value in pairs if value is None]


def _checked(
    value: Any, kind: Kind, key: str, target: Target, n_atoms: int, where: str
) -> NDArray[np.float64]:
    array = as_numbers(value, kind.plural, key, where)
    rows = as_rows(array, target, n_atoms)
    if rows is not None:
        return rows
    shapes = " or ".join(shapes_of(target, n_atoms))
    if target.per == "atom":
        raise UserError(
            f"the {kind.plural} under the key '{key}' have the shape {array.shape};"
            f" {shapes} is needed for {n_atoms} atoms",
            where=where,
            hint="for a value of the whole structure, leave out 'per: atom'",
        )
    raise UserError(
        f"the {kind.singular} under the key '{key}' has the shape {array.shape};"
        f" {'one number' if target.numbers == 1 else shapes} is needed",
        where=where,
        hint=None if target.numbers == 1 else "'type' and 'properties' say what the numbers are",
    )


def _gradients(
    path: Path,
    frames: list[Frame],
    structures: list[Structure],
    wish: _Wish,
    require: bool,
) -> list[NDArray[np.float64] | None]:
    """Return forces, or stresses from stresses or virials; None where the data has none."""
    quantity, key = wish.quantity, wish.key
    values = [find(frame.atoms, key) for frame in frames]
    missing = _sources_of_missing(frames, values)
    everywhere = len(missing) == len(frames)
    if missing and wish.requested and (require and everywhere or not wish.may_be_missing):
        verb = "were" if quantity == "forces" else "was"
        hint = missing_hint([frame.atoms for frame in frames], KINDS[quantity], key)
        if everywhere:
            hint += f"; or leave '{quantity}' out of the options"
        else:
            hint += f"; '{quantity}: {{key: {key}, missing: allow}}' learns from those that have it"
        raise UserError(
            f"{quantity} {verb} asked for, but {_count(len(missing), len(frames))}"
            f" {'lacks' if len(missing) == 1 else 'lack'} the key '{key}'",
            where=f"{listed(missing)} (counted from 0)",
            hint=hint,
        )
    result: list[NDArray[np.float64] | None] = []
    for value, structure, frame in zip(values, structures, frames, strict=True):
        array: NDArray[np.float64] | None = None
        if value is not None and quantity == "forces":
            array = _forces(value, key, len(structure), frame.source)
        elif value is not None:
            array = _stress(value, wish, structure, frame.source)
        result.append(array if array is None or wish.factor == 1.0 else array * wish.factor)
    _log_gradients(path, frames, wish, missing, result, require)
    return result


def _log_gradients(
    path: Path,
    frames: list[Frame],
    wish: _Wish,
    missing: list[str],
    result: list[Any],
    require: bool,
) -> None:
    quantity, total = wish.quantity, len(frames)
    present = total - len(missing)
    used = sum(value is not None for value in result)
    if present == 0:
        if quantity == "forces":
            hint = missing_hint([frame.atoms for frame in frames], KINDS[quantity], wish.key)
            logger.info("%s: no forces under the key '%s' (%s)", path, wish.key, hint)
        return
    if missing:
        share = f"{present} of {total} structures"
        without = f"the others go without: {listed(missing)}"
        logger.info("%s: %s found in %s; %s", path, quantity, share, without)
    elif not wish.requested:
        logger.info("%s: %s found in %s and used", path, quantity, _count(total, total))
    if used < present:
        left_out = f"{quantity} of {present - used} structures"
        logger.info("%s: %s left out: not periodic along all three axes", path, left_out)
    if wish.requested and used == 0 and (require or not wish.may_be_missing):
        raise UserError(
            f"{quantity} was asked for, but no structure is periodic along all three axes",
            where=str(path),
            hint=f"leave '{quantity}' out of the options",
        )


def _count(part: int, total: int) -> str:
    if part == total:
        return f"all {total} structures" if total > 1 else "the only structure"
    return f"{part} of {total} structures"


def _forces(value: Any, key: str, n_atoms: int, where: str) -> NDArray[np.float64]:
    array = as_numbers(value, "forces", key, where)
    if array.shape != (n_atoms, 3):
        raise UserError(
            f"the forces under the key '{key}' have the shape {array.shape};"
            f" {(n_atoms, 3)} is needed for {n_atoms} atoms",
            where=where,
        )
    return array


def _stress(
    value: Any, wish: _Wish, structure: Structure, where: str
) -> NDArray[np.float64] | None:
    quantity, key = wish.quantity, wish.key
    array = as_numbers(value, quantity, key, where)
    matrix = as_matrix(array)
    if matrix is None:
        raise UserError(
            f"the {quantity} under the key '{key}' has the shape {array.shape};"
            " (3, 3), (9,) or (6,) in Voigt order (xx, yy, zz, yz, xz, xy) is needed",
            where=where,
        )
    if np.abs(matrix - matrix.T).max() > 1e-3 * np.abs(matrix).max():
        raise UserError(
            f"the {quantity} under the key '{key}' is not symmetric: {matrix.tolist()}",
            where=where,
            hint="check the order of its components",
        )
    if not structure.pbc.all():
        return None
    symmetric = 0.5 * (matrix + matrix.T)
    if wish.form == "stress":
        return symmetric
    return (1.0 if wish.form == "strain" else -1.0) * symmetric / structure.volume
