"""The uncertainties of the best weights, once all epochs are done: fitted, then calibrated.

What a target's features say is fitted to the training set (:mod:`mtt.architectures.uncertainty`), and
multiplied by one number, with which squared errors and squared uncertainties have the same mean over
the validation set. The mean of their ratio would be the most likely number if errors were normal, but
two or three members agree by chance, and such structures would decide it alone. Errors are those that
training counts, per atom for values of systems.

Uncertainties of atoms of such a target are of another kind: what atoms of the training set look like, one
by one, multiplied so that errors of this size, if they were independent, would add up to those of systems.

An ensemble of last layers is drawn from what is fitted, at the end or, if it is trained, at the beginning.
"""

import copy
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch

from mtt.architectures.ensemble import Ensemble
from mtt.architectures.evaluate import summed
from mtt.architectures.graph_model import GraphModel
from mtt.architectures.interface import features_of
from mtt.data.batch import batches
from mtt.data.dataset import Dataset
from mtt.data.derived_targets import MATRICES, Method, UncertaintyRecord, has_uncertainty
from mtt.data.random import generator
from mtt.data.target import Target
from mtt.options.schema.training import USUAL_MEMBERS
from mtt.report.wording import size
from mtt.training.loop import Problem, reproducible
from mtt.training.state import State

# Added to the diagonal of the covariance of features, in units of its mean: features that the training
# set never has leave the uncertainty finite. The square of the noise of float32 is far below.
_REGULARIZER = 1e-6


class _Rows(NamedTuple):
    """What of a batch has references, in training units.

    - ``atoms`` [N, F]: features of atoms;
    - ``features`` [M, F]: of the values: those of atoms, or their mean over a system;
    - ``errors`` [M]: of the values, per atom for those of systems;
    - ``owner`` [N]: the value that an atom belongs to; ``counts`` [M]: the atoms of each value.
    """

    atoms: torch.Tensor
    features: torch.Tensor
    errors: torch.Tensor
    owner: torch.Tensor
    counts: torch.Tensor


class _Matrices(NamedTuple):
    """Matrices of values and of atoms before calibration, and the weights of members, by features."""

    values: torch.Tensor
    atoms: torch.Tensor
    members: torch.Tensor


def fit(state: State, problem: Problem) -> None:
    """Give ``state`` the uncertainties of its best weights, if the run is to have any."""
    state.uncertainties, state.uncertainty_tensors = [], {}
    options = problem.hypers.uncertainty
    if options is None and not isinstance(state.model.core, Ensemble):
        return
    model = copy.deepcopy(state.model)
    if state.best:
        model.load_state_dict(state.best)
    model.eval()
    trained = _trained(state)
    for target in filter(has_uncertainty, model.targets):
        method: Method = "ensemble" if options is None else "llpr"
        if options is None:
            found = _of_spread(model, target, problem)
        else:
            found = _of_last_layer(model, target, problem, options.regularizer or _REGULARIZER)
        multipliers = _calibrated(model, target, problem, found)
        scale = float(model.baseline(target.name).scale)
        values = multipliers[0] * scale * found.values
        members = scale * found.members
        if trained is not None:
            members = scale * trained[target.name]
        elif options is not None:
            members = _draws(values, options.num_ensemble_members, problem.seed, target)
        record = UncertaintyRecord(target.name, method, len(members), multipliers[0])
        state.uncertainties.append(record)
        atoms = multipliers[1] * scale * found.atoms
        for kind, tensor in zip(MATRICES, (values, atoms, members), strict=True):
            state.uncertainty_tensors[f"{target.name}/{kind}"] = tensor.contiguous()


