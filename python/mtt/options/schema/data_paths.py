"""Files that a path in the options stands for: patterns, folders, ``~`` and variables."""

import glob
import os
import re
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator

from mtt.options.schema.base import FilePath

# Of the files in a folder, those whose names say that they hold structures.
SUFFIXES: Final = (".xyz", ".extxyz", ".traj", ".db")
_PACKED: Final = (".gz", ".bz2", ".xz")
_VARIABLE: Final = re.compile(r"\$(\w+|\{\w+\})")


def expanded(path: Path) -> Path:
    """Return a path with ``~`` and variables replaced; those that are not set stay."""
    try:
        return Path(os.path.expandvars(path)).expanduser()
    except RuntimeError:  # nobody has such a home
        return path


def data_files(path: Path) -> list[Path]:
    """Return what a path stands for, sorted: files, and folders of DeePMD-kit.

    A pattern stands for what fits it, any other folder for what it holds of the two; a single file
    for itself, whether it exists or not.
    """
    if not glob.has_magic(str(path)) or path.exists():
        matches = [path]
    else:
        matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
    files: list[Path] = []
    for match in matches:
        if match.is_dir() and not is_deepmd(match):
            files += [inside for inside in sorted(match.iterdir()) if _has_structures(inside)]
        else:
            files.append(match)
    return list(dict.fromkeys(files))


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
        return is_deepmd(path)
    name = Path(path.stem) if path.suffix.lower() in _PACKED else path
    return name.suffix.lower() in SUFFIXES and not path.name.startswith(".")


ExpandedPath = Annotated[FilePath, AfterValidator(expanded)]
