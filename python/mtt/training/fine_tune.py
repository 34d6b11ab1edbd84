"""A new run that begins with the weights of another one, its base.

Nothing else of the base goes on: data, split, optimizer and schedule are those of the new options.
The new run's checkpoints name the base by its content and hold all that going on with them needs.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mtt.architectures.potential import Potential
from mtt.checkpoint import checkpoint as checkpoints
from mtt.data.batch import collate
from mtt.data.dataset import Dataset, named, types_of
from mtt.data.structure import Structure
from mtt.errors import UserError
from mtt.options import Options
from mtt.training.baseline import Baseline, refit_baseline
from mtt.training.fine_tune_base import check_fits, protect
from mtt.training.loop import reproducible
from mtt.training.run_data import RunData, read_run_data
from mtt.training.runs.option_changes import Header


class Begun(NamedTuple):
    """What a run begins with; ``origin`` is what its checkpoints say of the base, if it has one."""

    data: RunData
    potential: Potential
    origin: dict[str, Any] | None


def begin(
    options: Options, base: Path, output: Path, device: torch.device, say: Callable[[str], None]
) -> Begun:
    """Read the base and the new data, and fit the baseline to them.

    :param output: the model file to write, whose checkpoint must not replace the base
    :raises UserError: if base and options, or base and data, do not fit together
    """
    chosen = options.architecture.training.fine_tune
    assert chosen is not None
    header, tensors = checkpoints.read(base)
    origin = {
        "kind": "fine-tuning",
        "content_hash": header["content_hash"],
        "architecture": {key: header["architecture"][key] for key in ("name", "version")},
        "weights": chosen.weights,
        "epoch": header["best" if chosen.weights == "best" else "position"]["epoch"],
        "baseline": chosen.baseline,
    }
    check_fits(header, options, base)
    protect(origin, output)
    potential = _potential(options, header, tensors, base)
    data = read_run_data(options)
    _check_types(header, [*data.train, *data.validation, *data.test], base)
    potential.to(device)
    words = [f"{chosen.weights} weights (epoch {origin['epoch']})"]
    if header["precision"] != options.base_precision:
        words.append(f"converted from {header['precision']} to {options.base_precision} bits")
    refit = chosen.baseline == "refit"
    words.append(_fit_again(options, data, potential) if refit else "baseline kept")
    say(f"fine-tuning from {base}: {', '.join(words)}")
    return Begun(data, potential, origin)


def _potential(
    options: Options, header: Header, tensors: dict[str, torch.Tensor], base: Path
) -> Potential:
    """The model of the base, in the precision of the new run."""
    hypers = options.architecture.training
    assert hypers.fine_tune is not None
    weights = hypers.fine_tune.weights
    if weights == "best" and header["best"]["epoch"] == 0:
        raise UserError(
            "the base has no best weights: no epoch had been validated when it was written",
            where=str(base),
            hint="use its last weights, as in fine_tune: {weights: last}",
        )
    potential = checkpoints.load_potential(header, tensors, weights)
    scale = float(potential.get_buffer("scale"))
    if not hypers.scale_targets and scale != 1.0:
        raise UserError(
            f"the scale cannot be left at 1: that of the base is {scale:.6g} "
            f"{potential.energy_unit}, and its weights go with it",
            where="architecture.training.scale_targets",
            hint="leave scale_targets out",
        )
    return potential.set_precision(checkpoints.precision_dtype(options.base_precision))


def _check_types(header: Header, structures: Sequence[Structure], path: Path) -> None:
    """The base must know all atomic types of the data.

    :raises UserError: naming those that it does not know
    """
    unknown = [kind for kind in types_of(structures) if kind not in header["atomic_types"]]
    if unknown:
        known = ", ".join(named(kind) for kind in header["atomic_types"])
        raise UserError(
            f"the data have atomic types that the base does not know: "
            f"{', '.join(named(kind) for kind in unknown)}",
            where=str(path),
            hint=f"it knows {known}: leave out the structures that have others, or train from scratch",
        )


def _fit_again(options: Options, data: RunData, potential: Potential) -> str:
    """Change the composition of ``potential`` to fit the training set; what is said of it."""
    composition, scale = potential.get_buffer("composition"), potential.get_buffer("scale")
    before = Baseline(composition.cpu().numpy().copy(), float(scale))
    predicted = _energies(options, data.train, potential, composition.device)
    types, target = potential.atomic_types, potential.target_name
    after = refit_baseline(before, data.train, target, types, predicted)
    composition.copy_(torch.from_numpy(after.composition))
    change = after.composition - before.composition
    largest = int(np.abs(change).argmax())
    return (
        f"baseline fitted again (largest change {change[largest]:+.6g} {potential.energy_unit} "
        f"per atom of type {named(types[largest])})"
    )


def _energies(
    options: Options, structures: list[Structure], potential: Potential, device: torch.device
) -> NDArray[np.float64]:
    """Energies (n_structures,) that the model gives now."""
    dtype = checkpoints.precision_dtype(options.base_precision)
    size = options.architecture.training.batch_size
    parts: list[torch.Tensor] = []
    with reproducible(device), torch.no_grad():
        for start in range(0, len(structures), size):
            chunk = structures[start : start + size]
            dataset = Dataset(
                chunk, potential.atomic_types, potential.cutoff, potential.target_name
            )
            graph = collate(dataset, range(len(chunk)), dtype, device).graph
            zeros = torch.zeros(len(chunk), dtype=torch.float64, device=device)
            parts.append(zeros.index_add(0, graph.system, potential.atomic_energies(graph)).cpu())
    energies: NDArray[np.float64] = torch.cat(parts).numpy()
    return energies
