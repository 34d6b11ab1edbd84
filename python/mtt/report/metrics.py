"""Errors of predictions, their names and units, and the CSV file that keeps them.

Metrics are called ``energy_rmse`` and ``energy_mae`` (per structure), ``energy_rmse_per_atom`` and
``energy_mae_per_atom``, ``forces_rmse``, ``forces_mae``, ``stress_rmse`` and ``stress_mae`` (per
component), with ``train_`` or ``validation_`` before them where both sets are meant.
"""

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mtt.files import replacing, unwritable

if TYPE_CHECKING:
    import torch

    from mtt.data.batch import Batch

Row = Mapping[str, float | int]


class Metrics:
    """Sums of errors over batches, in float64 and in the order of the batches.

    The same batches in the same order give the same bits. Sums stay on the device of the batches,
    so that nothing waits for it before :meth:`result`.
    """

    def __init__(self) -> None:
        self._squares: dict[str, torch.Tensor] = {}
        self._absolutes: dict[str, torch.Tensor] = {}
        self._counts: dict[str, torch.Tensor] = {}

    def update(
        self,
        batch: "Batch",
        energy: "torch.Tensor",
        forces: "torch.Tensor | None" = None,
        stress: "torch.Tensor | None" = None,
    ) -> None:
        """Add the predictions for one batch; what has no reference does not count.

        :param energy: [S], in the unit of the references, like ``forces`` [N, 3] and ``stress``
            [S, 3, 3]
        """
        difference = energy.detach().double() - batch.energy
        known = ~batch.energy.isnan()
        self._add("energy", difference, known)
        self._add("energy_per_atom", difference / batch.n_atoms, known)
        if forces is not None:
            self._add("forces", forces.detach().double() - batch.forces, batch.forces_mask)
        if stress is not None:
            self._add("stress", stress.detach().double() - batch.stress, batch.stress_mask)

    def _add(self, name: str, difference: "torch.Tensor", mask: "torch.Tensor") -> None:
        shape = [-1] + [1] * (difference.ndim - 1)
        # Not a product with the mask: a missing reference may be NaN.
        difference = difference.masked_fill(~mask.reshape(shape), 0.0)
        count = mask.sum() * math.prod(difference.shape[1:])
        for sums, value in (
            (self._squares, (difference * difference).sum()),
            (self._absolutes, difference.abs().sum()),
            (self._counts, count),
        ):
            sums[name] = sums[name] + value if name in sums else value

    def result(self) -> dict[str, float]:
        """RMSE and MAE of everything that had references, by metric name."""
        metrics: dict[str, float] = {}
        for name, count in self._counts.items():
            n = int(count)
            if n == 0:
                continue
            quantity, per_atom = name.removesuffix("_per_atom"), name.endswith("_per_atom")
            suffix = "_per_atom" if per_atom else ""
            metrics[f"{quantity}_rmse{suffix}"] = math.sqrt(float(self._squares[name]) / n)
            metrics[f"{quantity}_mae{suffix}"] = float(self._absolutes[name]) / n
        return metrics


def unit_of(metric: str, energy_unit: str, length_unit: str) -> str:
    """Unit of a metric, with or without ``train_`` or ``validation_``; "" for a loss."""
    quantity = metric.split("_")[1 if metric.startswith(("train_", "validation_", "test_")) else 0]
    length = "A" if length_unit.lower() in ("angstrom", "a") else length_unit
    if quantity == "energy":
        return f"{energy_unit}/atom" if metric.endswith("_per_atom") else energy_unit
    return {"forces": f"{energy_unit}/{length}", "stress": f"{energy_unit}/{length}^3"}.get(
        quantity, ""
    )


def readable(value: float, unit: str, like: float | None = None) -> str:
    """A value with its unit in four digits; small electronvolts become millielectronvolts.

    :param like: the value that decides on the unit, where several are to have the same
    """
    if unit.startswith("eV") and abs(value if like is None else like) < 1.0:
        value, unit = 1000.0 * value, f"m{unit}"
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
    """Rows of a metrics file; a last line that was cut off by a crash is left out."""
    lines = path.read_text(encoding="ascii").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines = lines[:-1]
    return [
        {name: float(value) for name, value in row.items() if value}
        for row in csv.DictReader(lines)
    ]
