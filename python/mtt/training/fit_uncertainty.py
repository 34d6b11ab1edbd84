"""The uncertainties of the best weights, once all epochs are done: fitted, then calibrated.

What a target's features say is fitted to the training set (:mod:`mtt.architectures.uncertainty`), and
multiplied by one number, with which squared errors and squared uncertainties have the same mean over
the validation set. The mean of their ratio would be the most likely number if errors were normal, but
two or three members agree by chance, and such structures would decide it alone. Errors are those that
training counts, per atom for values of systems.
"""

import copy
import math
from collections.abc import Iterator

import torch

from mtt.architectures.ensemble import Ensemble
from mtt.architectures.interface import features_of
from mtt.architectures.potential import Potential
from mtt.data.batch import batches
from mtt.data.dataset import Dataset
from mtt.data.derived_targets import Method, UncertaintyRecord
from mtt.data.random import generator
from mtt.data.target import Target
from mtt.training.loop import Problem
from mtt.training.state import State

# Added to the diagonal of the covariance of features, in units of its mean: features that the training
# set never has leave the uncertainty finite. The square of the noise of float32 is far below.
_REGULARIZER = 1e-6


def has_uncertainty(target: Target) -> bool:
    """Return whether a target is one for which uncertainties are made."""
    return target.type == "scalar" and target.properties == 1


def fit(state: State, problem: Problem) -> None:
    """Give ``state`` the uncertainties of its best weights, if the run is to have any."""
    state.uncertainties, state.uncertainty_tensors = [], {}
    options = problem.hypers.uncertainty
    ensemble = isinstance(state.model.core, Ensemble)
    if options is None and not ensemble:
        return
    model = copy.deepcopy(state.model)
    if state.best:
        model.load_state_dict(state.best)
    model.eval()
    for target in filter(has_uncertainty, model.targets):
        members = torch.zeros((0, 0))
        if isinstance(model.core, Ensemble):
            n_members = len(model.core.members)
            rigidity = torch.eye(n_members, dtype=torch.float64) / math.sqrt(n_members - 1)
            members = torch.eye(n_members, dtype=torch.float64)
        else:
            assert options is not None
            rigidity = _rigidity(model, target, problem, options.regularizer or _REGULARIZER)
        rigidity = rigidity.to(problem.device)
        multiplier = _calibrated(model, target, problem, rigidity)
        scale = float(model.baseline(target.name).scale)
        rigidity = multiplier * scale * rigidity.cpu()
        if options is not None:
            members = _draws(rigidity, options.num_ensemble_members, problem.seed, target)
        else:
            members = scale * members
        method: Method = "llpr" if options is not None else "ensemble"
        state.uncertainties.append(UncertaintyRecord(target.name, method, len(members), multiplier))
        state.uncertainty_tensors[f"{target.name}/rigidity"] = rigidity.contiguous()
        state.uncertainty_tensors[f"{target.name}/weights"] = members.contiguous()


def _rigidity(
    model: Potential, target: Target, problem: Problem, regularizer: float
) -> torch.Tensor:
    """Return the inverse of the Cholesky factor of the covariance of features, [F, F] float64."""
    covariance: torch.Tensor | None = None
    for features, _ in _features(model, target, problem, problem.train):
        if covariance is None:
            covariance = features.new_zeros((features.shape[1], features.shape[1]))
        covariance += features.t() @ features
    assert covariance is not None
    covariance = problem.communicator.reduce(covariance).cpu()
    mean = float(covariance.diagonal().mean())
    identity = torch.eye(len(covariance), dtype=torch.float64)
    factor = torch.linalg.cholesky(covariance + (regularizer * mean or 1.0) * identity)
    inverse: torch.Tensor = torch.linalg.solve_triangular(factor, identity, upper=False)
    return inverse


def _calibrated(
    model: Potential, target: Target, problem: Problem, rigidity: torch.Tensor
) -> float:
    """Return the multiplier; 1 if the validation set has no values that tell."""
    sums = torch.zeros(2, dtype=torch.float64, device=problem.device)
    for features, errors in _features(model, target, problem, problem.validation):
        sums += torch.stack([errors.square().sum(), (features @ rigidity.t()).square().sum()])
    squares, variances = problem.communicator.reduce(sums).tolist()
    multiplier = math.sqrt(squares / variances) if variances > 0.0 else 0.0
    return multiplier if math.isfinite(multiplier) and multiplier > 0.0 else 1.0


def _draws(rigidity: torch.Tensor, number: int, seed: int, target: Target) -> torch.Tensor:
    """Return weights [K, F] of last layers as likely as the trained one, with this one as their mean."""
    if number == 0:
        return torch.zeros((0, rigidity.shape[1]), dtype=torch.float64)
    random = generator(seed, f"last layers of {target.name}")
    draws = torch.from_numpy(random.standard_normal((number, rigidity.shape[0])))
    draws = (draws - draws.mean(dim=0)) * math.sqrt(number / (number - 1))
    return draws @ rigidity


def _features(
    model: Potential, target: Target, problem: Problem, dataset: Dataset
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield features [M, F] per atom and errors [M], in training units, where there are references."""
    for batch in batches(
        dataset, range(len(dataset)), problem.batch_size, problem.dtype, problem.device
    ):
        with torch.no_grad():
            raw = model.core(batch.graph, [target.name, features_of(target.name)])
        values = raw[target.name].to(torch.float64)
        features = raw[features_of(target.name)].to(torch.float64)
        if target.per == "system":
            n_atoms = batch.n_atoms.to(torch.float64)[:, None]
            values, features = (
                part.new_zeros((batch.graph.n_systems, part.shape[1])).index_add(
                    0, batch.graph.system, part
                )
                / n_atoms
                for part in (values, features)
            )
        references = batch.references[target.name]
        errors = (values - references.values)[:, 0]
        there = references.mask[:, 0]
        yield features[there], errors[there]
