"""Predictions and errors on data, from Python."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtt.api.loaded_model import LoadedModel
from mtt.evaluation.analysis import Analysis
from mtt.evaluation.predict import TargetPrediction, open_model
from mtt.evaluation.run import compare


@dataclass(frozen=True)
class Evaluation:
    """How a model does on data.

    - ``errors``: by quantity, with ``rmse``, ``mae``, ``unit`` and the number of values;
    - ``predictions``: for each structure, by the name of the target, in the units of the data;
    - ``analysis``: errors by group, worst structures, rotations and cost.
    """

    predictions: list[Mapping[str, TargetPrediction]]
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
        from mtt.api.html_table import table

        return table(
            ["quantity", "RMSE", "MAE", "unit"],
            [[name, row["rmse"], row["mae"], row["unit"]] for name, row in self.errors.items()],
        )


def evaluate(
    model: LoadedModel | str | os.PathLike[str],
    data: Mapping[str, Any] | str | os.PathLike[str],
    device: str = "auto",
) -> Evaluation:
    """Predict structures and compare with what is known of them, as ``mtt eval`` does; write nothing.

    :param data: what an options file for ``mtt eval`` says, as a mapping, or its path
    :raises UserError: unusable data or model, or both do not fit together
    """
    path = model.path if isinstance(model, LoadedModel) else Path(model)
    predictor = open_model(path, device)
    datasets = _datasets(data)
    _, predictions, analysis = compare(predictor, datasets, str(path))
    return Evaluation(list(predictions), analysis)
