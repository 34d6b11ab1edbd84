"""Files of structures through ASE, and the numbers that they hold."""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import ase
import ase.io
import numpy as np
from numpy.typing import NDArray

from mtt.data.broken_xyz import first_fault
from mtt.data.file_limits import within_limits
from mtt.data.target import Target
from mtt.errors import UserError
from mtt.files import check_regular
from mtt.filetypes.recognize import describe

_LONGEST: Final = 500
# Squares and sums of such numbers are still numbers.
_LARGEST: Final = 1e100
_FORMATS: Final = "use a format that ASE reads, for example extended XYZ (.xyz)"
# Kinds of files that are never data, as mtt.filetypes.recognize tells them.
_FOREIGN: Final = {
    *("html", "lfs-pointer", "zeros", "checkpoint", "model", "options", "npy", "npz", "values"),
    *("torchscript", "safetensors", "onnx", "elf", "tensorflow", "tensorflow-deepmd"),
}


def read_frames(path: Path, form: str | None = None) -> list[ase.Atoms]:
    """Return all frames of a file, in order.

    :param form: name that ASE has for the format; None lets it tell the format by the file
    :raises UserError: if the file is missing, is not a file of structures, or holds none
    """
    return list(each_frame(path, form))


def each_frame(path: Path, form: str | None = None) -> Iterator[ase.Atoms]:
    """Yield the frames of a file one by one, as :func:`read_frames` returns them."""
    check_data_file(path)
    empty = True
    try:
        with within_limits(path):
            for atoms in ase.io.iread(
                str(path), index=":", format=form, do_not_split_by_at_sign=True
            ):
                empty = False
                yield atoms
    except UserError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from error
    if empty:
        raise _unreadable(path, None)


def check_data_file(path: Path) -> None:
    """Refuse a path at which there is no file with anything in it; raises UserError."""
    if not path.exists():
        raise UserError(
            "there is no such file",
            where=str(path),
            hint="paths are relative to the folder that mtt is run in",
        )
    if path.is_dir():
        raise UserError("this is a folder, not a file of structures", where=str(path))
    check_regular(path)
    if path.stat().st_size == 0:
        raise UserError("the file is empty: it holds no structures", where=str(path))


def _unreadable(path: Path, error: Exception | None) -> UserError:
    """Return the error for a file that ASE cannot read: what it is, or where it is broken."""
    kind = describe(path)
    if kind.pickled or kind.kind in _FOREIGN:
        if kind.kind in ("checkpoint", "model", "options"):  # their hints are about models
            kind = replace(kind, hint="name the file that has the structures, such as data.xyz")
        return kind.refusal(path, "a file of structures", give=_FORMATS)
    fault = first_fault(path)
    if fault is not None:
        text = f"the file cannot be read as a file of structures: {fault.what}"
        hint = fault.hint or f"mend this line, or {_FORMATS}"
        return UserError(text, where=fault.where, hint=hint)
    if error is None:
        return UserError("the file holds no structures", where=str(path))
    # ASE's readers raise whatever their parser happened to stumble over.
    detail = " ".join(str(error)[:_LONGEST].split()) or type(error).__name__
    return UserError(
        f"the file cannot be read as a file of structures: {detail}",
        where=str(path),
        hint=_FORMATS,
    )


def find(atoms: ase.Atoms, key: str) -> Any:
    """Return the value stored under ``key`` with a frame, or None.

    Looks at values of the structure (info), of the atoms (arrays), and at what ASE moved into a
    single-point calculator, as it does with keys such as energy, forces and stress.
    """
    if key in atoms.info:
        return atoms.info[key]
    if key in atoms.arrays and key not in ("numbers", "positions"):
        return atoms.arrays[key]
    if atoms.calc is not None:
        return getattr(atoms.calc, "results", {}).get(key)
    return None


class Kind(NamedTuple):
    """What a value in a file is, in words, and which arrays have its shape."""

    singular: str
    plural: str
    fits: Callable[[NDArray[Any], int], bool]
    article: str = "a "

    @property
    def phrase(self) -> str:
        """Return the words for one of it, with an article: ``an energy``."""
        return f"{self.article}{self.singular}"


def kind_of(target: Target) -> Kind:
    """Return the kind of the values of a target."""
    if target.is_energy:
        return ENERGY
    quantity = target.quantity or "value"
    words = f"{quantity} of atoms" if target.per == "atom" else quantity
    return Kind(words, words, lambda array, n_atoms: as_rows(array, target, n_atoms) is not None)


def _inner_shapes(target: Target) -> list[tuple[int, ...]]:
    """Return the shapes that files may have the values of one structure or atom in."""
    numbers, more = target.numbers, (target.properties,)
    shapes: list[tuple[int, ...]] = [() if numbers == 1 else (numbers,), (numbers,)]
    if target.type == "vector":
        shapes += [(3, *more)]
    if target.type == "matrix":
        shapes += [(3, 3), (6,)] if more == (1,) else [(3, 3, *more), (9, *more)]
    return list(dict.fromkeys(shapes))