def begin_ensemble(
    potential: GraphModel, problem: Problem, tensors: dict[str, torch.Tensor]
) -> torch.nn.ParameterList:
    """Return the ensemble of last layers that is trained, and freeze what is not.

    :param tensors: of the run that is resumed, whose shapes it gets; none where it is drawn
    :raises KeyError, RuntimeError: tensors are missing, or have other shapes
    """
    options = problem.hypers.uncertainty
    if options is None or options.ensemble_loss is None:
        return torch.nn.ParameterList()
    if options.ensemble_alone:
        potential.requires_grad_(False)
    with reproducible(problem.device):
        if not tensors:
            return torch.nn.ParameterList(_first_ensemble(potential, problem))
        sizes = _numbers_of_features(potential, problem)
    weights = []
    for number, features in enumerate(sizes):
        shape = (options.num_ensemble_members, features)
        for name in (f"ensemble/{number}", f"best_ensemble/{number}"):
            if name in tensors and tensors[name].shape != shape:
                raise RuntimeError(f"'{name}' has the shape {list(tensors[name].shape)}")
        weights.append(tensors[f"ensemble/{number}"].to(problem.device, problem.dtype))
    return torch.nn.ParameterList(weights)


def _first_ensemble(model: GraphModel, problem: Problem) -> list[torch.Tensor]:
    """Return weights [K, F] of last layers to begin with, for each target that has an uncertainty.

    They add to raw values, with a mean of zero, and are in the precision and on the device of the run.
    """
    options = problem.hypers.uncertainty
    assert options is not None
    ensemble = []
    model.eval()
    for target in filter(has_uncertainty, model.targets):
        found = _of_last_layer(model, target, problem, options.regularizer or _REGULARIZER)
        multiplier, _ = _calibrated(model, target, problem, found)
        draws = _draws(
            multiplier * found.values, options.num_ensemble_members, problem.seed, target
        )
        ensemble.append(draws.to(problem.device, problem.dtype))
    return ensemble


def _numbers_of_features(model: GraphModel, problem: Problem) -> list[int]:
    """Return how many features each target with an uncertainty has."""
    return [
        next(_rows(model, target, problem, problem.validation)).features.shape[1]
        for target in filter(has_uncertainty, model.targets)
    ]


def costs(model: GraphModel, problem: Problem) -> Iterator[str]:
    """Yield what more members of an ensemble than usual cost in the export, for each target."""
    options = problem.hypers.uncertainty
    if options is None or options.num_ensemble_members <= USUAL_MEMBERS:
        return
    number = options.num_ensemble_members
    model.eval()
    with reproducible(problem.device):
        sizes = _numbers_of_features(model, problem)
    for target, features in zip(filter(has_uncertainty, model.targets), sizes, strict=True):
        yield (
            f"{number} members of the ensemble of {target.name} take {size(8.0 * number * features)} of the "
            f"export, and {size(8.0 * number)} for each atom of which a program asks for them; the standard "
            f"deviation of {USUAL_MEMBERS} is within about 1 % of the uncertainty already, so more tell "
            "nothing new, and evaluations leave them out"
        )


def _trained(state: State) -> dict[str, torch.Tensor] | None:
    """Return the weights of members of the best epoch, around their mean, by targets."""
    if not state.ensemble:
        return None
    names = [target.name for target in filter(has_uncertainty, state.model.targets)]
    weights = {
        name: state.best_ensemble[str(number)].to("cpu", torch.float64)
        for number, name in enumerate(names)
    }
    return {name: own - own.mean(dim=0) for name, own in weights.items()}


