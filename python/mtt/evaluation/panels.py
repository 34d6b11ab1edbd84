"""Predictions beside the references of the data, quantity by quantity."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mtt.data.spectra import Aligned, aligned, between_zeros
from mtt.data.structure import Structure
from mtt.data.target import Target
from mtt.evaluation.results import Prediction, Predictions
from mtt.report.metrics import FORCES, PER_ATOM, STRESS, Quantity, quantities
from mtt.report.parity import Parity

# What a model adds for each atom to the values of a target, by its atomic type.
Baselines = Mapping[str, Mapping[int, float]]


def parity_panels(
    structures: Sequence[Structure],
    predictions: Predictions,
    targets: Sequence[Target],
    length_unit: str,
    baselines: Baselines | None = None,
) -> dict[str, Parity]:
    """Return reference and predicted values of everything that has references, by their labels.

    For one energy, labels are ``energy`` (per structure), ``energy per atom``, ``forces`` and
    ``stress`` (components); see :func:`mtt.report.metrics.quantities`. What is compared of a target
    need not be in its ``gradients``, which describe the data that it was trained on. Spectra that are
    known up to a shift are compared where they fit best.

    :param predictions: for each structure, by the name of the target
    :param baselines: those of the model, which pictures leave out; for a target without one, the
        values of each element that fit the references best are left out
    """
    panels: dict[str, Parity] = {}
    shifts = {target.name: target.shift for target in targets}
    invariant = {target.name for target in targets if all(target.invariant)}
    for quantity in quantities([target.with_all_gradients() for target in targets], length_unit):
        parts = [
            part
            for index, (structure, prediction) in enumerate(
                zip(structures, predictions, strict=True)
            )
            if (part := _compared(index, structure, prediction[quantity.target], quantity, shifts))
        ]
        if parts:
            reference, predicted, indices, types = (
                np.concatenate(arrays) for arrays in zip(*parts, strict=True)
            )
            panel = Parity(
                quantity.label, quantity.unit, reference, predicted, quantity.is_total, indices
            )
            if quantity.part == PER_ATOM and quantity.target in invariant:
                panel = _offset(panel, structures, (baselines or {}).get(quantity.target))
            elif types[0]:
                panel = replace(panel, types=types)
            panels[quantity.label] = panel
    return panels


class _Part(NamedTuple):
    """The values of one structure; the atomic type is 0 for those that belong to no atom."""

    reference: NDArray[np.float64]
    predicted: NDArray[np.float64]
    indices: NDArray[np.int64]
    types: NDArray[np.int32]


def _compared(
    index: int,
    structure: Structure,
    prediction: Prediction,
    quantity: Quantity,
    shifts: Mapping[str, int],
) -> _Part | None:
    """Return the values of one structure, if both are known."""
    known = structure.references.get(quantity.target)
    if known is None:
        return None
    if quantity.part in (FORCES, STRESS):
        reference, predicted = getattr(known, quantity.part), getattr(prediction, quantity.part)
    else:
        divisor = len(structure) if quantity.part == PER_ATOM else 1
        reference, predicted = known.values / divisor, prediction.values / divisor
    if reference is None or predicted is None:
        return None
    if shifts[quantity.target]:
        reference, predicted = _moved(reference, predicted, shifts[quantity.target])
    of_atoms = quantity.part == FORCES or (quantity.part != STRESS and reference.ndim == 2)
    types = structure.types[:, None] if of_atoms else np.zeros(1, np.int32)
    types = np.broadcast_to(types, reference.shape)
    kept = ~np.isnan(reference)
    if not kept.any():
        return None
    indices = np.full(int(kept.sum()), index)
    return _Part(reference[kept], predicted[kept], indices, types[kept])


def _moved(
    reference: NDArray[np.float64], predicted: NDArray[np.float64], points: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a spectrum where it fits the prediction best, NaN where nothing is known, and the prediction.

    Both are (P,), or (3 P,) of those that may begin anywhere.
    """
    fitted, own = _fitted(reference, predicted, points)
    return np.where(fitted.known[0].numpy(), fitted.values[0].numpy(), np.nan), own


def _fitted(
    reference: NDArray[np.float64], predicted: NDArray[np.float64], points: int
) -> tuple[Aligned, NDArray[np.float64]]:
    row = torch.from_numpy(reference)[None]
    rows = (torch.from_numpy(predicted)[None], row, ~row.isnan())
    anywhere = points > len(reference)
    if anywhere:
        rows = between_zeros(*rows)
    return aligned(*rows, points, anywhere), rows[0][0].numpy()


def starts_of(
    structures: Sequence[Structure], predictions: Predictions, targets: Sequence[Target]
) -> dict[str, list[int | None]]:
    """Return at which point of the prediction each spectrum begins that is known up to a shift.

    By target, for each structure, counted from 0 (negative before the prediction); None where nothing of
    its spectrum is known.
    """
    starts: dict[str, list[int | None]] = {}
    for target in targets:
        if not target.shift:
            continue
        own = starts.setdefault(target.name, [])
        for structure, prediction in zip(structures, predictions, strict=True):
            known = structure.references.get(target.name)
            start = None
            if known is not None and not np.isnan(known.values[target.room :]).all():
                fitted, _ = _fitted(known.values, prediction[target.name].values, target.shift)
                start = int(fitted.before.sum())
                # Of the points before the prediction, the nearest one is -1.
                start -= target.properties if target.shift > target.properties else 0
            own.append(start)
    return starts


def _offset(
    panel: Parity, structures: Sequence[Structure], baseline: Mapping[int, float] | None
) -> Parity:
    """Return the panel of values per atom with the part of them that the elements explain."""
    assert panel.structures is not None
    types = sorted({int(kind) for structure in structures for kind in structure.types})
    counts = np.array(
        [[np.mean(structure.types == kind) for kind in types] for structure in structures]
    )
    fractions = counts[panel.structures]
    if baseline is not None:
        values, name = np.array([baseline[kind] for kind in types]), "baseline"
    else:
        values = np.linalg.lstsq(fractions, panel.reference, rcond=None)[0]
        name = "fit by element"
    return replace(panel, offset=fractions @ values, offset_name=name)
