"""What has changed in data, told from the fingerprints that were kept of them.

A fingerprint is a row of :func:`mtt.data.structure.fingerprints`: the hash of a geometry and that
of its targets. Of very many structures, one is kept for each block of consecutive ones.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtt.data.structure import Structure

MAX_ROWS = 65_536
Rows = NDArray[np.int64]
# How many structures, what they are or have, and which is the first of them.
Part = tuple[int, str, str]


def to_keep(rows: Rows) -> Rows:
    """Fingerprints for a checkpoint: those of the structures, or of blocks of them, all but the
    last of the same size, so that there are never more than 65,536."""
    return _in_blocks(rows, -(-len(rows) // MAX_ROWS))


def describe(kept: Rows, size: int, structures: Sequence[Structure], rows: Rows) -> str | None:
    """What is no longer as it was, in words; None if the fingerprints cannot tell.

    :param kept: what :func:`to_keep` gave of the data as they were
    :param size: number of structures of the data as they were
    :param rows: fingerprints of ``structures``, the data as they are now
    """
    if kept.ndim != 2 or not 0 < len(kept) <= size:
        return None
    block = -(-size // len(kept))
    if kept.shape != (-(-size // block), 2):
        return None
    if len(rows) > size and np.array_equal(_in_blocks(rows[:size], block), kept):
        count = len(rows) - size
        added = f"{count} {'was' if count == 1 else 'were'} added at the end"
        first = _first(structures, range(size, len(rows)))
        return f"the first {size} structures are unchanged; {added}{first}"
    if block == 1:
        return _by_structure(kept, structures, rows)
    return _by_block(kept, size, block, structures, rows)


def _by_structure(kept: Rows, structures: Sequence[Structure], rows: Rows) -> str | None:
    """Structures that are gone, new, or have other targets, wherever they stand now."""
    before = Counter(map(tuple, kept.tolist()))
    left = [index for index, row in enumerate(rows.tolist()) if not _take(before, tuple(row))]
    geometries = Counter(geometry for geometry, _ in before.elements())
    retargeted = [index for index in left if _take(geometries, int(rows[index, 0]))]
    new = sorted(set(left) - set(retargeted))
    targets = (len(retargeted), "have other targets", _first(structures, retargeted))
    if len(rows) == len(kept):
        differing = np.flatnonzero((rows != kept).any(axis=1)).tolist()
        if differing and not left:
            first = _first(structures, differing)
            return f"it has the same {len(rows)} structures in another order{first}"
        if differing == left:  # or nothing differs, and the sentence is empty
            changed = "have other positions, cells or types"
            parts = [(len(new), changed, _first(structures, new)), targets]
            return _sentence(len(kept), parts) or None
    end = " from its end" if np.array_equal(rows, kept[: len(rows)]) else ""
    parts = [
        (len(rows) - len(left), "are unchanged", ""),
        (geometries.total(), f"are gone{end}", ""),
        (len(new), "are new", _first(structures, new)),
        targets,
    ]
    return _sentence(len(kept), parts)


def _by_block(
    kept: Rows, size: int, block: int, structures: Sequence[Structure], rows: Rows
) -> str | None:
    """Which blocks differ, and in what."""
    now = _in_blocks(rows, block)
    both = min(len(now), len(kept))
    differing = np.flatnonzero((now[:both] != kept[:both]).any(axis=1))
    between = ""
    if len(differing):
        begin = int(differing[0]) * block
        end = min(begin + block, len(structures)) - 1
        between = f"between {structures[begin].source} and {structures[end].source}"
    if len(rows) != size:
        where = f"; the first difference is {between}" if between else ""
        return f"it had {size} structures and now has {len(rows)}{where}"
    if not between:
        return None
    geometry = (now[differing, 0] != kept[differing, 0]).any()
    what = "positions, cells, types or targets" if geometry else "targets"
    verb, first = ("has", "") if len(differing) == 1 else ("have", "first ")
    blocks = f"{len(differing)} of the {len(kept)} blocks of {block} structures"
    return f"{blocks} {verb} other {what}, {first}{between}"


def _in_blocks(rows: Rows, size: int) -> Rows:
    if size <= 1:
        return rows
    hashes = [
        hashlib.sha256(column[start : start + size].astype("<i8").tobytes()).digest()[:8]
        for start in range(0, len(rows), size)
        for column in rows.T
    ]
    return np.frombuffer(b"".join(hashes), dtype="<i8").astype(np.int64).reshape(-1, 2)


def _take(counter: Counter[Any], entry: Any) -> bool:
    """Take one entry, and return whether there was one left."""
    if counter[entry] == 0:
        return False
    counter[entry] -= 1
    return True


def _sentence(size: int, parts: Sequence[Part]) -> str:
    """As in ``9 of its 12 structures are unchanged; 3 are gone; 1 is new, data.xyz#7``."""
    phrases: list[str] = []
    for count, what, first in parts:
        if count > 0:
            verb, rest = what.split(" ", 1)
            verb = {"are": "is", "have": "has"}[verb] if count == 1 else verb
            subject = str(count) if phrases else _of_its(count, size)
            phrases.append(f"{subject} {verb} {rest}{first}")
    return "; ".join(phrases)


def _of_its(count: int, size: int) -> str:
    if count < size:
        return f"{count} of its {size} structures"
    return "its only structure" if size == 1 else f"all {size} structures"


def _first(structures: Sequence[Structure], indices: Sequence[int]) -> str:
    if not indices:
        return ""
    return (", first " if len(indices) > 1 else ", ") + structures[indices[0]].source
