"""From options and data, or from a checkpoint, to all that the loop needs. Writes nothing."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mtt import architecture_registry
from mtt import checkpoint as checkpoints
from mtt.architectures.cores import new_core
from mtt.architectures.ensemble import Ensemble
from mtt.architectures.graph_model import GraphModel
from mtt.checkpoint import ArchitectureRecord, Header, Origin
from mtt.checkpoint.upgrade_steps import header_for_today
from mtt.data.dataset import Dataset
from mtt.data.derived_targets import clashes, has_uncertainty
from mtt.data.same_units import Units, in_angstrom
from mtt.data.structure import Structure
from mtt.data.target import Target
from mtt.device import choose_device
from mtt.elements import symbol_of
from mtt.errors import UserError
from mtt.options import Options, options_hash
from mtt.options.schema.options import hash_of_options
from mtt.options.schema.training import ISOLATED
from mtt.options.schema.training import Baseline as BaselineOption
from mtt.training import fine_tune, fit_uncertainty
from mtt.training.baseline import (
    Baseline,
    Fixed,
    fit_baseline,
    in_training_units,
    isolated_atoms,
)
from mtt.training.check_data import check_loss, check_sets, doubts_about, learn_states
from mtt.training.communicator import Alone, Communicator
from mtt.training.fine_tune import Start
from mtt.training.fine_tune_base import find_base, protect
from mtt.training.loop import Problem
from mtt.training.memory import estimate, free_memory
from mtt.training.optimizer import make_optimizer
from mtt.training.run_data import RecordedData, RunData, check_structures, read_run_data
from mtt.training.runs import conditions
from mtt.training.runs.option_changes import as_begun, check_options, with_hypers_of_base
from mtt.training.state import State
from mtt.training.threads import choose_threads
from mtt.training.without_repulsion import without_repulsion

# Fingerprints of the data in a checkpoint: DATA/training_set and so on.
_DATA = "data/"


@dataclass
class Run:
    """One call of the stage: what is trained, on what, and what every checkpoint says about it."""

    options: Options
    data: RunData
    problem: Problem
    state: State
    header: Header
    check_tensors: dict[str, torch.Tensor]
    output: Path

    def save(self, path: Path) -> None:
        """Write a checkpoint of the present state; raises UserError if that fails."""
        entries, tensors = self.state.to_checkpoint()
        checkpoints.write(path, replace(self.header, **entries), {**tensors, **self.fixed_tensors})

    @property
    def fixed_tensors(self) -> dict[str, torch.Tensor]:
        """Tensors of a checkpoint that do not change while training."""
        kept = {
            f"{_DATA}{name}": torch.from_numpy(rows)
            for name, rows in self.data.fingerprints.items()
        }
        return {**self.check_tensors, **kept}

    @property
    def finished(self) -> bool:
        return _is_finished(self.state, self.problem)


def _is_finished(state: State, problem: Problem) -> bool:
    # A run of no epochs has best weights once it is done.
    return state.position.epoch >= problem.hypers.num_epochs and bool(state.best)


def prepare(
    options: Options,
    source: Path | None,
    output: Path,
    say: Callable[[str], None],
    recorded: dict[str, Any] | None = None,
    communicator: Communicator | None = None,
    threads: int | None = None,
) -> Run:
    """Read the data, and build the model and the state or take them from a checkpoint.

    :param source: checkpoint to resume from, or to fine-tune if the options say so
    :param recorded: what checkpoints say that the options were; else what they are
    :param threads: how many to compute with, if there are so many and the environment says nothing
    """
    device = choose_device(options.device)
    base = find_base(options, source)
    begun = source if base is None else base
    if begun is not None and options.architecture.training.fine_tune is not None:
        options = with_hypers_of_base(options, header_for_today(checkpoints.read_header(begun)))
    header: Header | None = None
    tensors: dict[str, torch.Tensor] = {}
    if base is not None:
        data, potential, origin = fine_tune.begin(options, base, output, device, say)
    elif source is not None:
        header, tensors = checkpoints.read(source)
        options = as_begun(options, header)
        data, potential, origin = _resume(options, header, tensors, source, output, say)
    else:
        data = read_run_data(options)
        potential, origin = _new_potential(options, data, say), None
    _check_features(options, data, potential)
    check_sets(data, potential)
    learn_states(data, potential, say)
    problem = _problem(options, data, potential, device, communicator or Alone())
    check_loss(problem, data.train)
    if header is None:
        for doubt in doubts_about(data, potential, options):
            say(f"check the data: {doubt}")
    potential.to(device)
    with contextlib.nullcontext() if source is None or header is None else _fitting(source):
        ensemble = fit_uncertainty.begin_ensemble(potential, problem, tensors)
    trained = [*potential.parameters(), *ensemble]
    state = State(potential, make_optimizer(trained, problem.hypers), ensemble)
    state.train_sums = state.train_sums.to(device)
    if source is not None and header is not None:
        with _fitting(source):
            state.from_checkpoint(header, tensors)
    weights = sum(parameter.numel() for parameter in potential.parameters())
    say(
        f"{options.architecture.name} with {weights} weights in {options.base_precision} bits on "
        f"{device}: {problem.steps_per_epoch} steps of {problem.step_size} per epoch"
    )
    for line in _left_out(problem):
        say(line)
    for weights_of_members in ensemble:
        say(_ensemble_line(weights_of_members, problem))
    for line in fit_uncertainty.costs(potential, problem):
        say(f"warning: {line}")
    if weights == 0:
        say("there are no weights to train: an epoch tells the errors, and changes nothing")
    if not _is_finished(state, problem):
        # Before a step of a whole batch, which may be too large.
        say(estimate(problem, potential).line(free_memory(device)))
        choose_threads(state, problem, threads or conditions.threads_of(header), say)
    fixed = _fixed_header(options, data, potential, problem, origin)
    recorded_conditions, changes = conditions.carried_on(
        header, conditions.here(device, options.architecture.name)
    )
    fixed = replace(fixed, conditions=recorded_conditions)
    run = Run(options, data, problem, state, fixed, _check_tensors(data.train), output)
    if changes and not run.finished:
        say(f"bits may differ from those of a run without a break: {'; '.join(changes)}")
    if recorded is not None:
        run.header = replace(fixed, options=recorded, options_hash=hash_of_options(recorded))
    return run


def _resume(
    options: Options,
    header: Header,
    tensors: dict[str, torch.Tensor],
    source: Path,
    output: Path,
    say: Callable[[str], None],
) -> Start:
    """The data of the run again, and its model with weights still to be restored."""
    position, origin = header.position, header.origin
    say(f"resuming from {source}: epoch {position.epoch}, step {position.step}")
    schedule = check_options(header, options, source)
    if schedule is not None:
        say(schedule)
    if origin is not None:
        protect(origin, output)
    kept = {
        name.removeprefix(_DATA): tensor.numpy()
        for name, tensor in tensors.items()
        if name.startswith(_DATA) and tensor.dtype == torch.int64
    }
    recorded = RecordedData(header.split, header.data_hash, header.data_size, kept)
    units = Units(header.length_unit, {target.name: target.unit for target in header.targets})
    data = read_run_data(options, recorded, units)
    potential = checkpoints.build_model(header)
    with _fitting(source):
        # What references are converted with.
        for name, buffer in potential.baselines.named_buffers(prefix="model/baselines"):
            buffer.copy_(tensors[name])
    return Start(data, potential, origin)


@contextlib.contextmanager
def _fitting(source: Path) -> Iterator[None]:
    """What a checkpoint lacks, or has in other shapes, is a fault of the checkpoint."""
    try:
        yield
    except (KeyError, TypeError, RuntimeError) as error:
        raise UserError(
            f"the checkpoint does not fit its architecture: {error}", where=str(source)
        ) from error


def _new_potential(options: Options, data: RunData, say: Callable[[str], None]) -> GraphModel:
    """Return a model with weights from the seed of the run, and the fitted baselines."""
    hypers = options.architecture.training
    atomic_types = data.train.types
    names = [target.name for target in data.targets]
    unknown = [name for name in hypers.atomic_baseline if name not in names]
    if unknown:
        called = (
            f"the target is called '{names[0]}'"
            if len(names) == 1
            else f"the targets are called {', '.join(names)}"
        )
        raise UserError(
            f"there is a baseline for '{unknown[0]}', but {called}",
            where="architecture.training.atomic_baseline",
            hint=f"name the target first, as in {{{names[0]}: {{H: -13.6, C: -1029.0}}}}",
        )
    architecture = architecture_registry.get(options.architecture.name)
    for target in data.targets:
        reason = architecture.refuses(options.architecture.model, target)
        if reason is not None:
            raise UserError(
                f"{architecture.name} cannot learn '{target.name}': {reason}",
                where="architecture.model",
                hint="change the target or the model, or take pet",
            )
    length_unit = options.training_set[0].systems.length_unit
    core = new_core(
        architecture, options.architecture.model, atomic_types, data.targets, options.seeds
    )
    zbl = getattr(options.architecture.model, "zbl", False)
    potential = GraphModel(core, atomic_types, data.targets, length_unit, zbl)
    potential.set_precision(checkpoints.precision_dtype(options.base_precision))
    learned = without_repulsion(data.train, potential)
    baselines = {
        target.name: fit_baseline(
            learned,
            target,
            atomic_types,
            _fixed_baseline(hypers.atomic_baseline.get(target.name), data, target),
            hypers.scale_targets,
            1.0 / (in_angstrom(length_unit) or 1.0),
        )
        for target in data.targets
    }
    for target in data.targets:
        fitted = baselines[target.name]
        baseline = potential.baseline(target.name)
        baseline.composition.copy_(torch.from_numpy(fitted.composition))
        baseline.scale.fill_(fitted.scale)
        say(_baseline_line(target, atomic_types, fitted, alone=len(names) == 1))
    return potential


def _left_out(problem: Problem) -> Iterator[str]:
    """Yield what is said of structures that batches by the number of atoms leave out, or have alone."""
    most, fewest = problem.hypers.max_atoms_per_batch, problem.hypers.min_atoms_per_batch
    if problem.packed is None or most is None:
        return
    too_large, too_few = problem.packed.too_large, problem.packed.too_few
    total = f"of {len(problem.train)} training structures"
    if len(too_large):
        largest = problem.train.n_atoms.max()
        yield (
            f"left out: {len(too_large)} {total}, with up to {largest} atoms, more than "
            f"max_atoms_per_batch: {most}"
        )
    if len(too_few):
        yield (
            f"left out: {len(too_few)} {total}, in batches with fewer atoms than "
            f"min_atoms_per_batch: {fewest}"
        )
    alone = sum(int(number) > most for number in problem.validation.n_atoms)
    if alone:
        yield (
            f"validation structures with more atoms than max_atoms_per_batch, each a batch of its own: "
            f"{alone}"
        )


def _ensemble_line(weights: torch.Tensor, problem: Problem) -> str:
    options = problem.hypers.uncertainty
    assert options is not None
    rest = "nothing else" if options.ensemble_alone else "all else"
    return (
        f"an ensemble of {weights.shape[0]} last layers with {weights.shape[1]} weights each is trained "
        f"by {options.ensemble_loss}, and {rest}"
    )


def _check_features(options: Options, data: RunData, potential: GraphModel) -> None:
    """Refuse uncertainties that nothing tells, or that nothing calibrates."""
    asked = options.architecture.training.uncertainty is not None
    ensemble = isinstance(potential.core, Ensemble)
    if asked and ensemble:
        raise UserError(
            "the base is an ensemble, which has its own uncertainty",
            where="architecture.training.uncertainty",
            hint="leave it out: the members are then fine-tuned together",
        )
    if asked or ensemble:
        taken = clashes(data.targets)
        if taken:
            raise UserError(
                f"two outputs of the model would be called '{taken[0]}'",
                where="training_set.targets",
                hint="rename a target, as uncertainties and ensembles have names made of those of targets",
            )
        for target in filter(has_uncertainty, data.targets if data.validation else ()):
            known = (structure.references.get(target.name) for structure in data.validation)
            if all(own is None or np.isnan(own.values).all() for own in known):
                raise UserError(
                    f"the validation set has no values of '{target.name}': nothing tells how large "
                    "its uncertainties are",
                    where="validation_set",
                    hint="choose structures that have values",
                )
    if asked and not potential.core.has_features:
        raise UserError(
            f"{options.architecture.name} has no features of a last layer to make uncertainties of",
            where="architecture.training.uncertainty",
            hint="leave it out, or train an ensemble by a list of seeds, as in seed: [1, 2, 3]",
        )


def _fixed_baseline(asked: BaselineOption | None, data: RunData, target: Target) -> Fixed:
    if asked not in (None, 0.0) and not all(target.invariant):
        raise UserError(
            f"'{target.name}' turns with the structure, and has no baseline",
            where="architecture.training.atomic_baseline",
            hint=f"leave '{target.name}' out of it",
        )
    if target.shift:
        # A number at a point of the grid belongs to another point of every structure.
        return 0.0
    if asked != ISOLATED:
        return asked
    if target.numbers > 1:
        raise UserError(
            f"'{target.name}' has {target.numbers} numbers, and `isolated` is for targets with one",
            where="architecture.training.atomic_baseline",
            hint="leave it out: the baseline is then fitted to the training set",
        )
    # In whichever set the frames are: single atoms tell nothing about errors.
    return isolated_atoms([*data.train, *data.validation, *data.test], target, data.train.types)


def _baseline_line(
    target: Target, atomic_types: Sequence[int], baseline: Baseline, alone: bool
) -> str:
    """Return what is said of a baseline; it names the target where there are several."""
    numbers = zip(atomic_types, baseline.composition[:, 0], strict=True)
    listed = ", ".join(f"{symbol_of(kind)}: {value:.6g}" for kind, value in numbers)
    of = "" if alone else f" of {target.name}"
    unit = f" {target.unit}" if target.unit else ""
    if not any(target.invariant):
        return (
            f"scale{of} {baseline.scale:.6g}{unit}; what turns with the structure has no baseline"
        )
    if target.shift:
        return f"scale{of} {baseline.scale:.6g}{unit}; what is known up to a shift has no baseline"
    return (
        f"baseline{of} in{unit or ' its unit'} per atom: {listed}; scale {baseline.scale:.6g}{unit}"
    )


def _problem(
    options: Options,
    data: RunData,
    potential: GraphModel,
    device: torch.device,
    communicator: Communicator,
) -> Problem:
    """Return neighbor lists and references in training units, made once."""
    baselines = {}
    for target in potential.targets:
        baseline = potential.baseline(target.name)
        composition = baseline.composition.cpu().numpy()
        baselines[target.name] = Baseline(composition, float(baseline.scale))

    def dataset(structures: Sequence[Structure]) -> Dataset:
        types = potential.atomic_types
        learned = without_repulsion(structures, potential)
        converted = in_training_units(learned, potential.targets, types, baselines)
        return Dataset(converted, types, potential.cutoff, potential.targets)

    return Problem(
        train=dataset(data.train),
        validation=dataset(data.validation),
        hypers=options.architecture.training,
        seed=options.seeds[0],
        dtype=checkpoints.precision_dtype(options.base_precision),
        device=device,
        communicator=communicator,
    )


def _fixed_header(
    options: Options,
    data: RunData,
    potential: GraphModel,
    problem: Problem,
    origin: Origin | None,
) -> Header:
    """Return what a checkpoint says that does not change while training."""
    architecture = architecture_registry.get(options.architecture.name)
    described = {target.name: target for target in data.targets}
    return Header(
        architecture=ArchitectureRecord(
            architecture.name,
            architecture.version,
            options.architecture.model.model_dump(mode="json"),
        ),
        atomic_types=potential.atomic_types,
        length_unit=potential.length_unit,
        # In the order of the heads, whatever that of the options is now.
        targets=[described[name] for name in potential.target_names],
        precision=options.base_precision,
        options=options.to_dict(),
        options_hash=options_hash(options),
        split=data.split,
        data_hash=data.data_hash,
        data_size=data.sizes,
        num_steps=problem.num_steps,
        packages=checkpoints.package_versions(architecture.name),
        plugin=(architecture_registry.package_of(architecture.name) or ("",))[0],
        image_digest=os.environ.get("MTT_IMAGE_DIGEST"),
        origin=origin,
        seeds=potential.core.seeds if isinstance(potential.core, Ensemble) else [],
    )


def _check_tensors(train_set: Sequence[Structure]) -> dict[str, torch.Tensor]:
    from mtt.data.structure_tensors import structure_tensors

    tensors: dict[str, torch.Tensor] = {}
    for index, structure in enumerate(check_structures(train_set)):
        tensors |= structure_tensors(f"check/{index}", structure)
    return tensors
