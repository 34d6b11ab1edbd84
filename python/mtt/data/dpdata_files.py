"""Outputs of electronic-structure programs that dpdata reads: OUTCAR, vasprun.xml, CP2K, Quantum ESPRESSO.

dpdata gives lengths in angstrom, energies in eV and virials with our sign, whatever the program writes.
"""

import contextlib
from pathlib import Path
from typing import Any

import ase
import numpy as np

from mtt.data.ase_frames import check_data_file
from mtt.data.file_limits import within_limits
from mtt.errors import UserError

_HINT = (
    "name the format as dpdata does, for instance: systems: {read_from: OUTCAR, reader: dpdata, "
)
_HINT += "format: vasp/outcar}"


def read_dpdata(path: Path, form: str | None) -> list[ase.Atoms]:
    """Return all frames of a file or a folder, with energy, forces and virial where it has them.

    :param form: name of the format; None lets dpdata tell it by the name of the file
    :raises UserError: dpdata is not installed, or cannot read the file
    """
    try:
        import dpdata
    except ImportError as error:
        raise UserError(
            "the file is to be read by dpdata, which is not installed",
            where=str(path),
            hint="pip install 'mtt[dpdata]'",
        ) from error
    if not path.is_dir():
        check_data_file(path)
    try:
        with contextlib.nullcontext() if path.is_dir() else within_limits(path):
            data = dpdata.LabeledSystem(str(path), fmt=form or "auto").data
    except UserError:
        raise
    except Exception as error:
        # Its readers raise whatever their parser happened to stumble over.
        detail = " ".join(str(error)[:300].split()) or type(error).__name__
        raise UserError(
            f"dpdata cannot read the file: {type(error).__name__}: {detail}",
            where=str(path),
            hint=_HINT,
        ) from error
    frames = _frames(data)
    if not frames:
        raise UserError("the file holds no structures", where=str(path))
    return frames


def _frames(data: dict[str, Any]) -> list[ase.Atoms]:
    symbols = [data["atom_names"][kind] for kind in data["atom_types"]]
    frames = []
    for index, positions in enumerate(data["coords"]):
        atoms = ase.Atoms(symbols, positions, cell=data["cells"][index])
        atoms.pbc = not data.get("nopbc", False)
        atoms.info["energy"] = float(data["energies"][index])
        atoms.arrays["forces"] = np.array(data["forces"][index], dtype=np.float64)
        if "virials" in data:
            atoms.info["virial"] = np.array(data["virials"][index], dtype=np.float64)
        frames.append(atoms)
    return frames
