"""The training loop of all architectures.

Batches and rotations are functions of (seed, epoch), so that resuming from a checkpoint, in the
middle of an epoch too, needs nothing but the state. Each epoch goes through the training structures
in a new order; the last batch is left out if it would be smaller than the others. Batches by the number
of atoms are made once, as then each epoch has the same number of steps; only their order is new.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from mtt.architectures.ensemble import trained_cores
from mtt.architectures.kernels import kernels, pooled_memory, why_not
from mtt.checkpoint import Best
from mtt.data.batch import Batch, batches
from mtt.data.dataset import Dataset
from mtt.data.derived_targets import has_uncertainty
from mtt.data.grouping import Groups, Packed, by_number, in_order, pack
from mtt.data.random import generator, permutation, random_rotations
from mtt.data.target import GRADIENTS, Target
from mtt.errors import UserError
from mtt.options.schema.loss_parts import FIRST_EPOCH
from mtt.options.schema.training import TrainingHypers
from mtt.report.metrics import TRAIN, VALIDATION
from mtt.training.best_epoch import against_best, smoothed_metric
from mtt.training.communicator import Alone, Communicator
from mtt.training.loss import LastLayers, Loss, selected_metric
from mtt.training.optimizer import learning_rate
from mtt.training.state import State, Tensors

# Validation batches stay in memory between epochs up to this size.
_CACHE_BYTES = 512 * 2**20


class Interrupted(Exception):
    """Training was asked to stop; the state is that after the last finished step."""


class Observer(Protocol):
    """What the loop tells, and whom it asks whether to stop."""

    def stop_requested(self) -> bool: ...

    def step(self, loss: torch.Tensor, n_structures: int) -> None:
        """A step is done and in the state: it can be saved."""

    def epoch(self, row: dict[str, float]) -> None:
        """An epoch is done and in the state, with its row of the history."""


@dataclass
class Problem:
    """What is trained on: datasets with references in training units, and how.

    ``batch_size`` structures make a step, or all of them if there are fewer, unless the number of atoms
    decides. Both datasets have the targets of the model, in its order; that of validation may be empty.
    """

    train: Dataset
    validation: Dataset
    hypers: TrainingHypers
    seed: int
    dtype: torch.dtype
    device: torch.device
    communicator: Communicator = field(default_factory=Alone)

    @property
    def batch_size(self) -> int:
        return min(self.hypers.batch_size, len(self.train))

    @cached_property
    def packed(self) -> Packed | None:
        """Return the training structures divided by their atoms; None if a number makes a batch.

        :raises UserError: no batch is left
        """
        most, fewest = self.hypers.max_atoms_per_batch, self.hypers.min_atoms_per_batch
        if most is None:
            return None
        n_atoms = self.train.n_atoms
        packed = pack(n_atoms, most, fewest, generator(self.seed, "packing"))
        if not packed.groups:
            raise UserError(
                f"no training structures are left: a batch has {fewest} to {most} atoms, and the "
                f"structures have {n_atoms.min()} to {n_atoms.max()}",
                where="architecture.training.max_atoms_per_batch",
                hint="give a larger max_atoms_per_batch, or a smaller min_atoms_per_batch",
            )
        return packed

    @property
    def steps_per_epoch(self) -> int:
        packed = self.packed
        return len(self.train) // self.batch_size if packed is None else len(packed.groups)

    @property
    def step_size(self) -> str:
        """Return what makes a step, in words."""
        most = self.hypers.max_atoms_per_batch
        return f"{self.batch_size} structures" if most is None else f"at most {most} atoms"

    def in_order(self, dataset: Dataset) -> Groups:
        """Return all structures of a dataset, in their order, as groups of the size of a batch.

        Structures with more atoms than a batch has are alone.
        """
        return in_order(dataset.n_atoms, self.batch_size, self.hypers.max_atoms_per_batch)

    @property
    def num_steps(self) -> int:
        return self.hypers.num_epochs * self.steps_per_epoch

    @property
    def targets(self) -> list[Target]:
        """Return the targets, each with the gradients that any structure has."""
        described = []
        for target in self.train.targets:
            kinds = self.train.gradients(target.name) | self.validation.gradients(target.name)
            gradients = tuple(kind for kind in GRADIENTS if kind in kinds)
            described.append(replace(target, gradients=gradients))
        return described

    def loss(self, epoch: int = FIRST_EPOCH, ensemble: Sequence[torch.Tensor] = ()) -> Loss:
        """Return the loss of all targets, with the weights of an epoch, counted from 1.

        :param ensemble: of the state
        """
        return Loss(self.hypers.loss, self.targets, epoch, self._last_layers(ensemble))

    def _last_layers(self, ensemble: Sequence[torch.Tensor]) -> LastLayers | None:
        options = self.hypers.uncertainty
        if options is None or options.ensemble_loss is None or not ensemble:
            return None
        names = [target.name for target in filter(has_uncertainty, self.train.targets)]
        weights = dict(zip(names, ensemble, strict=True))
        return LastLayers(weights, options.ensemble_loss, options.ensemble_alone)

    def stops(self, observer: "Observer") -> bool:
        """Return whether all processes are to stop, which rank 0 decides."""
        return self.communicator.broadcast(observer.stop_requested())


def train(
    state: State,
    problem: Problem,
    observer: Observer,
    finished: Callable[[State, Problem], None] = lambda state, problem: None,
) -> None:
    """Train from wherever ``state`` is to the last epoch, changing it in place.

    :param finished: called when all epochs are done, before the observer learns of the last one
    :raises Interrupted: the observer asked to stop
    :raises UserError: the loss is no longer a finite number
    """
    validation = ValidationBatches(problem) if len(problem.validation) else None
    with reproducible(problem.device), pooled_memory(problem.device):
        while state.position.epoch < problem.hypers.num_epochs:
            # Made anew from the position alone: a resumed run has the same weights.
            loss = problem.loss(state.position.epoch + 1, list(state.ensemble))
            with kernels(problem.device, problem.dtype):
                _train_epoch(state, problem, loss, observer)
                table = None
                if validation is not None:
                    table = _validate(state, problem, loss, validation, observer)
            row = _finish_epoch(state, problem, loss, table)
            if state.position.epoch == problem.hypers.num_epochs:
                finished(state, problem)
            observer.epoch(row)
            if problem.stops(observer):
                raise Interrupted
        if problem.hypers.num_epochs == 0:
            loss = problem.loss()
            # Only uncertainties are a reason for no epochs, and they need a validation set.
            assert validation is not None
            table = _validate(state, problem, loss, validation, observer)
            _take_as_best(state, problem, loss, table)
            finished(state, problem)


def tell_weights(
    problem: Problem, epoch: int, say: Callable[[str], None], resumed: bool = False
) -> None:
    """Say the weights of a loss whose weights change, in the epochs in which they do.

    :param epoch: counted from 1, about to begin
    :param resumed: say them in any case
    """
    changes = problem.hypers.loss.first_epochs
    if len(changes) > 1 and (resumed or epoch in changes) and epoch <= problem.hypers.num_epochs:
        say(f"weights of the loss from epoch {epoch}: {problem.loss(epoch).weights()}")


def tell_missing_kernels(state: State, problem: Problem, say: Callable[[str], None]) -> None:
    """Say why a step takes longer than it could."""
    why = why_not(state.model.core, problem.device)
    if why:
        say(f"training without compiled kernels, which is slower: {why}")


@contextlib.contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """Same input, same bits: deterministic kernels; torch's generators as they were afterwards."""
    before = torch.get_deterministic_debug_mode()
    settings: Any = torch.utils.deterministic
    filling = settings.fill_uninitialized_memory
    # use_deterministic_algorithms would be the same, and would import torch's compiler, for 1.6 s.
    torch.set_deterministic_debug_mode("warn")
    # Only a help to find reads of uninitialized memory, and it costs time.
    settings.fill_uninitialized_memory = False
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        settings.fill_uninitialized_memory = filling
        torch.set_deterministic_debug_mode(before)


