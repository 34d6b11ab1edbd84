"""Predictions and errors on data, from Python."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtt.api.loaded_model import LoadedModel
from mtt.evaluation.analysis import Analysis
from mtt.evaluation.predict import TargetPrediction, open_model
from mtt.evaluation.run import compare
from mtt.options import load_eval_options
from mtt.report.wording import safe


@dataclass(frozen=True)
class Evaluation:
    """How a model does on data.

    - ``errors``: by quantity, with ``rmse``, ``mae``, ``unit`` and the number of values;
    - ``predictions``: for each structure, by the name of the target, in the units of the data;
    - ``analysis``: errors by group, worst structures, rotations and cost.
    """

    predictions: list[dict[str, TargetPrediction]]
    analysis: Analysis

    @property
    def errors(self) -> dict[str, dict[str, float | int | str]]:
        return self.analysis.errors

    def __repr__(self) -> str:
        shown = [
            f"{name} RMSE {row['rmse']:.4g} {row['unit']}" for name, row in self.errors.items()
        ]
        return (
            f"<evaluation of {len(self.predictions)} structures: {', '.join(shown) or 'no errors'}>"
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{safe(name)}</td><td>{row['rmse']:.4g}</td><td>{row['mae']:.4g}</td>"
            f"<td>{safe(row['unit'])}</td></tr>"
            for name, row in self.errors.items()
        )
        return (
            f"<table><tr><th>quantity</th><th>RMSE</th><th>MAE</th><th>unit</th></tr>{rows}</table>"
        )


def evaluate(
    model: LoadedModel | str | os.PathLike[str],
    data: Mapping[str, Any] | Sequence[Mapping[str, Any]] | str | os.PathLike[str],
    device: str = "auto",
) -> Evaluation:
    """Predict structures and compare with what is known of them, as ``mtt eval`` does; write nothing.

    :param data: what an options file for ``mtt eval`` says, as a mapping or a list, or its path
    :raises UserError: unusable data or model, or both do not fit together
    """
    path = model.path if isinstance(model, LoadedModel) else Path(model)
    datasets = load_eval_options(Path(data) if isinstance(data, str | os.PathLike) else data)
    done = compare(open_model(path, device), datasets, f"the data and {path}")
    return Evaluation(done.predictions, done.analysis)
