"""Predictions of all targets of a model for many structures, from a checkpoint or an exported model."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from mtt import checkpoint
from mtt.architectures.evaluate import Values
from mtt.checkpoint import Header
from mtt.data.batch import collate
from mtt.data.dataset import Dataset
from mtt.data.derived_targets import ensemble_of, is_derived, is_wide, uncertainty_of
from mtt.data.neighbors import check_apart
from mtt.data.states import check_states
from mtt.data.structure import Structure
from mtt.data.target import Target
from mtt.device import choose_device
from mtt.errors import UserError
from mtt.evaluation.cost import Cost, Stopwatch
from mtt.files import reading
from mtt.filetypes import recognize
from mtt.verify.predictions import NO_EXCEPTIONS, Exceptions, ModelFailed

_log = logging.getLogger(__name__)
_MAX_ATOMS, _MAX_STRUCTURES = 1000, 32
# A structure that is only evaluated may be far larger than one that is trained on.
_MAX_PAIRS = 100_000_000


@dataclass(frozen=True)
class TargetPrediction:
    """What a model predicts of one target for one structure of N atoms.

    - ``values`` float64, in the target's unit: (P,) of a target per system, (N, P) of one per atom;
    - ``forces`` (N, 3) float64, in energy/length; None unless the target is an energy;
    - ``stress`` (3, 3) float64, in energy/length^3; None unless the target is an energy and the
      structure is periodic along all three axes.
    """

    values: NDArray[np.float64]
    forces: NDArray[np.float64] | None = None
    stress: NDArray[np.float64] | None = None


class Model(Protocol):
    """What can be evaluated: a checkpoint or an exported model.

    - ``targets``: what it predicts; ``described`` is False if that is a guess from their names;
    - ``length_unit``: empty if it is not known;
    - ``baselines``: what it adds for an atom of each type, by target; empty if it does not say;
    - ``conditioned``: whether it depends on the charge and spin of structures;
    - ``states``: the charges and spin multiplicities that it knows, if it says so;
    - ``own_process``: whether it runs in a process beside this one.
    """

    kind: str
    targets: list[Target]
    described: bool
    length_unit: str
    atomic_types: list[int]
    baselines: dict[str, dict[int, float]]
    conditioned: bool
    states: tuple[list[int], list[int]] | None
    device: torch.device
    own_process: bool

    def evaluate(
        self, structures: Sequence[Structure], targets: Sequence[Target]
    ) -> Mapping[str, Values]:
        """Return values of targets for all structures at once."""
        ...

    def close(self) -> None:
        """End what runs beside this process."""
        ...


class Predictor:
    """A loaded model, asked for many structures in groups that fit into memory."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.kind = model.kind
        self.targets = [target for target in model.targets if not is_derived(target)]
        self.derived = {target.name: target for target in model.targets if is_derived(target)}
        self.described = model.described
        self.length_unit = model.length_unit
        self.atomic_types = model.atomic_types
        self.baselines = model.baselines
        self.conditioned = model.conditioned
        self.states = model.states
        self.stopwatch = Stopwatch()

    def with_uncertainties(self, targets: Sequence[Target]) -> list[Target]:
        """Return targets, and the uncertainties and ensembles that the model gives of them.

        Without ensembles of very many members, whose spread is the uncertainty anyway.
        """
        names = [
            derived.name
            for target in targets
            for derived in (uncertainty_of(target), ensemble_of(target, 1))
        ]
        derived = [self.derived[name] for name in names if name in self.derived]
        for ensemble in filter(is_wide, derived):
            _log.info(
                "%s: its %d members are left out, as their spread is the uncertainty but for 1 %%",
                ensemble.name,
                ensemble.properties,
            )
        return [*targets, *(target for target in derived if not is_wide(target))]

    def check_states(self, structures: Sequence[Structure]) -> None:
        """Refuse charges and spins that the model does not know; raises UserError."""
        if self.states is not None or not self.conditioned:
            check_states(structures, self.states)

    def close(self) -> Cost:
        """End the model, and return what the predictions so far have cost."""
        self._model.close()
        threads = torch.get_num_threads()  # a process of its own has as many
        return self.stopwatch.cost(self._model.device, threads, self._model.own_process)

    def predict(
        self, structures: Sequence[Structure], targets: Sequence[Target] | None = None
    ) -> Iterator[dict[str, TargetPrediction]]:
        """Give the predictions of each structure, in order, by the name of the target.

        :param targets: all of the model, their uncertainties and ensembles, if None
        :raises UserError: an atomic type that the model does not know, or two atoms in one place
        """
        chosen = self.with_uncertainties(self.targets) if targets is None else targets
        for chunk in _chunks(structures):
            for structure in chunk:
                # The lists of pairs of a model file are made where nobody looks at them.
                check_apart(structure)
            started = time.perf_counter()
            try:
                values = self._model.evaluate(chunk, chosen)
                # On its way to this process, it waits for a GPU.
                parts = [list(_split(chunk, values[target.name], target)) for target in chosen]
            except ModelFailed as error:
                raise UserError(
                    f"the model fails for these structures: {error}",
                    where=chunk[0].source
                    if len(chunk) == 1
                    else f"{chunk[0].source} and those after it",
                    hint="'mtt verify' says more about a model that fails",
                ) from error
            atoms = sum(len(structure) for structure in chunk)
            self.stopwatch.calls.append((atoms, time.perf_counter() - started))
            for predictions in zip(*parts, strict=True):
                yield {
                    target.name: prediction
                    for target, prediction in zip(chosen, predictions, strict=True)
                }


