"""Values as metatensor stores them (``.mts``): a zip archive of arrays, read without its library.

An archive has ``keys.npy`` and ``blocks/I/`` with ``values``, ``samples``, ``components/J`` and
``properties``, and ``gradients/NAME/`` with the same. Nothing in it is trusted: neither sizes nor labels.
"""

import io
import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mtt.data.target import Target
from mtt.errors import UserError
from mtt.filetypes import bounded_zip
from mtt.printable import printable

HINT: Final = "the file is damaged or of other data: write it again"
_SPHERICAL: Final = ["o3_lambda", "o3_sigma"]
_PAIRS: Final = {"first_atom", "second_atom"}
# Of one archive; a target has a few blocks, of some ten records each.
_MOST_RECORDS: Final = 10_000


@dataclass(frozen=True)
class Layout:
    """What rows of values are: of which samples, and how they turn."""

    per: str
    type: str
    properties: int
    irreps: tuple[tuple[int, int], ...] = ()

    def __str__(self) -> str:
        """Return it in words, as ``spherical per atom, 1 property, irreps (0, 1)``."""
        count = "1 property" if self.properties == 1 else f"{self.properties} properties"
        irreps = ", ".join(map(str, self.irreps))
        return f"{self.type} per {self.per}, {count}" + (f", irreps {irreps}" if irreps else "")


@dataclass
class Values:
    """Values of one structure and their gradients.

    - ``values``: (P,), (3, P) or (3, 3, P), of a spherical target all blocks in one row, with
      (N, ...) in front of it if they are per atom;
    - ``gradients``: derivatives by ``positions`` (N, 3) and ``strain`` (3, 3) of one number.
    """

    layout: Layout
    values: NDArray[np.float64]
    gradients: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def of(self, target: Target, key: str, where: str) -> NDArray[np.float64]:
        """Return the values as (P,), or (N, P) per atom, blocks in the order of the target's.

        :raises UserError: they are of another kind than the target
        """
        own, irreps = self.layout.irreps, target.irreps
        wanted = Layout(target.per, target.type, target.properties, irreps)
        same_but_for_order = replace(self.layout, irreps=irreps) == wanted
        if not same_but_for_order or sorted(own) != sorted(irreps):
            raise UserError(
                f"the values under the key '{key}' are {self.layout}; the target is {wanted}",
                where=where,
                hint="make 'type', 'per', 'properties' and 'irreps' of the target those of the data",
            )
        if own == irreps:
            rows = self.values.shape[:1] if target.per == "atom" else ()
            return self.values.reshape((*rows, target.numbers))
        sizes = [(2 * degree + 1) * self.layout.properties for degree, _ in own]
        ends = np.cumsum(sizes)
        parts = {
            irrep: self.values[..., end - size : end]
            for irrep, size, end in zip(own, sizes, ends, strict=True)
        }
        return np.concatenate([parts[irrep] for irrep in irreps], axis=-1)


class Records:
    """Records of an archive that is stored without packing, each read only once it is asked for.

    :raises UserError: the archive is damaged, packed, or states more than it has
    """

    def __init__(self, content: bytes, where: str) -> None:
        self._where = where
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(content))
            infos = self._archive.infolist()
        except bounded_zip.WRONG as error:
            raise damaged(where, f"it is no archive of arrays ({error})") from error
        if len(infos) > _MOST_RECORDS:
            raise damaged(where, f"it has {len(infos)} records")
        check_stored(infos, len(content), where)
        self.names = {info.filename for info in infos}

    def array(self, name: str) -> NDArray[Any]:
        """Return an array, which may be empty.

        :raises UserError: it is not there, no array of numbers or labels, or not as long as it says
        """
        try:
            content = bounded_zip.read(self._archive, name, 2**62)
        except bounded_zip.ZipProblem as error:
            raise damaged(self._where, str(error)) from error
        return array_of(content, f"{self._where}, {name}")

    def labels(self, name: str) -> tuple[list[str], NDArray[np.int64]]:
        """Return names of labels, and a row of numbers for each entry."""
        array = self.array(name)
        names = list(array.dtype.names or ())
        if array.ndim != 1 or not names or any(array.dtype[one].kind != "i" for one in names):
            raise damaged(self._where, f"{name} holds no labels")
        return names, np.stack([array[one].astype(np.int64) for one in names], axis=1)


def check_stored(infos: list[zipfile.ZipInfo], size: int, where: str) -> None:
    """Refuse archives whose records are packed, there twice, or longer together than the file.

    :raises UserError: which it is
    """
    stated = 0
    for info in infos:
        if info.flag_bits & 0x1 or info.compress_type != zipfile.ZIP_STORED:
            raise damaged(
                where, f"{info.filename} is packed", "store it without packing: zip -0 -r"
            )
        stated += max(info.file_size, info.compress_size)
    if stated > size:
        raise damaged(where, f"its records are to have {stated} bytes, and it has {size}")
    if len({info.filename for info in infos}) < len(infos):
        raise damaged(where, "it has two records of one name")


