"""Everything that changes while a model is trained, and the only thing a resume restores.

All randomness is a function of (seed, purpose, epoch, sample) and the learning rate of the step, so
there is no generator and no scheduler here. Every field says how it is saved, and nothing but a
field can be set on a :class:`State`: a new kind of state cannot be forgotten in checkpoints.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch

from mtt.architectures.graph_model import GraphModel
from mtt.checkpoint import Best, Header, Position
from mtt.data.derived_targets import UncertaintyRecord
from mtt.training.loss import new_table

Tensors = dict[str, torch.Tensor]

# How a field is saved: as tensors NAME/..., if it is a module, an optimizer, a tensor or a
# dictionary of tensors; or as the entry NAME of the header.
TENSORS, HEADER = "tensors", "header"
# Tensors of a checkpoint that do not change while a model is trained.
_FIXED = ("check", "data")
# What Adam and AdamW keep for each weight.
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def _no_sums() -> torch.Tensor:
    return new_table(0)  # until the state knows for how many targets


@dataclass(slots=True)
class State:
    """Model, optimizer and progress of a run.

    - ``model``: the potential with its current weights;
    - ``best``: state dict of the best epoch's model, empty before the first validation;
    - ``train_sums`` [targets, 5, 4] float64: errors summed over the batches done in this epoch
      (:meth:`Loss.add`);
    - ``history``: one row per finished epoch, as in the metrics file;
    - ``ensemble``: weights [K, F] of the ensembles of last layers that are trained, in the order of the
      targets that have one; ``best_ensemble`` by their numbers, those of the best epoch;
    - ``uncertainties``: of the best weights, and ``uncertainty_tensors`` TARGET/rigidity and
      TARGET/weights of each; empty before all epochs are done.
    """

    model: GraphModel = field(metadata={TENSORS: "model"})
    optimizer: torch.optim.Optimizer = field(metadata={TENSORS: "optimizer"})
    ensemble: torch.nn.ParameterList = field(
        metadata={TENSORS: "ensemble"}, default_factory=torch.nn.ParameterList
    )
    best: Tensors = field(metadata={TENSORS: "best"}, default_factory=dict)
    best_ensemble: Tensors = field(metadata={TENSORS: "best_ensemble"}, default_factory=dict)
    train_sums: torch.Tensor = field(metadata={TENSORS: "train_sums"}, default_factory=_no_sums)
    position: Position = field(metadata={HEADER: "position"}, default_factory=Position)
    history: list[dict[str, float]] = field(metadata={HEADER: "history"}, default_factory=list)
    best_epoch: Best = field(metadata={HEADER: "best"}, default_factory=Best)
    uncertainties: list[UncertaintyRecord] = field(
        metadata={HEADER: "uncertainties"}, default_factory=list
    )
    uncertainty_tensors: Tensors = field(metadata={TENSORS: "uncertainty"}, default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.train_sums) == 0:
            self.train_sums = new_table(len(self.model.targets))

    def trained(self) -> dict[str, torch.nn.Parameter]:
        """Return all weights, by the names that the state of the optimizer has in a checkpoint."""
        own = {f"ensemble.{name}": weight for name, weight in self.ensemble.named_parameters()}
        return {**dict(self.model.named_parameters()), **own}

    def to_checkpoint(self) -> tuple[dict[str, Any], Tensors]:
        """Return entries of a header by name, and tensors, which may share memory with the live ones."""
        header: dict[str, Any] = {}
        tensors: Tensors = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if HEADER in entry.metadata:
                header[entry.metadata[HEADER]] = copy.deepcopy(value)
                continue
            prefix = entry.metadata[TENSORS]
            for key, tensor in _tensors_of(value, self.trained()).items():
                tensors[f"{prefix}/{key}" if key else prefix] = tensor.detach()
        return header, tensors

    def from_checkpoint(self, header: Header, tensors: Tensors) -> None:
        """Restore, in place, what :meth:`to_checkpoint` gave.

        The model and optimizer must have been built from the same hypers; raises KeyError or
        RuntimeError if the checkpoint lacks something, has other shapes, or has a kind of state
        that is not known here.
        """
        left = {name for name in tensors if name.partition("/")[0] not in _FIXED}
        for entry in fields(self):
            current = getattr(self, entry.name)
            if HEADER in entry.metadata:
                setattr(self, entry.name, copy.deepcopy(getattr(header, entry.metadata[HEADER])))
                continue
            prefix = entry.metadata[TENSORS]
            saved = {
                key.removeprefix(prefix).removeprefix("/"): tensor
                for key, tensor in tensors.items()
                if key == prefix or key.startswith(f"{prefix}/")
            }
            left -= {f"{prefix}/{key}" if key else prefix for key in saved}
            _restore(self, entry.name, current, saved)
        if left:
            raise KeyError(f"nothing here knows the tensor '{min(left)}'")


def _tensors_of(value: Any, weights: Mapping[str, torch.nn.Parameter]) -> Tensors:
    if isinstance(value, torch.nn.Module):
        return dict(value.state_dict())
    if isinstance(value, torch.optim.Optimizer):
        return _optimizer_tensors(value, weights)
    if isinstance(value, torch.Tensor):
        return {"": value}
    return dict(value)


def _restore(state: State, name: str, current: Any, saved: Tensors) -> None:
    device = state.train_sums.device
    if isinstance(current, torch.nn.Module):
        current.load_state_dict(saved)
    elif isinstance(current, torch.optim.Optimizer):
        _load_optimizer(current, state.trained(), saved)
    elif isinstance(current, torch.Tensor):
        if saved[""].shape != current.shape:
            raise RuntimeError(f"'{name}' has the shape {list(saved[''].shape)}")
        current.copy_(saved[""])
    else:
        setattr(state, name, {key: tensor.clone().to(device) for key, tensor in saved.items()})


def _optimizer_tensors(
    optimizer: torch.optim.Optimizer, weights: Mapping[str, torch.nn.Parameter]
) -> Tensors:
    """``PARAMETER/exp_avg`` and so on; what is the same for all parameters (``step``) only once."""
    tensors: Tensors = {}
    for name, parameter in weights.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{name}/{key}"] = value
    steps = [tensor for key, tensor in tensors.items() if key.endswith("/step")]
    if steps and len({float(step) for step in steps}) == 1:
        tensors = {key: tensor for key, tensor in tensors.items() if not key.endswith("/step")}
        tensors["step"] = steps[0]
    return tensors


def _load_optimizer(
    optimizer: torch.optim.Optimizer, weights: Mapping[str, torch.nn.Parameter], saved: Tensors
) -> None:
    shared = {"step"} & saved.keys()
    known = {f"{name}/{kind}" for name in weights for kind in _MOMENTS} | shared
    unknown = saved.keys() - known
    if unknown:
        raise KeyError(f"no weight has the optimizer state '{min(unknown)}'")
    for name, parameter in weights.items():
        own = {
            key.rpartition("/")[2]: tensor.clone()
            for key, tensor in saved.items()
            if key.rpartition("/")[0] == name
        }
        if own and "step" in saved:
            own["step"] = saved["step"].clone()
        for key, tensor in own.items():
            if tensor.shape != (() if key == "step" else parameter.shape):
                raise RuntimeError(f"'{name}/{key}' has the shape {list(tensor.shape)}")
            # Adam wants its step where its kernels are, and everything else beside the weights.
            if key != "step" or optimizer.defaults.get("fused"):
                own[key] = tensor.to(parameter.device)
        if own:
            optimizer.state[parameter] = own