def _of_spread(model: GraphModel, target: Target, problem: Problem) -> _Matrices:
    """Return matrices that give the standard deviation of the members of an ensemble.

    The part of an atom that members give to all atoms of a type cancels in the energies that they were
    trained on; it is left out of the uncertainties of atoms.
    """
    assert isinstance(model.core, Ensemble)
    n_members, n_types = len(model.core.members), len(model.atomic_types)
    sums = torch.zeros((n_types, n_members + n_types), dtype=torch.float64, device=problem.device)
    for rows in _rows(model, target, problem, problem.train):
        sums += rows.atoms[:, n_members:].t() @ rows.atoms
    sums = problem.communicator.reduce(sums).cpu()
    means = sums[:, :n_members] / sums[:, n_members:].diagonal().clamp(min=1.0)[:, None]
    none = torch.zeros((n_members, n_types), dtype=torch.float64)
    identity = torch.eye(n_members, dtype=torch.float64)
    members = torch.cat([identity, none], dim=1)
    values = members / math.sqrt(n_members - 1)
    if target.per == "atom":
        return _Matrices(values, values, members)
    atoms = torch.cat([identity, -means.t()], dim=1) / math.sqrt(n_members - 1)
    return _Matrices(values, atoms, members)


def _of_last_layer(
    model: GraphModel, target: Target, problem: Problem, regularizer: float
) -> _Matrices:
    """Return inverses of the Cholesky factors of the covariances of features, [F, F] float64."""
    sums: torch.Tensor | None = None
    for rows in _rows(model, target, problem, problem.train):
        if sums is None:
            sums = rows.atoms.new_zeros((2, rows.atoms.shape[1], rows.atoms.shape[1]))
        sums[0] += rows.features.t() @ rows.features
        sums[1] += rows.atoms.t() @ rows.atoms
    assert sums is not None
    sums = problem.communicator.reduce(sums).cpu()
    identity = torch.eye(sums.shape[1], dtype=torch.float64)
    inverses = []
    for covariance in sums:
        mean = float(covariance.diagonal().mean())
        factor = torch.linalg.cholesky(covariance + (regularizer * mean or 1.0) * identity)
        inverses.append(torch.linalg.solve_triangular(factor, identity, upper=False))
    return _Matrices(inverses[0], inverses[1], identity[:0])


def _calibrated(
    model: GraphModel, target: Target, problem: Problem, found: _Matrices
) -> tuple[float, float]:
    """Return the multipliers of values and of atoms; 1 where the validation set does not tell.

    So it is of an ensemble that is trained without one: the spread of its members is given as it is.
    """
    values, atoms = (part.to(problem.device) for part in (found.values, found.atoms))
    sums = torch.zeros(3, dtype=torch.float64, device=problem.device)
    for rows in _rows(model, target, problem, problem.validation):
        of_atoms = (rows.atoms @ atoms.t()).square().sum(dim=1)
        # As if errors of atoms were independent: their squares add up.
        added = torch.zeros_like(rows.errors).index_add(0, rows.owner, of_atoms)
        sums += torch.stack(
            [
                rows.errors.square().sum(),
                (rows.features @ values.t()).square().sum(),
                (added / rows.counts.square()).sum(),
            ]
        )
    squares, variances, added_up = problem.communicator.reduce(sums).tolist()
    return _ratio(squares, variances), _ratio(squares, added_up)


def _ratio(squares: float, variances: float) -> float:
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


def _rows(model: GraphModel, target: Target, problem: Problem, dataset: Dataset) -> Iterator[_Rows]:
    """Yield what has references, batch by batch."""
    for batch in batches(dataset, problem.in_order(dataset), problem.dtype, problem.device):
        with torch.no_grad():
            raw = model.core(batch.graph, [target.name, features_of(target.name)])
        values = raw[target.name].to(torch.float64)
        atoms = features = raw[features_of(target.name)].to(torch.float64)
        owner = torch.arange(len(atoms), device=atoms.device)
        counts = torch.ones(len(atoms), dtype=torch.float64, device=atoms.device)
        if target.per == "system":
            owner, counts = batch.graph.system, batch.n_atoms.to(torch.float64)
            values, features = (
                summed(part, batch.graph) / counts[:, None] for part in (values, features)
            )
        references = batch.references[target.name]
        there = references.mask[:, 0]
        kept = there[owner]
        yield _Rows(
            atoms[kept],
            features[there],
            (values - references.values)[there, 0],
            (there.cumsum(0) - 1)[owner[kept]],
            counts[there],
        )
