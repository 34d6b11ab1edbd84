"""Predictions in, everything that there is to say about their errors out: numbers, tables, pictures."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import RenderableType
from rich.table import Table

from mtt.data.structure import Structure
from mtt.data.target import Target
from mtt.evaluation.calibration import Calibration, as_json, calibrations
from mtt.evaluation.cost import Cost
from mtt.evaluation.error_groups import Errors, Groups, errors, groups, histograms, worst
from mtt.evaluation.panels import parity_panels, starts_of
from mtt.evaluation.predict import Predictor
from mtt.evaluation.results import Predictions
from mtt.evaluation.rotations import RotationalError, rotational_error
from mtt.evaluation.unit_doubts import unit_doubts
from mtt.printable import printable
from mtt.report.metrics import FORCES, PER_ATOM, STRESS, readable
from mtt.report.parity import Parity

# Of many groups, and of the worst structures, a terminal shows the first.
_MOST_GROUPS: Final = 8
_MOST_WORST: Final = 3
_LONGEST: Final = 30


@dataclass(frozen=True)
class Analysis:
    """The errors of a model on some structures.

    - ``rotation``: None for a model without energies;
    - ``cost``: of the predictions;
    - ``calibrations``: of the targets with uncertainties or ensembles;
    - ``shifts``: points by which spectra were moved at most, of the targets that may be;
    - ``starts``: of the same targets, the point of the prediction at which the spectrum of each
      structure begins, counted from 0; None where nothing of it is known.
    """

    panels: dict[str, Parity]
    errors: Errors
    groups: Groups
    worst: dict[str, list[dict[str, Any]]]
    rotation: RotationalError | None
    cost: Cost | None
    calibrations: list[Calibration]
    shifts: dict[str, int] = field(default_factory=dict)
    starts: dict[str, list[int | None]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        shifts = {"shifts": self.shifts, "starts": self.starts} if self.shifts else {}
        return {
            "errors": self.errors,
            "groups": self.groups,
            "worst": self.worst,
            "histograms": histograms(self.panels),
            "rotation": None if self.rotation is None else self.rotation.to_dict(),
            "cost": None if self.cost is None else self.cost.to_dict(),
            "calibration": as_json(self.calibrations),
            **shifts,
        }

    @property
    def drawn(self) -> list[Parity]:
        """Return what pictures show."""
        return [panel for panel in self.panels.values() if not panel.is_total]

    def show(self, title: str, calibrated: bool = False) -> Iterator[RenderableType]:
        """Yield tables and lines for a terminal.

        :param calibrated: whether uncertainties were calibrated on these very structures
        """
        if self.errors:
            yield error_table(self.errors, title)
            for division, of in self.groups.items():
                yield group_table(division, of)
        for _, parts in itertools.groupby(self.calibrations, lambda part: part.target):
            yield calibration_table([*parts])
        yield from self.sentences(calibrated)

    def sentences(self, calibrated: bool = False) -> Iterator[str]:
        """Yield doubts about units, the largest errors, the rotational error and the cost."""
        yield from unit_doubts(self.panels)
        for name, points in self.shifts.items():
            yield (
                f"{name}: known up to a shift; each structure is compared where it fits best, "
                f"beginning at one of {points + 1} points"
            )
        for name, listed in self.worst.items():
            unit = self.errors[name]["unit"]
            shown = [
                f"{readable(row['error'], str(unit), like=listed[0]['error'])} in {place(row)}"
                for row in listed[:_MOST_WORST]
            ]
            yield f"largest errors of {label(name)}: {', '.join(shown)}"
        for calibration in self.calibrations:
            own = "; this set calibrated it, and another one would tell more" if calibrated else ""
            yield calibration.sentence() + own
        for part in (self.rotation, self.cost):
            if part is not None:
                yield part.sentence()


def place(row: Mapping[str, Any]) -> str:
    """Return where a structure is, for people: the name of the file without its folder, and the index."""
    name = printable(str(row["source"] or f"#{row['index']}").rpartition("/")[2])
    return name if len(name) <= _LONGEST else f"...{name[3 - _LONGEST :]}"


def analyse(
    model: Predictor,
    structures: Sequence[Structure],
    predictions: Predictions,
    targets: Sequence[Target],
    length_unit: str,
) -> Analysis:
    """Compare predictions with what is known of the structures, and turn some of these.

    The model cannot be asked for anything afterwards.
    """
    panels = parity_panels(structures, predictions, targets, length_unit, model.baselines)
    cost = model.stopwatch
    calls = list(cost.calls)
    rotation = rotational_error(model, structures, predictions, targets, length_unit)
    cost.calls = calls  # of the predictions alone
    return Analysis(
        panels,
        errors(panels),
        groups(panels, structures),
        worst(panels, structures),
        rotation,
        model.close() if calls else None,
        calibrations(structures, predictions, targets),
        {target.name: target.shift for target in targets if target.shift},
        starts_of(structures, predictions, targets),
    )


def error_table(rows: Errors, title: str) -> Table:
    """Return the errors as a table for the terminal."""
    table = Table(title=title, title_justify="left")
    table.add_column("target")
    for column in ("RMSE", "MAE", "largest", "values"):
        table.add_column(column, justify="right")
    for name, error in rows.items():
        unit, rmse = str(error["unit"]), float(error["rmse"])
        cells = [readable(float(error[kind]), unit, like=rmse) for kind in ("rmse", "mae", "max")]
        table.add_row(label(name), *cells, str(error["values"]))
    return table


def calibration_table(parts: Sequence[Calibration]) -> Table:
    """Return how the uncertainty of a target and the spread of its ensemble compare with errors."""
    table = Table(title=f"uncertainties of {printable(parts[0].target, 60)}", title_justify="left")
    table.add_column("")
    for part in parts:
        kind = "uncertainty" if part.members is None else f"{part.members.shape[1]} members"
        table.add_column(kind, justify="right")
    rows: dict[str, list[str]] = {}
    for part in parts:
        means, correlation = part.means(), part.rank_correlation()
        nll, crps = means["nll"], means["crps"]
        cells = {
            "mean": readable(float(part.uncertainties.mean()), part.unit, like=part.rmse),
            "RMSE of errors": readable(part.rmse, part.unit),
            "errors within it": f"{100 * part.within(1.0):.0f} %",
            "within twice it": f"{100 * part.within(2.0):.0f} %",
            "rank correlation": "" if correlation is None else f"{correlation:.2f}",
            # -ln p, where p is per this unit: in another one it has another value.
            f"NLL (p per {part.unit})" if part.unit else "NLL": (
                "infinite" if nll is None else f"{nll:.2f}"
            ),
            "CRPS": "" if crps is None else readable(crps, part.unit, like=part.rmse),
        }
        for name, cell in cells.items():
            rows.setdefault(name, []).append(cell)
    for name, row in rows.items():
        table.add_row(name, *row)
    return table


def group_table(division: str, of: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return the RMSE of each group as a table, the groups with the largest errors first."""
    names = list(dict.fromkeys(name for group in of.values() for name in group["errors"]))
    # The same values are there per atom.
    names = [name for name in names if f"{name}_{PER_ATOM}" not in names]
    shown = sorted(of, key=lambda group: -_largest(of[group]["errors"], names))[:_MOST_GROUPS]
    more = f", the worst {_MOST_GROUPS} of {len(of)}" if len(of) > _MOST_GROUPS else ""
    table = Table(title=f"RMSE by {division}{more}", title_justify="left")
    table.add_column(division)
    for column in ("structures", *map(label, names)):
        table.add_column(column, justify="right")
    for group in of if not more else shown:
        rows = of[group]["errors"]
        cells = [
            readable(rows[name]["rmse"], rows[name]["unit"]) if name in rows else ""
            for name in names
        ]
        table.add_row(printable(group, _LONGEST), str(of[group]["structures"]), *cells)
    return table


def _largest(rows: Errors, names: Sequence[str]) -> float:
    """Return what to sort by: forces, where there are any, or else the first error."""
    own = [name for name in names if name in rows]
    best = next((name for name in own if name.endswith(FORCES)), own[0] if own else None)
    return float(rows[best]["rmse"]) if best is not None else 0.0


def label(name: str) -> str:
    """Return what :func:`mtt.evaluation.error_groups.key` made its name of."""
    for part in (PER_ATOM, FORCES, STRESS):
        if name.endswith(f"_{part}"):
            return f"{name.removesuffix(f'_{part}')} {part.replace('_', ' ')}"
    return name