def epoch_groups(problem: Problem, epoch: int) -> Groups:
    """Return the training structures of each step of an epoch (counted from 0)."""
    random = generator(problem.seed, "shuffle", epoch)
    packed = problem.packed
    if packed is not None:
        return [packed.groups[index] for index in permutation(random, len(packed.groups))]
    order = permutation(random, len(problem.train))
    return by_number(order[: problem.steps_per_epoch * problem.batch_size], problem.batch_size)


def epoch_rotations(
    problem: Problem, epoch: int
) -> Callable[[int, Sequence[int]], NDArray[np.float64]] | None:
    """Return rotations, half of them with inversion, of an epoch: one for each training structure."""
    if not problem.hypers.rotational_augmentation:
        return None
    random = generator(problem.seed, "rotation", epoch)
    table = random_rotations(random, len(problem.train), inversion=True)
    return lambda number, indices: table[np.asarray(indices)]


def _train_epoch(state: State, problem: Problem, loss: Loss, observer: Observer) -> None:
    """The steps that are left of the current epoch."""
    position, optimizer, hypers = state.position, state.optimizer, problem.hypers
    # What was fitted to other weights says nothing of those that are trained now.
    state.uncertainties, state.uncertainty_tensors = [], {}
    alone = loss.ensemble is not None and loss.ensemble.alone
    members = trained_cores(state.model.core.train(not alone))
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    prepared = batches(
        problem.train,
        epoch_groups(problem, position.epoch),
        problem.dtype,
        problem.device,
        epoch_rotations(problem, position.epoch),
        hypers.num_workers,
        start=position.batch,
    )
    for batch in prepared:
        seed_step(problem, position.step)
        optimizer.zero_grad(set_to_none=True)
        total = batch.volumes.new_zeros(())
        for member in members:
            errors = loss.errors(member, batch, training=True)
            own = loss(errors, batch)
            if weights:
                own.backward()
            clipped = [*member.parameters(), *state.ensemble]
            torch.nn.utils.clip_grad_norm_(clipped, hypers.grad_clip_norm)
            loss.add(state.train_sums, errors, batch)
            total = total + own.detach() / len(members)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(position.step, problem.num_steps, hypers)
        optimizer.step()
        position.step += 1
        position.batch += 1
        observer.step(total, batch.graph.n_systems)
        if problem.stops(observer):
            raise Interrupted


