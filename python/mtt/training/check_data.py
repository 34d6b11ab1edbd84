"""What can be known of the data and the loss before the first step."""

from collections.abc import Callable, Iterator, Mapping

from mtt.architectures.conditioning import States
from mtt.architectures.graph_model import GraphModel
from mtt.data.dataset import named
from mtt.data.neighbors import neighbor_list
from mtt.data.plausibility import doubts
from mtt.data.reader import Reader
from mtt.data.states import check_states
from mtt.data.structure import NEUTRAL_SINGLET
from mtt.errors import UserError
from mtt.options import Options
from mtt.options.schema.loss_parts import FIRST_EPOCH
from mtt.training.loop import Problem
from mtt.training.run_data import RunData


def _by_name(data: RunData) -> Mapping[str, Reader]:
    return {
        "training_set": data.train,
        "validation_set": data.validation,
        "test_set": data.test,
    }


def check_sets(data: RunData, potential: GraphModel) -> None:
    """Refuse structures that the model cannot predict, of the test set as well.

    :raises UserError: unknown atomic types; structures of the test set without a neighbor list,
        which those of the others get anyway
    """
    known = set(potential.atomic_types)
    for name, reader in _by_name(data).items():
        unknown = [kind for kind in reader.types if kind not in known]
        if not unknown:
            continue
        first = next(
            (structure for structure in reader if unknown[0] in structure.types.tolist()), None
        )
        listed = ", ".join(named(kind) for kind in unknown)
        model = ", ".join(named(kind) for kind in potential.atomic_types)
        raise UserError(
            f"{name} has atomic types that the model is not trained on: {listed}",
            where=None if first is None else f"{first.source} is the first of them",
            hint=f"the training set has {model}: move structures with the others into it, or leave "
            f"them out of {name}",
        )
    for structure in data.test:
        neighbor_list(structure, potential.cutoff)


def learn_states(data: RunData, potential: GraphModel, say: Callable[[str], None]) -> None:
    """Note with which charges and spins the model is trained, and refuse others in all sets.

    :raises UserError: a structure in a state that the model has no weights for, or that no structure
        of the training set is in; of a model that depends on neither, a state that is not the neutral
        singlet
    """
    for states in potential.states:
        assert isinstance(states, States)
        for structure in data.train:
            if not states.fits(structure.state):
                raise UserError(
                    f"the structure has the charge {structure.charge} and the spin multiplicity "
                    f"{structure.spin_multiplicity}; the model is for charges from "
                    f"{-states.max_charge} to {states.max_charge} and multiplicities from 1 to "
                    f"{states.max_spin_multiplicity}",
                    where=structure.source or None,
                    hint="make architecture.model.max_charge or max_spin_multiplicity larger",
                )
        states.learn(structure.state for structure in data.train)
        charges, spins = states.known()
        say(f"charges {charges} and spin multiplicities {spins} are trained with")
        if all(structure.state != NEUTRAL_SINGLET for structure in data.train):
            say(
                "check the data: no structure of the training set is a neutral singlet, which is what "
                "engines calculate that give no charge and spin"
            )
    for reader in _by_name(data).values():
        check_states(reader, potential.known_states())


def check_loss(problem: Problem, train: Reader) -> None:
    """Refuse a loss that nothing enters.

    :raises UserError: all weights of quantities that the data have are zero, or those of all
        structures to train on
    """
    if all(structure.weight == 0.0 for structure in train):
        raise UserError(
            "all structures to train on have the weight zero: nothing would be learned",
            where="training_set.weights",
            hint="give those to learn from a weight above zero; Default is that of the groups that"
            " are not named",
        )
    for epoch in problem.hypers.loss.first_epochs:
        _check_weights(problem, epoch)


def _check_weights(problem: Problem, epoch: int) -> None:
    terms = problem.loss(epoch).terms
    if any(weight > 0.0 for term in terms for weight in term.weights.values()):
        return
    since = "" if epoch == FIRST_EPOCH else f" from epoch {epoch} on"
    raise UserError(
        f"all weights of the loss are zero{since}: nothing would be learned",
        where="architecture.training.loss",
        hint="give energy, forces or stress a weight above zero, for a quantity that the data have",
    )


def doubts_about(data: RunData, potential: GraphModel, options: Options) -> Iterator[str]:
    """Give a sentence for each thing in the data that is rarely meant."""
    return doubts(
        _by_name(data),
        data.targets,
        potential.length_unit,
        potential.cutoff,
        options.architecture.training.atomic_baseline,
    )
