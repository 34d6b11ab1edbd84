"""A new run that begins with the weights of another one, its base.

Nothing else of the base stays: data, split, optimizer and schedule are those of the new options.
The new run's checkpoints name the base by its content and hold all that resuming needs.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mtt import checkpoint as checkpoints
from mtt.architectures.graph_model import GraphModel
from mtt.checkpoint import Header, Origin
from mtt.data.batch import collate
from mtt.data.dataset import Dataset, named, types_of
from mtt.data.grouping import in_order
from mtt.data.same_units import Units
from mtt.data.structure import Structure
from mtt.errors import UserError
from mtt.options import Options
from mtt.training.baseline import Baseline, refit_baseline
from mtt.training.fine_tune_base import check_fits, protect
from mtt.training.loop import reproducible
from mtt.training.run_data import RunData, read_run_data


class Start(NamedTuple):
    """What a run begins with; ``origin`` is what its checkpoints say of the base, if it has one."""

    data: RunData
    potential: GraphModel
    origin: Origin | None


def begin(
    options: Options, base: Path, output: Path, device: torch.device, say: Callable[[str], None]
) -> Start:
    """Read the base and the new data, and fit the baseline to them.

    :param output: the model file to write, whose checkpoint must not replace the base
    :raises UserError: if base and options, or base and data, do not fit together
    """
    chosen = options.architecture.training.fine_tune
    assert chosen is not None
    header, tensors = checkpoints.read(base)
    origin = Origin(
        content_hash=header.content_hash,
        name=header.architecture.name,
        version=header.architecture.version,
        weights=chosen.weights,
        epoch=(header.best if chosen.weights == "best" else header.position).epoch,
        baseline=chosen.baseline,
    )
    check_fits(header, options, base)
    protect(origin, output)
    _check_shifts(header, options, base)
    potential = _potential(options, header, tensors, base)
    units = Units(header.length_unit, {target.name: target.unit for target in header.targets})
    data = read_run_data(options, units=units)
    _tell_known_structures(header, data, say)
    _check_types(header, [*data.train, *data.validation, *data.test], base)
    potential.to(device)
    words = [f"{chosen.weights} weights (epoch {origin.epoch})"]
    if header.precision != options.base_precision:
        words.append(f"converted from {header.precision} to {options.base_precision} bits")
    refit = chosen.baseline == "refit"
    words.append(_fit_again(options, data, potential) if refit else "baseline kept")
    say(f"fine-tuning from {base}: {', '.join(words)}")
    return Start(data, potential, origin)


def _potential(
    options: Options, header: Header, tensors: dict[str, torch.Tensor], base: Path
) -> GraphModel:
    """The model of the base, in the precision of the new run."""
    hypers = options.architecture.training
    assert hypers.fine_tune is not None
    weights = hypers.fine_tune.weights
    if weights == "best" and not any(name.startswith("best/") for name in tensors):
        raise UserError(
            "the base has no best weights: no epoch had been validated when it was written",
            where=str(base),
            hint="use its last weights, as in fine_tune: {weights: last}",
        )
    potential = checkpoints.load_model(header, tensors, weights)
    # Of other weights than these will be.
    potential.set_uncertainties([])
    for target in potential.targets:
        scale = float(potential.baseline(target.name).scale)
        if not hypers.scale_targets and scale != 1.0:
            raise UserError(
                f"the scale cannot be left at 1: that of the base is {scale:.6g} "
                f"{target.unit}, and its weights go with it",
                where="architecture.training.scale_targets",
                hint="leave scale_targets out",
            )
    return potential.set_precision(checkpoints.precision_dtype(options.base_precision))


def _tell_known_structures(header: Header, data: RunData, say: Callable[[str], None]) -> None:
    """Say which structures of the validation set the base was trained on: its errors of them are small."""
    if header.data_hash.get("training_set") != data.data_hash.get("training_set"):
        return
    known = set(header.split["train"]) & set(data.split["validation"])
    if known:
        say(
            f"check the data: the base was trained on {len(known)} of {len(data.split['validation'])} "
            "structures of the validation set, which makes errors and uncertainties look too small: "
            "give seed and validation_set as the base had them"
        )


def _check_shifts(header: Header, options: Options, path: Path) -> None:
    """Refuse to move what the base has at fixed points, and the other way round."""
    loss = options.architecture.training.loss
    for target in header.targets:
        points = loss.extra_points(target.name, target.properties)
        if points != target.shift:
            raise UserError(
                f"'{target.name}' may be shifted by {points} points here, and by {target.shift} in "
                "the base",
                where=str(path),
                hint="write the same shift under loss.targets, or train from scratch",
            )


def _check_types(header: Header, structures: Sequence[Structure], path: Path) -> None:
    """The base must know all atomic types of the data.

    :raises UserError: naming those that it does not know
    """
    unknown = [kind for kind in types_of(structures) if kind not in header.atomic_types]
    if unknown:
        known = ", ".join(named(kind) for kind in header.atomic_types)
        raise UserError(
            f"the data have atomic types that the base does not know: "
            f"{', '.join(named(kind) for kind in unknown)}",
            where=str(path),
            hint=f"it knows {known}: leave out the structures that have others, or train from scratch",
        )


def _fit_again(options: Options, data: RunData, potential: GraphModel) -> str:
    """Fit the compositions of ``potential`` to the training set; return what is said of it."""
    types = potential.atomic_types
    predicted = _predictions(options, data.train, potential)
    sentences = []
    for target in potential.targets:
        if target.shift:
            continue
        own = potential.baseline(target.name)
        before = Baseline(own.composition.cpu().numpy().copy(), float(own.scale))
        after = refit_baseline(before, data.train, target, types, predicted[target.name])
        own.composition.copy_(torch.from_numpy(after.composition))
        change = after.composition - before.composition
        row, column = np.unravel_index(int(np.abs(change).argmax()), change.shape)
        of = "" if len(potential.targets) == 1 else f" of {target.name}"
        unit = f" {target.unit}" if target.unit else ""
        sentences.append(
            f"baseline{of} fitted again (largest change {change[row, column]:+.6g}{unit} "
            f"per atom of type {named(types[row])})"
        )
    return ", ".join(sentences) or "baseline kept"


def _predictions(
    options: Options, structures: Sequence[Structure], potential: GraphModel
) -> dict[str, list[NDArray[np.float64]]]:
    """Return, by target, the values that the model gives now of each structure: (P,) or (N, P)."""
    dtype = checkpoints.precision_dtype(options.base_precision)
    device = potential.species_of_type.device
    hypers = options.architecture.training
    n_atoms = np.array([len(structure) for structure in structures], dtype=np.int64)
    groups = in_order(n_atoms, hypers.batch_size, hypers.max_atoms_per_batch)
    predicted: dict[str, list[NDArray[np.float64]]] = {name: [] for name in potential.target_names}
    with reproducible(device), torch.no_grad():
        for group in groups:
            chunk = structures[int(group[0]) : int(group[-1]) + 1]
            dataset = Dataset(chunk, potential.atomic_types, potential.cutoff, potential.targets)
            batch = collate(dataset, range(len(chunk)), dtype, device)
            for name, values in potential.evaluate(
                batch.graph, derivatives=False, volumes=batch.volumes
            ).items():
                if values.systems is not None:
                    predicted[name] += list(values.systems.cpu().numpy())
                else:
                    counts = [len(structure) for structure in chunk]
                    parts = values.atoms.cpu().split(counts)
                    predicted[name] += [part.numpy() for part in parts]
    return predicted
