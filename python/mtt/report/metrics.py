"""Errors of predictions, their names and units, and the CSV file that keeps them.

With one target, which is an energy, metrics are called ``energy_rmse`` and ``energy_mae`` (per
structure), ``energy_rmse_per_atom`` and ``energy_mae_per_atom``, ``forces_rmse``, ``forces_mae``,
``stress_rmse`` and ``stress_mae`` (per component). Otherwise they begin with the name of the target:
``energy/pbe_rmse``, ``energy/pbe_rmse_per_atom``, ``energy/pbe_forces_rmse``, ``mtt::charges_rmse``.
``train_`` or ``validation_`` stands before them where both sets are meant.
"""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from mtt.data.target import POSITIONS, STRAIN, Target
from mtt.files import LARGEST_TEXT, read_regular, replacing, unwritable
from mtt.units import spelling

Row = Mapping[str, float | int]
Error = Literal["rmse", "mae"]
ERRORS: Final[tuple[Error, ...]] = get_args(Error)
# What stands before the errors of each set in a row of the history.
TRAIN: Final = "train_"
VALIDATION: Final = "validation_"
# What is compared of a target: its values, those of systems per atom as well, and its gradients.
VALUE: Final = "value"
PER_ATOM: Final = "per_atom"
FORCES: Final = "forces"
STRESS: Final = "stress"


@dataclass(frozen=True)
class Quantity:
    """Something whose errors are reported.

    - ``target``: the name of the target, and ``part``, what of it is meant;
    - ``stem``: the beginning of its metrics' names;
    - ``label``: what it is for people, for instance ``energy per atom`` or ``energy/pbe forces``;
    - ``unit``: of its errors;
    - ``is_total``: whether it grows with the system, so that pictures leave it to the one per atom.
    """

    target: str
    part: str
    stem: str
    label: str
    unit: str
    is_total: bool = False

    def metric(self, error: Error) -> str:
        """Return the name of its RMSE or MAE."""
        return f"{self.stem}_{error}{'_per_atom' if self.part == PER_ATOM else ''}"


def quantities(targets: Sequence[Target], length_unit: str = "angstrom") -> list[Quantity]:
    """Return all quantities of targets, with the names, labels and units that reports use.

    Forces and stress are there for targets that have these gradients. It alone decides how metrics
    are called: everything else looks them up here.
    """
    alone = len(targets) == 1 and targets[0].is_energy
    length = spelling(length_unit)
    length = "A" if length == "angstrom" else length
    result = []
    for target in targets:
        name, prefix = ("energy", "") if alone else (target.name, f"{target.name} ")
        unit, per_system = spelling(target.unit), target.per == "system"
        per_system = per_system and not target.per_volume
        result.append(Quantity(target.name, VALUE, name, name, unit, per_system))
        if per_system:
            label = f"{name} per atom"
            result.append(
                Quantity(target.name, PER_ATOM, name, label, f"{unit}/atom" if unit else "1/atom")
            )
        for gradient, part, power in ((POSITIONS, FORCES, ""), (STRAIN, STRESS, "^3")):
            if gradient in target.gradients:
                label = f"{prefix}{part}"
                stem = label.replace(" ", "_")
                unit_of_part = f"{unit}/{length}{power}"
                result.append(Quantity(target.name, part, stem, label, unit_of_part))
    return result


def units(targets: Sequence[Target], length_unit: str) -> dict[str, str]:
    """Return the unit of every metric of targets, without ``train_`` or ``validation_``."""
    return {
        quantity.metric(error): quantity.unit
        for quantity in quantities(targets, length_unit)
        for error in ERRORS
    }


def judged_by(history: Sequence[Row | None]) -> str:
    """Return the set whose errors rows tell beside those of training, or training itself."""
    rows = [row for row in history if row]
    validated = not rows or any(name.startswith(VALIDATION) for row in rows for name in row)
    return "validation" if validated else "training"


def judging_prefix(history: Sequence[Row | None]) -> str:
    """Return what stands before the errors of that set in rows."""
    return VALIDATION if judged_by(history) == "validation" else TRAIN


def milli(value: float, unit: str) -> tuple[float, str]:
    """Return a factor and its unit for values of this size: small electronvolts are millielectronvolts."""
    return (1000.0, f"m{unit}") if unit.startswith("eV") and abs(value) < 1.0 else (1.0, unit)


def readable(value: float, unit: str, like: float | None = None) -> str:
    """Return a value with its unit in four digits; small electronvolts become millielectronvolts.

    :param like: the value that decides on the unit, where several are to have the same
    """
    factor, unit = milli(value if like is None else like, unit)
    value *= factor
    digits = f"{value:.4g}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.3e}"
    return f"{digits} {unit}".rstrip()


class MetricsCsv:
    """One row per epoch in a CSV file; the first columns are those of the first row.

    :param path: the file
    :param history: rows of earlier epochs. The file is replaced by them at once, so that after a
        resume no row from behind the checkpoint is left.
    """

    def __init__(self, path: Path, history: Sequence[Row] = ()) -> None:
        self.path = path
        self._rows: list[Row] = [dict(row) for row in history]
        self._columns: list[str] = []
        # Rows are missing, or half of one is there: as after a full disk.
        self._broken = False
        for row in self._rows:
            self._extend(row)
        self._rewrite()

    def write(self, row: Row) -> None:
        """Add a row; what it says that no earlier row did becomes a new column."""
        self._rows.append(dict(row))
        rewrite, self._broken = self._extend(row) or self._broken, True
        if rewrite:
            self._rewrite()
            return
        try:
            with self.path.open("a", encoding="ascii", newline="") as file:
                file.write(self._line(row))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise unwritable(self.path, error) from error
        self._broken = False

    def _extend(self, row: Row) -> bool:
        new = [name for name in row if name not in self._columns]
        self._columns += new
        return bool(new)

    def _line(self, row: Row) -> str:
        # repr gives the shortest text that reads back as the same float.
        return _csv([repr(row[name]) if name in row else "" for name in self._columns])

    def _rewrite(self) -> None:
        with replacing(self.path) as temporary:
            header = _csv(self._columns) if self._columns else ""
            text = header + "".join(self._line(row) for row in self._rows)
            temporary.write_text(text, encoding="ascii")
        self._broken = False


def _csv(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def read_rows(path: Path) -> list[dict[str, float]]:
    """Return the rows of a metrics file; a last line that was cut off by a crash is left out."""
    lines = read_regular(path, LARGEST_TEXT).decode("ascii").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines = lines[:-1]
    return [
        {name: float(value) for name, value in row.items() if value}
        for row in csv.DictReader(lines)
    ]