def seed_step(problem: Problem, step: int) -> None:
    """Seed torch for one step, in case an architecture draws numbers in it (dropout)."""
    seed = int(generator(problem.seed, "step", step).bit_generator.random_raw()) >> 1
    # torch.manual_seed takes a millisecond, for devices that are not there.
    torch.default_generator.manual_seed(seed)
    if problem.device.type == "cuda":
        torch.cuda.manual_seed(seed)


class ValidationBatches:
    """Batches of the validation set: never rotated, so made once and kept if they are not large."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._kept: list[Batch] | None = None

    def __iter__(self) -> Iterator[Batch]:
        if self._kept is not None:
            yield from self._kept
            return
        problem = self._problem
        made: list[Batch] = []
        size = 0
        for batch in batches(
            problem.validation,
            problem.in_order(problem.validation),
            problem.dtype,
            problem.device,
            num_workers=problem.hypers.num_workers,
        ):
            size += _bytes(batch)
            if size <= _CACHE_BYTES:
                made.append(batch)
            yield batch
        if size <= _CACHE_BYTES:
            self._kept = made


def _bytes(batch: Batch) -> int:
    return sum(tensor.nbytes for tensor in batch.tensors())


def _validate(
    state: State, problem: Problem, loss: Loss, validation: ValidationBatches, observer: Observer
) -> torch.Tensor:
    """Return the sums of the errors on the validation set; nothing in the state changes."""
    core = state.model.core.eval()
    table = loss.new_table(state.train_sums.device)
    for batch in validation:
        loss.add(table, loss.errors(core, batch, training=False), batch)
        if problem.stops(observer):
            # All steps of the epoch are done: a resume begins with its validation.
            raise Interrupted
    return table


def _finish_epoch(
    state: State, problem: Problem, loss: Loss, validation: torch.Tensor | None
) -> dict[str, float]:
    """Bring the state to the end of the epoch, and return the epoch's row of the history.

    :param validation: sums of the errors on the validation set; None if there is no such set
    """
    position = state.position
    train_metrics = _metrics(state, problem, loss, state.train_sums)
    row: dict[str, float] = {
        "epoch": position.epoch + 1,
        "step": position.step,
        "learning_rate": learning_rate(position.step - 1, problem.num_steps, problem.hypers),
    }
    row |= {f"{TRAIN}{name}": value for name, value in train_metrics.items()}
    if validation is not None:
        metrics = _metrics(state, problem, loss, validation)
        row |= {f"{VALIDATION}{name}": value for name, value in metrics.items()}
    _check_finite(row)
    position.epoch += 1
    position.batch = 0
    state.train_sums.zero_()
    state.history.append(row)
    name = problem.hypers.best_model_metric
    if validation is not None:
        value, best = smoothed_metric(state.history, problem.hypers), state.best_epoch.value
    else:
        value, best = against_best(state, problem.hypers)
    if best is None or value < best:
        state.best = _weights(state)
        state.best_ensemble = {
            name: weights.detach().clone() for name, weights in state.ensemble.named_parameters()
        }
        state.best_epoch = Best(position.epoch, name, value)
    return row


def _metrics(state: State, problem: Problem, loss: Loss, sums: torch.Tensor) -> Mapping[str, float]:
    """Return the metrics of sums of errors, of all processes."""
    scales = {
        target.name: float(state.model.baseline(target.name).scale) for target in loss.targets
    }
    return loss.metrics(problem.communicator.reduce(sums), scales)


def _take_as_best(state: State, problem: Problem, loss: Loss, validation: torch.Tensor) -> None:
    """Make the weights of a run that trains nothing its best ones, by their errors on the validation set."""
    metrics = _metrics(state, problem, loss, validation)
    name = problem.hypers.best_model_metric
    state.best = _weights(state)
    state.best_epoch = Best(0, name, selected_metric(metrics, name))


def _weights(state: State) -> Tensors:
    return {name: tensor.detach().clone() for name, tensor in state.model.state_dict().items()}


def _check_finite(row: dict[str, float]) -> None:
    wrong = [name for name, value in row.items() if not math.isfinite(value)]
    if wrong:
        raise UserError(
            f"training has diverged: {wrong[0]} is no longer a finite number",
            where=f"epoch {int(row['epoch'])}",
            hint="lower architecture.training.learning_rate, or look for structures with extreme "
            "energies or forces; checkpoints of earlier epochs are whole",
        )