def damaged(where: str, why: str, hint: str = HINT) -> UserError:
    """Return the error for data that cannot be read."""
    return UserError(" ".join(f"the data cannot be read: {why}"[:300].split()), where, hint)


def array_of(content: bytes, where: str) -> NDArray[Any]:
    """Return an array of numbers, or of labels, that is as long as its header says.

    :raises UserError: it is none, holds objects, or is cut off
    """
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        first = version == (1, 0)
        lib = np.lib.format
        read = lib.read_array_header_1_0 if first else lib.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except (ValueError, EOFError, TypeError) as error:
        raise damaged(where, f"no array of NumPy: {error}") from error
    labels = dtype.names is not None and all(
        dtype[name].kind == "i" and not dtype[name].shape for name in dtype.names
    )
    if not (labels or dtype.kind in "fiub") or dtype.itemsize == 0:
        raise damaged(where, f"it holds {dtype}, and not numbers")
    if any(isinstance(length, bool) or length < 0 for length in shape):
        raise damaged(where, f"it has the shape {shape}")
    there = len(content) - file.tell()
    if math.prod(shape) * dtype.itemsize != there:
        raise damaged(
            where, f"an array of the shape {shape} of {dtype} does not have {there} bytes"
        )
    flat = np.frombuffer(content, dtype, offset=file.tell())
    return flat.reshape(shape, order="F" if fortran else "C")


def read_values(content: bytes, where: str) -> list[Values]:
    """Return the values of each structure of an archive, in the order of their numbers.

    :raises UserError: it is damaged, its labels contradict each other, or it holds values that no
        target of mtt has
    """
    records = Records(content, where)
    names, keys = records.labels("keys.npy")
    spherical = names == _SPHERICAL
    if names != ["_"] and not spherical:
        raise damaged(
            where,
            f"its blocks are told apart by {', '.join(names)}",
            "not yet in mtt: products of spherical targets, and irreps for each atomic type",
        )
    if len(keys) == 0 or (not spherical and len(keys) > 1) or len({*map(tuple, keys)}) < len(keys):
        raise damaged(where, f"it has {len(keys)} blocks of the keys {keys.tolist()}")
    blocks = [_block(records, f"blocks/{index}", where) for index in range(len(keys))]
    irreps = tuple((int(degree), int(parity)) for degree, parity in keys) if spherical else ()
    for block, (degree, _) in zip(blocks, irreps, strict=False):
        expected = ["o3_mu"], [list(range(-degree, degree + 1))]
        if (block.axes, block.steps) != expected:
            raise UserError(
                f"the components of degree {degree} are {_shown(block.axes, block.steps)}; they "
                f"must be {_shown(*expected)}",
                where=where,
                hint="write the values again with these components",
            )
    return [*_structures(blocks, irreps, where)]


@dataclass
class _Block:
    """Values (samples, components ..., properties) and the labels of their axes."""

    values: NDArray[np.float64]
    samples: list[str]
    rows: NDArray[np.int64]
    axes: list[str]
    steps: list[list[int]]
    gradients: "dict[str, _Block]"

    @property
    def properties(self) -> int:
        return int(self.values.shape[-1])


def _block(records: Records, folder: str, where: str, outer: int | None = None) -> _Block:
    """Return a block.

    :param outer: properties of the block that this is a gradient of, whose labels it shares
    """
    values = records.array(f"{folder}/values.npy")
    samples, rows = records.labels(f"{folder}/samples.npy")
    components: list[tuple[list[str], NDArray[np.int64]]] = []
    while f"{folder}/components/{len(components)}.npy" in records.names:
        components.append(records.labels(f"{folder}/components/{len(components)}.npy"))
    n = len(records.labels(f"{folder}/properties.npy")[1]) if outer is None else outer
    shape = (len(rows), *(len(steps) for _, steps in components), n)
    if values.shape != shape or values.dtype.kind not in "fiu":
        raise damaged(where, f"{folder} has values {values.shape} and labels of {shape}")
    start = f"{folder}/gradients/"
    kinds = {
        name[len(start) :].partition("/")[0] for name in records.names if name.startswith(start)
    }
    if outer is not None and kinds:
        raise damaged(where, f"{folder} has gradients of a gradient")
    return _Block(
        values.astype(np.float64),
        samples,
        rows,
        [names[0] for names, _ in components],
        [steps[:, 0].tolist() for _, steps in components],
        {kind: _block(records, f"{start}{kind}", where, n) for kind in sorted(kinds)},
    )


