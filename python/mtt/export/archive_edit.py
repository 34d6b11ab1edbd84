"""Zip archives with one record replaced or added, and every other record where and what it was."""

import struct
import zlib
from dataclasses import dataclass

from mtt.filetypes.bounded_zip import END, MAGIC

_ENTRY, _END64, _LOCATOR = b"PK\x01\x02", b"PK\x06\x06", b"PK\x06\x07"
_FULL32 = 0xFFFFFFFF
# libtorch starts the bytes of each record at a multiple of this, to map tensors into memory.
_ALIGNMENT = 64
_ZIP64 = 1
# Records without a date, as libtorch writes them, and 1 January 1980.
_DATE = b"\x00\x00\x21\x00"


class NotAnArchive(ValueError):
    """The bytes are no zip archive that can be changed; the message says why."""


@dataclass(frozen=True)
class _Entry:
    name: str
    offset: int
    raw: bytes


def with_record(content: bytes, name: str, record: bytes) -> bytes:
    """Return the archive with ``record`` as the one called ``name``; all others keep their bytes.

    Others also keep their place modulo 64 bytes, if not their place. A new record is the last.

    :param name: without the folder of the archive, which is that of its first record
    :raises NotAnArchive: the directory is damaged
    """
    try:
        entries, start = _directory(content)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise NotAnArchive("its directory is damaged") from error
    if not entries or "/" not in entries[0].name:
        raise NotAnArchive("it has no folder of records")
    full = f"{entries[0].name.split('/')[0]}/{name}"
    ordered = sorted(entries, key=lambda entry: entry.offset)
    ends = [entry.offset for entry in ordered[1:]] + [start]
    out = bytearray(content[: ordered[0].offset])
    directory: dict[int, bytes] = {}
    for entry, end in zip(ordered, ends, strict=True):
        if content[entry.offset : entry.offset + 4] != MAGIC:
            raise NotAnArchive(f"its record {entry.name} is not where its directory says")
        if entry.name == full:
            directory[entry.offset] = _listed(full, record, len(out))
            out += _local(full, record, len(out))
            continue
        out += bytes((entry.offset - len(out)) % _ALIGNMENT)
        directory[entry.offset] = _moved(entry.raw, len(out))
        out += content[entry.offset : end]
    lines = [directory[entry.offset] for entry in entries]
    if all(entry.name != full for entry in entries):
        lines.append(_listed(full, record, len(out)))
        out += _local(full, record, len(out))
    return bytes(out) + _ending(len(out), lines)


def _directory(content: bytes) -> tuple[list[_Entry], int]:
    """Return the entries of the directory in order, and where it starts."""
    end = content.rfind(END)
    if end < 0 or end + 22 > len(content):
        raise NotAnArchive("its end is missing")
    count, _, start = struct.unpack_from("<HII", content, end + 10)
    if content[end - 20 : end - 16] == _LOCATOR:
        (end64,) = struct.unpack_from("<Q", content, end - 12)
        if content[end64 : end64 + 4] != _END64:
            raise NotAnArchive("its directory is damaged")
        count, _, start = struct.unpack_from("<QQQ", content, end64 + 32)
    entries, at = [], start
    for _ in range(count):
        if content[at : at + 4] != _ENTRY:
            raise NotAnArchive("its directory is damaged")
        lengths = struct.unpack_from("<HHH", content, at + 28)
        size = 46 + sum(lengths)
        raw = content[at : at + size]
        name = raw[46 : 46 + lengths[0]].decode()
        entries.append(_Entry(name, _offset(raw), raw))
        at += size
    return entries, start


def _place_of_offset(raw: bytes) -> tuple[int, str]:
    """Return where in an entry the offset of its record stands, and in which format."""
    compressed, size = struct.unpack_from("<II", raw, 20)
    (offset,) = struct.unpack_from("<I", raw, 42)
    if offset != _FULL32:
        return 42, "<I"
    name, extra = struct.unpack_from("<HH", raw, 28)
    at = 46 + name
    while at < 46 + name + extra:
        kind, length = struct.unpack_from("<HH", raw, at)
        if kind == _ZIP64:
            return at + 4 + 8 * ((size == _FULL32) + (compressed == _FULL32)), "<Q"
        at += 4 + length
    raise NotAnArchive("its directory is damaged")


def _offset(raw: bytes) -> int:
    at, form = _place_of_offset(raw)
    return int(struct.unpack_from(form, raw, at)[0])


def _moved(raw: bytes, offset: int) -> bytes:
    """Return the entry of a record that has been moved."""
    at, form = _place_of_offset(raw)
    if form == "<I" and offset >= _FULL32:
        raise NotAnArchive("it is too large to be changed")
    out = bytearray(raw)
    struct.pack_into(form, out, at, offset)
    return bytes(out)


def _common(record: bytes) -> bytes:
    """Return what both headers of a record hold: stored, date, checksum, sizes."""
    return (
        struct.pack("<HH", 0, 0)
        + _DATE
        + struct.pack("<III", zlib.crc32(record), *[len(record)] * 2)
    )


def _local(name: str, record: bytes, place: int) -> bytes:
    text = name.encode()
    # A field that nobody reads fills up to the alignment, as in what libtorch writes.
    padding = -(place + 30 + len(text) + 4) % _ALIGNMENT
    extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
    lengths = struct.pack("<HH", len(text), len(extra))
    return MAGIC + struct.pack("<H", 20) + _common(record) + lengths + text + extra + record


def _listed(name: str, record: bytes, place: int) -> bytes:
    text = name.encode()
    if place >= _FULL32 or len(record) >= _FULL32:
        raise NotAnArchive("it is too large to be changed")
    rest = struct.pack("<HHHHHII", len(text), 0, 0, 0, 0, 0, place)
    return _ENTRY + struct.pack("<HH", 20, 20) + _common(record) + rest + text


def _ending(start: int, entries: list[bytes]) -> bytes:
    """Return the directory and its end, with both the old and the 64-bit record of it."""
    directory = b"".join(entries)
    count, size, end64 = len(entries), len(directory), start + len(directory)
    wide = struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<IQI", 0, end64, 1)
    narrow = [min(count, 0xFFFF)] * 2 + [min(size, _FULL32), min(start, _FULL32)]
    end = struct.pack("<HHHHIIH", 0, 0, *narrow, 0)
    return directory + _END64 + wide + _LOCATOR + locator + END + end
