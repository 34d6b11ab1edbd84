"""What a model says of its own values, beside them: uncertainties, and the members of an ensemble."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal

from mtt.data.target import Target

# Quantities of derived targets.
UNCERTAINTY: Final = "uncertainty"
ENSEMBLE: Final = "ensemble"
# Ensembles of more members have values of systems only where a program keeps or compares them: those of
# atoms are larger than everything else, and the spread of fewer is the uncertainty but for 1 %.
MOST_KEPT: Final = 4096
# Tensors of each in a checkpoint, uncertainty/TARGET/...: of values, of atoms, of the members of an ensemble.
MATRICES: Final = ("rigidity", "atomic", "weights")
# From the features of the last layer (last-layer prediction rigidity), or the spread of an ensemble.
Method = Literal["llpr", "ensemble"]


@dataclass(frozen=True)
class UncertaintyRecord:
    """What a checkpoint says of the uncertainty of one target.

    - ``target``: whose uncertainty it is;
    - ``method``: what it is made of;
    - ``members``: of the ensemble that the model gives, 0 for none;
    - ``multiplier``: what the calibration multiplied the method's own figure by.
    """

    target: str
    method: Method
    members: int
    multiplier: float


def is_wide(target: Target) -> bool:
    """Return whether a target is an ensemble of so many members that those of atoms are not kept.

    Where atoms have values of their own there is nothing else to keep.
    """
    many = target.quantity == ENSEMBLE and target.properties > MOST_KEPT
    return many and target.per == "system"


def is_derived(target: Target) -> bool:
    """Return whether a target is what a model says of its own values."""
    return target.quantity in (UNCERTAINTY, ENSEMBLE)


def uncertainty_of(target: Target) -> Target:
    """Return the description of a target's uncertainty, named as engines ask for it."""
    return _derived(target, UNCERTAINTY, 1)


def ensemble_of(target: Target, members: int) -> Target:
    """Return the description of what each member of an ensemble predicts."""
    return _derived(target, ENSEMBLE, members)


def has_uncertainty(target: Target) -> bool:
    """Return whether a target is one that uncertainties are made of."""
    return target.type == "scalar" and target.properties == 1


def clashes(targets: Iterable[Target]) -> list[str]:
    """Return the names that a target has, and the uncertainty or ensemble of another one would have."""
    listed = list(targets)
    names = [target.name for target in listed]
    for target in filter(has_uncertainty, listed):
        names += [uncertainty_of(target).name, ensemble_of(target, 1).name]
    return sorted({name for name in names if names.count(name) > 1})


def _derived(target: Target, quantity: str, properties: int) -> Target:
    base, slash, variant = target.name.partition("/")
    owner, colons, short = base.rpartition("::")
    # As metatrain calls them; what others own stays theirs, so that no two are called the same.
    own = f"mtt::aux::{short}" if owner == "mtt" else base
    return replace(
        target,
        name=f"{own}_{quantity}{slash}{variant}",
        quantity=quantity,
        properties=properties,
        gradients=(),
        description=f"{quantity} of {target.name}",
    )