def _structures(
    blocks: list[_Block], irreps: tuple[tuple[int, int], ...], where: str
) -> Iterator[Values]:
    first = blocks[0]
    if _PAIRS & set(first.samples):
        raise damaged(where, "it has values of pairs of atoms", "not yet in mtt")
    if any(
        block.samples != first.samples or block.properties != first.properties for block in blocks
    ):
        raise damaged(where, "its blocks differ in their samples or properties")
    if first.samples not in (["system"], ["system", "atom"]) or first.properties == 0:
        raise damaged(where, f"its samples are {', '.join(first.samples)}")
    kind = "spherical" if irreps else _cartesian(first, where)
    layout = Layout("atom" if len(first.samples) == 2 else "system", kind, first.properties, irreps)
    if first.gradients and layout != Layout("system", "scalar", 1):
        raise damaged(where, f"only energies have gradients, and it is {layout}")
    numbers = np.unique(np.concatenate([block.rows[:, 0] for block in blocks]))
    chosen = [_rows_of(block.rows[:, 0], numbers) for block in blocks]
    samples = np.array([rows[0] if len(rows) else -1 for rows in chosen[0]], dtype=np.int64)
    of_gradients = {
        name: _rows_of(block.rows[:, 0], samples) for name, block in first.gradients.items()
    }
    for index, number in enumerate(numbers):
        parts = []
        for block, rows in zip(blocks, chosen, strict=True):
            own = block.values[_ordered(block.rows, rows[index], int(number), where)]
            parts.append(own.reshape(len(own), -1) if irreps else own)
        if len({len(part) for part in parts}) > 1:
            raise damaged(where, f"its blocks have different atoms of structure {number}")
        values = np.concatenate(parts, axis=-1) if irreps else parts[0]
        gradients = {
            name: _gradient(first.gradients[name], name, rows[index], where)
            for name, rows in of_gradients.items()
        }
        yield Values(layout, values if layout.per == "atom" else values[0], gradients)


def _rows_of(column: NDArray[np.int64], numbers: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return for each number where a column has it."""
    order = np.argsort(column, kind="stable")
    first = np.searchsorted(column[order], numbers, side="left")
    last = np.searchsorted(column[order], numbers, side="right")
    return [order[start:stop] for start, stop in zip(first, last, strict=True)]


def _shown(axes: list[str], steps: list[list[int]]) -> str:
    """Return components in words, as ``xyz: 0, 1, 2``."""
    listed = [f"{axis}: {', '.join(map(str, own))}" for axis, own in zip(axes, steps, strict=True)]
    return printable(" and ".join(listed), 200) or "none"


def _cartesian(block: _Block, where: str) -> str:
    axes = {(): "scalar", ("xyz",): "vector", ("xyz_1", "xyz_2"): "matrix"}
    kind = axes.get(tuple(block.axes))
    if kind is None or any(steps != [0, 1, 2] for steps in block.steps):
        raise UserError(
            f"the components of the values are {_shown(block.axes, block.steps)}; a vector has xyz: "
            "0, 1, 2, a matrix xyz_1: 0, 1, 2 and xyz_2: 0, 1, 2, and a scalar has none",
            where=where,
            hint="write the values again with these components",
        )
    return kind


def _ordered(
    rows: NDArray[np.int64], chosen: NDArray[np.int64], number: int, where: str
) -> NDArray[np.int64]:
    """Return where the rows of one structure are, atoms in order."""
    if rows.shape[1] == 1:
        if len(chosen) != 1:
            raise damaged(where, f"structure {number} has {len(chosen)} values")
        return chosen
    return chosen[_in_order(rows[chosen, 1], where)]


def _in_order(atoms: NDArray[np.int64], where: str) -> NDArray[np.int64]:
    order = np.argsort(atoms, kind="stable")
    if atoms[order].tolist() != list(range(len(atoms))):
        raise damaged(where, "it does not have each atom from 0 on once")
    return order


def _gradient(
    block: _Block, name: str, chosen: NDArray[np.int64], where: str
) -> NDArray[np.float64]:
    expected = {"positions": ["xyz"], "strain": ["xyz_1", "xyz_2"]}.get(name)
    if block.axes != expected or any(steps != [0, 1, 2] for steps in block.steps):
        wanted = (
            "" if expected is None else f", not {_shown(expected, [[0, 1, 2]] * len(expected))}"
        )
        shown = _shown(block.axes, block.steps)
        raise UserError(
            f"the gradient by {name} has the components {shown}{wanted}",
            where=where,
            hint="leave this gradient out: mtt reads those by positions and strain"
            if expected is None
            else "write the values again with these components",
        )
    names = block.samples
    if names[:1] != ["sample"] or (name == "positions") != (names[-1] == "atom"):
        raise damaged(where, f"its gradient by {name} has the samples {', '.join(names)}")
    if name == "positions":
        chosen = chosen[_in_order(block.rows[chosen, -1], where)]
        return block.values[chosen, :, 0]
    if len(chosen) != 1:
        raise damaged(where, f"its gradient by strain has {len(chosen)} rows of one structure")
    return block.values[chosen[0], :, :, 0]