class CheckpointModel:
    """A checkpoint with the weights of its best epoch, evaluated in the checkpoint's precision."""

    kind = "checkpoint"
    described = True
    own_process = False

    def __init__(
        self, header: Header, tensors: dict[str, torch.Tensor], device: torch.device
    ) -> None:
        self.dtype = checkpoint.precision_dtype(header.precision)
        self.device = device
        self._potential = checkpoint.load_model(header, tensors, weights="best")
        self._potential.set_precision(self.dtype).to(device).eval()
        # The model gives forces of every energy, also of one that was trained without them.
        self.targets = [target.with_all_gradients() for target in self._potential.outputs]
        self.length_unit = self._potential.length_unit
        self.atomic_types = self._potential.atomic_types
        self.baselines = {
            target.name: dict(zip(self.atomic_types, composition[:, 0].tolist(), strict=True))
            for target in self._potential.targets
            if (composition := self._potential.baseline(target.name).composition).shape[1] == 1
        }
        self.states = self._potential.known_states()
        self.conditioned = self.states is not None

    def close(self) -> None:
        """Do nothing: it runs in this process."""

    def evaluate(
        self, structures: Sequence[Structure], targets: Sequence[Target]
    ) -> Mapping[str, Values]:
        """Return values, forces and strain derivatives of targets, in float64."""
        data = Dataset(
            structures, self.atomic_types, self._potential.cutoff, (), max_pairs=_MAX_PAIRS
        )
        batch = collate(data, range(len(structures)), self.dtype, self.device)
        plain = [target for target in targets if not is_derived(target)]
        values = self._potential.evaluate(batch.graph, plain, volumes=batch.volumes)
        if len(plain) < len(targets):
            values |= self._potential.evaluate_derived(batch.graph)
        return values


def open_model(
    path: Path,
    device: str = "auto",
    exceptions: Exceptions = NO_EXCEPTIONS,
    extensions: Path | None = None,
) -> Predictor:
    """Load a checkpoint or an exported model; which of them it is, its first bytes say.

    :param device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``
    :param exceptions: what a model file may do beyond what any may
    :param extensions: folder of the compiled extensions that a model file needs
    :raises UserError: if the file is missing or neither of the two, or the device is not there
    """
    packed = recognize.container(path)
    with reading(path):
        kind = recognize.describe(path)
    if packed == "zip" and kind.kind in ("model", "zip-damaged"):
        from mtt.export.exported_model import ExportedModel

        if device not in ("auto", "cpu"):
            raise UserError(
                f"a model file is evaluated on the CPU, in a sandbox that has no '{device}'",
                where=str(path),
                hint="evaluate the checkpoint that it was exported from",
            )
        return Predictor(ExportedModel(path, extensions, exceptions=exceptions))
    if packed == "safetensors":
        if extensions is not None:
            raise UserError("extensions belong to a model file, and this is none", where=str(path))
        return Predictor(CheckpointModel(*checkpoint.read(path), choose_device(device)))
    raise kind.refusal(
        path,
        "an exported model (.pt) or a checkpoint (.ckpt) of mtt",
        give="give the model.pt or model.ckpt that a training run wrote",
    )


def _split(
    structures: Sequence[Structure], values: Values, target: Target
) -> Iterator[TargetPrediction]:
    """Give the part of each structure."""
    ends = np.cumsum([len(structure) for structure in structures])[:-1]
    rows = values.atoms if target.per == "atom" else values.systems
    assert rows is not None
    parts = np.split(_array(rows), ends) if target.per == "atom" else list(_array(rows))
    forces = None if values.forces is None else np.split(_array(values.forces), ends)
    strain = None if values.strain is None else _array(values.strain)
    for index, structure in enumerate(structures):
        stress = None
        if target.per_volume and structure.volume == 0.0:
            parts[index] = np.full_like(parts[index], np.nan)
        if strain is not None and structure.volume > 0.0:
            stress = strain[index] / structure.volume
            stress = 0.5 * (stress + stress.T)
        yield TargetPrediction(parts[index], None if forces is None else forces[index], stress)


def _array(tensor: torch.Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = tensor.detach().double().cpu().numpy()
    return array


def _chunks(structures: Sequence[Structure]) -> Iterator[list[Structure]]:
    chunk: list[Structure] = []
    atoms = 0
    for structure in structures:
        if chunk and (atoms + len(structure) > _MAX_ATOMS or len(chunk) == _MAX_STRUCTURES):
            yield chunk
            chunk, atoms = [], 0
        chunk.append(structure)
        atoms += len(structure)
    if chunk:
        yield chunk
