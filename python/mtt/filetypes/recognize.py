"""What a file is, told by its bytes: mtt's own files, and those of other programs that people try.

``describe(path)`` gives a :class:`Foreign`: ``kind`` for programs, ``what`` for people, to follow "this
is" ("a pickled checkpoint of metatrain (architecture pet, version 11)"), and ``hint``, what can be done
with it. ``refusal`` makes the whole message. Files of mtt are described too, as the kinds "checkpoint" and
"model", because most mistakes give one of them in the place of the other.

Nothing is executed, and only the beginning of a file is read: pickles are looked at by
:mod:`mtt.filetypes.pickles`, archives by :mod:`mtt.filetypes.bounded_zip`.
"""

import os
import re
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal

from mtt.canonical import json_or_none
from mtt.errors import UserError
from mtt.files import check_regular, open_regular, reading
from mtt.filetypes import bounded_zip, inert_pickle
from mtt.filetypes import pickles as foreign_pickles
from mtt.printable import printable

_START: Final = 4096
_MAX_HEADER: Final = 4 * 2**20
_MAX_CHECKPOINT_HEADER: Final = 32 * 2**20
# Bytes of the length of a safetensors header.
_PREFIX: Final = 8
_GIVE: Final = "give a checkpoint (.ckpt) that 'mtt train' wrote, or a model file (.pt)"
_UNPACK: Final = "unpack it, and give the file that is in it"


@dataclass(frozen=True)
class Foreign:
    """What a file is. ``what`` follows "this is", and may have texts of the file in it, but
    neither control characters nor anything longer than a line."""

    kind: str
    what: str
    hint: str = _GIVE

    @property
    def pickled(self) -> bool:
        """Whether opening it with its own program means to run what is in it."""
        return self.kind.startswith("pickle")

    def refusal(
        self, path: Path, wanted: str = "a checkpoint of mtt", give: str = _GIVE
    ) -> UserError:
        """The error for a file that is not what is wanted.

        :param give: what to give in its place, for files about which there is nothing else to say
        """
        hint = give if self.hint == _GIVE else self.hint
        if self.pickled:
            why = "it is not loaded, because loading a pickle runs whatever code is in it"
            return UserError(f"this is {self.what}; {why}", where=str(path), hint=hint)
        return UserError(f"this is {self.what}, not {wanted}", where=str(path), hint=hint)


# What the first bytes say.
_SIGNATURES: Final = {
    b"\x89HDF\r\n\x1a\n": Foreign("hdf5", "an HDF5 file"),
    b"\x93NUMPY": Foreign("npy", "an array of NumPy"),
    b"SQLite format 3\0": Foreign("sqlite", "an SQLite database"),
    b"\x7fELF": Foreign("elf", "a compiled program or library"),
    b"\x1f\x8b": Foreign("gzip", "a file packed by gzip", _UNPACK),
    b"BZh": Foreign("bzip2", "a file packed by bzip2", _UNPACK),
    b"\xfd7zXZ\0": Foreign("xz", "a file packed by xz", _UNPACK),
    b"\x28\xb5\x2f\xfd": Foreign("zstd", "a file packed by zstd", _UNPACK),
    b"7z\xbc\xaf\x27\x1c": Foreign("7z", "a 7z archive", _UNPACK),
    b"version https://git-lfs.github.com/spec/": Foreign(
        "lfs-pointer",
        "a pointer of git LFS in the place of a file that was not downloaded",
        "download it: git lfs pull",
    ),
}


