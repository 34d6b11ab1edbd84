"""Checkpoints that something or somebody has changed, as functions of a seed."""

import copy
import io
import json
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

from mtt.checkpoint import writing

NASTY: list[Any] = [
    None,
    True,
    -1,
    0,
    3,
    2**31,
    2**62,
    2**70,
    1e308,
    5e-324,
    -0.0,
    "",
    "pet",
    "\x1b[2J\x1b]0;x\x07",
    "../../../etc/passwd",
    "x" * 100_000,
    "\ud800",
    [],
    {},
    [[]],
    [0] * 100_000,
    {"a": {"b": {"c": []}}},
    ["model/scale"],
    ["model/baselines.0.scale"],
]


class Payload:
    """Leaves a file when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("touch executed",)


def parts(raw: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Table of tensors, header, and the bytes of the tensors."""
    (length,) = struct.unpack("<Q", raw[:8])
    table = json.loads(raw[8 : 8 + length])
    header = json.loads(table.pop("__metadata__")["mtt"])
    return table, header, raw[8 + length :]


def whole(table: dict[str, Any], header: Any, data: bytes, hashed: bool) -> bytes:
    """A file of these parts; with ``hashed``, somebody has taken the trouble to correct the hash."""
    text = header if isinstance(header, str) else json.dumps(header)
    head = json.dumps({**table, "__metadata__": {"mtt": text}}).encode()
    raw = bytearray(struct.pack("<Q", len(head)) + head + data)
    try:
        return writing._with_hash(raw) if hashed else bytes(raw)
    except (KeyError, TypeError, ValueError, OverflowError):
        return bytes(raw)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in nested JSON."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(one, (*path, key))


def edit(value: Any, dice: random.Random) -> Any:
    """A copy with something replaced, deleted, doubled or moved."""
    value = copy.deepcopy(value)
    *way, last = dice.choice(list(places(value)))
    target = value
    for key in way:
        target = target[key]
    kind = dice.randrange(4)
    if kind == 0:
        del target[last]
    elif kind == 1 and isinstance(target, dict):
        target[f"{last}_"] = target.pop(last)
    elif kind == 2 and isinstance(target[last], int | float) and not isinstance(target[last], bool):
        target[last] = target[last] + dice.choice([1, -1, 1000, 2**40])
    else:
        target[last] = copy.deepcopy(dice.choice(NASTY))
    return value


def truncated(raw: bytes, dice: random.Random) -> bytes:
    return raw[: dice.randrange(len(raw))]


def flipped(raw: bytes, dice: random.Random) -> bytes:
    changed = bytearray(raw)
    for _ in range(dice.choice([1, 1, 1, 2, 50])):
        changed[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def pieces(raw: bytes, dice: random.Random) -> bytes:
    """Cut out, repeated, overwritten or swapped, at the head or anywhere."""
    changed = bytearray(raw)
    place = dice.randrange(len(raw) if dice.random() < 0.3 else len(raw) // 2)
    size = dice.randrange(1, 200)
    other = dice.randrange(len(raw))
    kind = dice.randrange(4)
    if kind == 0:
        del changed[place : place + size]
    elif kind == 1:
        changed[place:place] = changed[other : other + size]
    elif kind == 2:
        changed[place : place + size] = dice.randbytes(size)
    else:
        changed[place : place + size] = changed[other : other + size]
    return bytes(changed)


def edited(raw: bytes, dice: random.Random) -> bytes:
    table, header, data = parts(raw)
    return whole(table, edit(header, dice), data, hashed=False)


def edited_and_hashed(raw: bytes, dice: random.Random) -> bytes:
    table, header, data = parts(raw)
    return whole(table, edit(header, dice), data, hashed=True)


def retabled(raw: bytes, dice: random.Random) -> bytes:
    """Other names, types, shapes and places of tensors, with a correct hash."""
    table, header, data = parts(raw)
    for _ in range(dice.choice([1, 1, 2])):
        if dice.random() < 0.5:
            one, other = dice.sample(sorted(table), 2)
            table[one], table[other] = table[other], table[one]
        else:
            name = dice.choice(sorted(table))
            table[name] = edit(table[name], dice)
    return whole(table, header, data, hashed=True)


def revalued(raw: bytes, dice: random.Random) -> bytes:
    """Other numbers in one of the small tensors (indices, structures, baseline), with a correct
    hash: NaN, infinities, the largest integers."""
    table, header, data = parts(raw)
    small = (
        "split",
        "check",
        "data",
        "history",
        "train_sums",
        "model/composition",
        "model/baselines",
        "optimizer/step",
    )
    name = dice.choice([name for name in sorted(table) if name.startswith(small)])
    begin, end = table[name]["data_offsets"]
    changed = bytearray(data)
    pattern = dice.choice([b"\xff", b"\x7f", b"\x00", b"\x01", dice.randbytes(7)])
    changed[begin:end] = (pattern * (end - begin))[: end - begin]
    return whole(table, header, bytes(changed), hashed=True)


def long_header(raw: bytes, dice: random.Random) -> bytes:
    """The length of the header, or the numbers in it, are absurd."""
    length = dice.choice([0, 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1, dice.randrange(2**40)])
    if dice.random() < 0.5:
        return struct.pack("<Q", length) + raw[8:]
    bombs = [
        b'{"a":' * 100_000,
        b"[" * 1_000_000,
        b'{"__metadata__":{"mtt":"' + b'{\\"a\\":' * 50_000 + b'"}}',
        b'{"a":' + b"9" * 5_000_000 + b"}",
        b'{"__metadata__":{"mtt":"{\\"format_version\\":' + b"9" * 4000 + b'}"}}',
        b'{"x":{"dtype":"F64","shape":[' + b"9," * 100_000 + b'9],"data_offsets":[0,8]}}',
    ]
    bomb = dice.choice(bombs)
    return struct.pack("<Q", len(bomb)) + bomb + raw[-1000:]


def zipped(raw: bytes, dice: random.Random) -> bytes:
    """Zip archives: bombs, pickles inside, broken ones, more entries than there are."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        kind = dice.randrange(4)
        if kind == 0:
            archive.writestr("archive/data.pkl", bytes(50_000_000))
        elif kind == 1:
            archive.writestr("archive/data.pkl", pickle.dumps(Payload()))
        elif kind == 2:
            for number in range(2000):
                archive.writestr(f"{number}/code/x.py", b"")
        else:
            archive.writestr("model.ckpt", raw)
    found = bytearray(buffer.getvalue())
    if dice.random() < 0.5:
        end = found.rfind(b"PK\x05\x06")
        found[end + 8 + dice.randrange(12)] ^= 0xFF
    return bytes(found)


def pickled(raw: bytes, dice: random.Random) -> bytes:
    """Pickles that run something, plain, with the end cut off, or before and behind other bytes."""
    made = pickle.dumps({"state_dict": Payload()}, protocol=dice.randrange(6))
    return dice.choice([made, made[:-1], made + raw, raw[:8] + made, made * 3])


# kind -> how many of a thousand
KINDS: dict[Callable[[bytes, random.Random], bytes], int] = {
    truncated: 120,
    flipped: 200,
    pieces: 150,
    edited: 80,
    edited_and_hashed: 200,
    retabled: 80,
    revalued: 60,
    long_header: 40,
    zipped: 30,
    pickled: 40,
}
