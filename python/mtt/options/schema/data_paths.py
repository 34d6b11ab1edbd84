"""Files that a path in the options stands for: patterns, folders, ``~`` and variables."""

import glob
import os
import re
from collections.abc import Iterator
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator

from mtt.options.schema.base import FilePath

# Of the files in a folder, those whose names say that they hold structures.
SUFFIXES: Final = (".xyz", ".extxyz", ".traj", ".db")
_PACKED: Final = (".gz", ".bz2", ".xz")
# In a pattern: any number of folders, one within the other.
_BELOW: Final = "**"
_VARIABLE: Final = re.compile(r"\$(\w+|\{\w+\})")


def expanded(path: Path) -> Path:
    """Return a path with ``~`` and variables replaced; those that are not set stay."""
    try:
        return Path(os.path.expandvars(path)).expanduser()
    except RuntimeError:  # nobody has such a home
        return path


def data_files(path: Path) -> list[Path]:
    """Return what a path stands for, sorted: files, and folders that are data themselves.

    A pattern stands for what fits it, any other folder for what it holds of the two; a single file
    for itself, whether it exists or not. ``**`` enters each folder once, whatever links lead to it.
    """
    is_pattern = glob.has_magic(str(path)) and not path.exists()
    matches = sorted(set(_fitting(path))) if is_pattern else [path]
    files: list[Path] = []
    for match in matches:
        if match.is_dir() and not is_data_folder(match):
            files += [inside for inside in sorted(match.iterdir()) if _has_structures(inside)]
        else:
            files.append(match)
    return list(dict.fromkeys(files))


def _fitting(pattern: Path) -> Iterator[Path]:
    """Yield what fits a pattern; a link that leads upwards makes nothing endless, or twice there."""
    if _BELOW not in pattern.parts:
        yield from map(Path, glob.iglob(str(pattern)))
        return
    at = pattern.parts.index(_BELOW)
    rest = tuple(dropwhile(_BELOW.__eq__, pattern.parts[at:]))
    for top in sorted(glob.iglob(str(Path(*pattern.parts[:at])))):
        for folder in _folders(top):
            fitting = _fitting(Path(glob.escape(folder), *(rest or ("*",))))
            # Other folders have their own turn, if no link leads back to them.
            yield from (
                each for each in fitting if rest or not each.is_dir() or is_data_folder(each)
            )


def _folders(top: str) -> Iterator[str]:
    """Yield a folder and all below it, also behind links, each once."""
    entered: set[str] = set()
    for folder, names, _ in os.walk(top, followlinks=True):
        real = os.path.realpath(folder)
        if real in entered:
            names.clear()
            continue
        entered.add(real)
        names[:] = sorted(name for name in names if not name.startswith("."))
        yield folder


def is_data_folder(path: Path) -> bool:
    """Return whether this is a folder that is data itself: of DeePMD-kit, or of arrays of metatrain."""
    return is_deepmd(path) or is_memmap(path)


def is_memmap(path: Path) -> bool:
    """Return whether this is a folder of arrays as metatrain packs them."""
    return path.is_dir() and all((path / name).exists() for name in ("ns.npy", "na.npy"))


def is_packed(path: Path) -> bool:
    """Return whether this is called like an archive of structures, as metatrain packs them."""
    return path.suffix.lower() == ".zip"


def is_values(path: Path) -> bool:
    """Return whether this is called like a file of values of metatensor, without structures."""
    return path.suffix.lower() == ".mts"


def is_deepmd(path: Path) -> bool:
    """Return whether this is a folder with the data of DeePMD-kit."""
    return path.is_dir() and (path / "type.raw").exists()


def why_unusable(path: Path) -> str | None:
    """Return what is wrong with a path that stands for no file; None if it does stand for some."""
    if data_files(path):
        return None
    if path.is_dir():
        if any(path.glob("set.*/*.npy")):
            return f"the folder of DeePMD-kit has no type.raw, with the types of its atoms: {path}"
        if any(path.glob("*.npy")) and is_deepmd(path.parent):
            return f"{path} is one set of a folder of DeePMD-kit: give the folder, {path.parent}"
        return f"the folder has no files of structures ({', '.join(SUFFIXES)}): {path}"
    start = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
    where = f"looked in {start.resolve()}" if start.is_dir() else f"there is no folder {start}"
    return f"no file fits the pattern: {path} ({where})"


def unset_variable(path: Path) -> str | None:
    """Return the name of a variable in a path that has no value."""
    variable = _VARIABLE.search(str(expanded(path)))
    return variable[1].strip("{}") if variable else None


def _has_structures(path: Path) -> bool:
    if path.is_dir():
        return is_data_folder(path)
    name = Path(path.stem) if path.suffix.lower() in _PACKED else path
    return name.suffix.lower() in SUFFIXES and not path.name.startswith(".")


ExpandedPath = Annotated[FilePath, AfterValidator(expanded)]