def describe(path: Path) -> Foreign:
    """What the file is.

    :raises OSError: it cannot be read
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(_START)
        if not start:
            return Foreign("empty", "an empty file")
        if not start.strip(b"\0"):
            what = "a file of zeros, as a crash can leave one behind"
            return Foreign("zeros", what, "copy it again, or use another checkpoint of the run")
        # Before pickles: the length of a header may begin with the same bytes.
        kind = _safetensors(file, start, size)
        if kind is None and start.startswith((bounded_zip.MAGIC, bounded_zip.END)):
            kind = _zip(path)
        kind = kind or _signature(start) or _tar(file, start) or _pickle(file, start)
        kind = kind or _text(start, size) or _protobuf(file, start)
    return kind or Foreign("unknown", f"a file of an unknown kind ({size} bytes)")


def require_own(path: Path, wanted: str) -> Literal["checkpoint", "model"]:
    """Return which of mtt's own files this is.

    :param wanted: what it should be, for the refusal
    :raises UserError: it cannot be read, or is something else
    """
    with reading(path):
        check_regular(path)
        known = describe(path)
    if known.kind == "checkpoint":
        return "checkpoint"
    if known.kind == "model":
        return "model"
    raise known.refusal(path, wanted)


def container(path: Path) -> Literal["zip", "safetensors"] | None:
    """Return what the first bytes say that a file is packed in: less than :func:`describe`, at once.

    :raises UserError: it cannot be read
    """
    with reading(path), open_regular(path) as file:
        start = file.read(_PREFIX + 1)
    if start.startswith(bounded_zip.MAGIC):
        return "zip"
    return "safetensors" if is_safetensors(start) else None


def architecture_of(path: Path) -> str:
    """Return the name of the architecture of a checkpoint of mtt, without reading more of it.

    :raises UserError: it cannot be read, or is no checkpoint of mtt
    """
    with reading(path, "checkpoint"), open_regular(path) as file:
        start = file.read(_PREFIX)
        length = struct.unpack("<Q", start)[0] if len(start) == _PREFIX else 0
        table = json_or_none(file.read(min(length, _MAX_CHECKPOINT_HEADER)))
    metadata = table.get("__metadata__") if isinstance(table, dict) else None
    text = metadata.get("mtt") if isinstance(metadata, dict) else None
    about = json_or_none(text.encode()) if isinstance(text, str) else None
    architecture = about.get("architecture") if isinstance(about, dict) else None
    name = architecture.get("name") if isinstance(architecture, dict) else None
    if isinstance(name, str):
        return name
    with reading(path):
        raise describe(path).refusal(path)


def is_safetensors(start: bytes) -> bool:
    """Return whether the length of a header and the beginning of one are there."""
    return start[_PREFIX : _PREFIX + 1] == b"{"


def _signature(start: bytes) -> Foreign | None:
    return next((value for mark, value in _SIGNATURES.items() if start.startswith(mark)), None)


def _safetensors(file: BinaryIO, start: bytes, size: int) -> Foreign | None:
    own = Foreign("checkpoint", "a checkpoint of mtt")
    if start.startswith(b'{"__metadata__":{"mtt":"', 8):
        return own  # whole or truncated
    if len(start) < 10 or not is_safetensors(start):
        return None
    (length,) = struct.unpack("<Q", start[:8])
    if not 2 <= length <= size - 8:
        return None
    file.seek(8)
    if _has_metadata_of_mtt(file.read(min(length, _MAX_HEADER))):
        return own
    return Foreign("safetensors", "a safetensors file of another program")


def _has_metadata_of_mtt(text: bytes) -> bool:
    table = json_or_none(text)
    metadata = table.get("__metadata__") if isinstance(table, dict) else None
    return isinstance(metadata, dict) and isinstance(metadata.get("mtt"), str)


def _zip(path: Path) -> Foreign:
    try:
        with bounded_zip.opened(path) as archive:
            return _zip_of(archive)
    except bounded_zip.ZipProblem as error:
        hint = "copy it again: the archive is not whole"
        why = printable(str(error), 100)
        return Foreign("zip-damaged", f"a zip archive that cannot be read ({why})", hint)


def _zip_of(archive: zipfile.ZipFile) -> Foreign:
    names = archive.namelist()
    pickles = [name for name in names if name == "data.pkl" or name.endswith("/data.pkl")]
    if any("/code/" in name for name in names) and pickles:
        return _torchscript(names)
    if any(name.endswith(".data/extern_modules") for name in names):
        what = "a package of torch.package, as NequIP writes them (.nequip.zip)"
        return Foreign("pickle-package", what, foreign_pickles.ANEW)
    if any("/data/aotinductor/" in name or name.endswith("archive_format") for name in names):
        return Foreign("pt2", "a compiled model of torch (.pt2)", foreign_pickles.ANEW)
    if pickles:
        stream = bounded_zip.read(archive, min(pickles, key=len), inert_pickle.MAX_BYTES)
        return Foreign(*foreign_pickles.describe(stream))
    if "keys.npy" in names and any(name.startswith("blocks/") for name in names):
        hint = "name it as 'read_from' of a target, beside the file of the structures"
        return Foreign("values", "a file of values as metatensor stores them (.mts)", hint)
    if names and all(name.endswith(".npy") for name in names):
        return Foreign("npz", "a file of arrays of NumPy (.npz)")
    inside = [name for name in names if name.endswith((".ckpt", ".pt"))]
    first = f", with {printable(inside[0], 60)} in it" if inside else ""
    return Foreign("zip", f"a zip archive{first}", _UNPACK if inside else _GIVE)


def _torchscript(names: list[str]) -> Foreign:
    code = [name.partition("/code/__torch__/")[2] for name in names]
    if any(re.match(r"(metatomic/torch|metatensor/torch/atomistic)/", name) for name in code):
        hint = "give the model.ckpt that it was exported from"
        return Foreign("model", "an exported model (.pt)", hint)
    packages = {name.partition("/")[0] for name in code}
    program = next((p for key, p in foreign_pickles.PROGRAMS.items() if key in packages), None)
    of = f" of {program}" if program else ""
    what = f"a TorchScript model{of} without the metatomic interface"
    return Foreign("torchscript", what, "train anew from the data, or export it for metatomic")


def _tar(file: BinaryIO, start: bytes) -> Foreign | None:
    """Tar archives; the first versions of torch put pickles into one."""
    if start[257:262] != b"ustar":
        return None
    place, names = 0, []
    for _ in range(16):
        file.seek(place)
        block = file.read(512)
        name = block[:100].rstrip(b"\0")
        digits = block[124:136].strip(b" \0")
        if not name or not re.fullmatch(rb"[0-7]{1,11}", digits):
            break
        names.append(name)
        place += 512 + (int(digits, 8) + 511) // 512 * 512
    if {b"pickle", b"storages", b"tensors"} <= set(names):
        what = "a pickled checkpoint of torch 0.1"
        return Foreign("pickle-torch-tar", what, foreign_pickles.ANEW)
    return Foreign("tar", "a tar archive", _UNPACK)


def _pickle(file: BinaryIO, start: bytes) -> Foreign | None:
    file.seek(0)
    content = file.read(inert_pickle.MAX_BYTES)
    if re.match(rb"\x80[\x02-\x05]", start):
        return Foreign(*foreign_pickles.describe(content))
    # Older protocols have no mark of their own: it must be one pickle from end to end.
    if foreign_pickles.is_old_pickle(content, cut=bool(file.read(1))):
        return Foreign(*foreign_pickles.describe(content))
    return None


def _protobuf(file: BinaryIO, start: bytes) -> Foreign | None:
    file.seek(0)
    content = file.read(inert_pickle.MAX_BYTES)
    # Field 1 with a version, then field 2 with the name of the program that wrote it.
    if re.match(rb"\x08[\x01-\x3f]\x12[\x01-\x3f][A-Za-z]", start):
        return Foreign("onnx", "an ONNX model", foreign_pickles.ANEW)
    if start[:1] == b"\n" and re.search(rb"(descrpt|model|fitting)_attr/", content):
        what = "a frozen model of DeePMD-kit (a TensorFlow graph, .pb)"
        return Foreign("tensorflow-deepmd", what, foreign_pickles.ANEW)
    # Nodes, each with a name and then an operation.
    if re.match(rb"\n.{1,4}\n.[\w./]+\x12[\x02-\x20][A-Z]", start, re.DOTALL):
        return Foreign("tensorflow", "a TensorFlow graph", foreign_pickles.ANEW)
    return None


def _text(start: bytes, size: int) -> Foreign | None:
    text = _decoded(start)
    if size < 16 or any(ord(character) < 32 and character not in "\t\n\r\f" for character in text):
        return None
    if re.match(r"\s*<(!doctype html|html)", text, re.IGNORECASE):
        hint = "download it again: a server has sent a page in the place of the file"
        return Foreign("html", "a web page (HTML)", hint)
    if re.search(r"^architecture\s*:", text, re.MULTILINE):
        return Foreign("options", "a file of options (YAML)", "train with it: mtt train")
    if re.match(r"\s*\d+\s*\n.*(Properties|Lattice)=", text):
        return Foreign("structures", "a file of structures (extended XYZ)")
    if text.lstrip()[:1] in ("{", "["):
        return Foreign("json", "a JSON file")
    return Foreign("text", "a text file")


def _decoded(start: bytes) -> str:
    """The beginning of a text, or what is no text to :func:`_text`."""
    try:
        return start.decode("utf-8")
    except UnicodeDecodeError as error:
        # The last character may have been cut in two.
        cut = len(start) == _START and error.start > len(start) - 4
        return start[: error.start].decode("utf-8") if cut else "\0"