def shapes_of(target: Target, n_atoms: int) -> list[str]:
    """Return the shapes that a message names for the values of a target."""
    own = (n_atoms,) if target.per == "atom" else ()
    named = [str((*own, *shape)) for shape in _inner_shapes(target)[: None if own else 3]]
    if target.numbers == 1:
        return named[:1]
    if target.type == "matrix" and target.properties == 1:
        named[-1] += " in Voigt order (xx, yy, zz, yz, xz, xy)"
    return named


def as_rows(array: NDArray[Any], target: Target, n_atoms: int) -> NDArray[Any] | None:
    """Return the values of a target as (P,), or (N, P) per atom; None if the shape does not fit."""
    own = (n_atoms,) if target.per == "atom" else ()
    fits = any(array.shape == (*own, *shape) for shape in _inner_shapes(target))
    if not fits and not (target.numbers == 1 and not own and array.size == 1 and array.ndim <= 1):
        return None
    if target.type == "matrix" and array.shape == (*own, 6):
        array = array[..., np.array(_VOIGT)]
    return array.reshape((*own, target.numbers))


_VOIGT: Final = [[0, 5, 4], [5, 1, 3], [4, 3, 2]]


def as_matrix(array: NDArray[Any]) -> NDArray[Any] | None:
    """Return a stress or virial (3, 3) from its matrix or from Voigt's order; None if it is neither.

    Rows first or columns first makes no difference to a symmetric matrix.
    """
    if array.shape == (6,):
        return array[_VOIGT]
    return array.reshape(3, 3) if array.shape in ((9,), (3, 3)) else None


def _is_matrix(array: NDArray[Any], n_atoms: int) -> bool:
    return array.shape in ((6,), (9,), (3, 3))


ENERGY: Final = Kind(
    "energy", "energy", lambda array, n_atoms: array.size == 1 and array.ndim <= 1, "an "
)
KINDS: Final[Mapping[str, Kind]] = {
    "forces": Kind("forces", "forces", lambda array, n_atoms: array.shape == (n_atoms, 3), ""),
    "stress": Kind("stress", "stress", _is_matrix),
    "virial": Kind("virial", "virial", _is_matrix),
}


def keys_that_fit(frames: Sequence[ase.Atoms], kind: Kind) -> list[str]:
    """Return the names, sorted, under which any frame stores numbers with the shape of ``kind``."""
    names: set[str] = set()
    for atoms in frames:
        results = {} if atoms.calc is None else getattr(atoms.calc, "results", {})
        arrays = {k: v for k, v in atoms.arrays.items() if k not in ("numbers", "positions")}
        for key, value in {**atoms.info, **arrays, **results}.items():
            array = np.asarray(value)
            if array.dtype.kind in "fiu" and kind.fits(array, len(atoms)):
                names.add(str(key))
    return sorted(names)


def missing_hint(frames: Sequence[ase.Atoms], kind: Kind, key: str) -> str:
    """Return what to tell someone whose ``key`` is not in the file."""
    keys = keys_that_fit(frames, kind)
    if not keys:
        example = "; extended XYZ has it as energy=-1.5 in the second line of each frame"
        return f"nothing in the file has the shape of {kind.phrase}" + (
            example if kind is ENERGY else ""
        )
    # Where only some frames lack the key, there is nothing to guess.
    if key in keys:
        return "other structures of the file have it: add it here, or remove the structure"
    close = difflib.get_close_matches(key, keys, n=1)
    guess = f"did you mean '{close[0]}'? " if close else ""
    listed = ", ".join(f"'{k}'" for k in keys)
    return f"{guess}keys in the file that could be {kind.phrase}: {listed}"


def as_numbers(value: Any, quantity: str, key: str, where: str) -> NDArray[np.float64]:
    """Return ``value`` as float64 numbers of any shape, all of them finite and below 1e100.

    :raises UserError: it is not made of such numbers
    """
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        shown = " ".join(repr(value).split())[:60]
        raise UserError(
            f"the {quantity} under the key '{key}' is not made of numbers: {shown}", where=where
        ) from None
    if not np.isfinite(array).all():
        bad = array[~np.isfinite(array)].ravel()[0]
        raise UserError(
            f"there is {bad} in the {quantity} under the key '{key}'",
            where=where,
            hint="remove this structure or compute it again",
        )
    if array.size and np.abs(array).max() > _LARGEST:
        bad = array[np.abs(array) > _LARGEST].ravel()[0]
        raise UserError(
            f"there is {bad:g} in the {quantity} under the key '{key}', too much to calculate with",
            where=where,
            hint="remove this structure or compute it again",
        )
    return array
