"""Options of MACE, version 1, with the names that metatrain has for them."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, field_validator, model_validator

from mtt.options.schema.base import Conflict, inconsistent, invalid
from mtt.options.schema.repulsion import Repulsion, WithRepulsion
from mtt.options.schema.training import TrainingHypers

__all__ = ["ModelHypers", "TrainingHypers"]

Size = Annotated[int, Field(gt=0, le=4096)]
Interaction = Literal[
    "RealAgnosticResidualInteractionBlock",
    "RealAgnosticInteractionBlock",
    "RealAgnosticDensityResidualInteractionBlock",
    "RealAgnosticDensityInteractionBlock",
]
_MAX_DEGREE = 11
_TERM = re.compile(r"(?:([1-9][0-9]{0,3})x)?([0-9]|10|11)([eo])")


def irreps(text: str) -> list[tuple[int, int, int]]:
    """Return (multiplicity, degree, parity) of each term of e3nn's notation, such as ``8x0e + 8x1o``.

    :raises ValueError: the text is something else
    """
    terms = []
    for part in text.split("+"):
        match = _TERM.fullmatch(part.strip())
        if match is None:
            raise invalid(f"expected terms such as '64x0e + 64x1o', found '{part.strip()}'")
        number, degree, parity = match.groups()
        terms.append((int(number or 1), int(degree), 1 if parity == "e" else -1))
    return terms


class ModelHypers(WithRepulsion):
    """Shape and size of a MACE model."""

    r_max: PositiveFloat = 5.0
    """Radius, in the length unit of the data, within which atoms are neighbors."""
    num_radial_basis: Annotated[int, Field(gt=1, le=100)] = 8
    """Number of radial functions that describe distances."""
    radial_type: Literal["bessel", "gaussian"] = "bessel"
    """Kind of the radial functions."""
    num_cutoff_basis: Annotated[int, Field(ge=3, le=20)] = 5
    """Power p of the polynomial that takes the weight of a neighbor to zero at r_max, twice
    differentiable: a larger one falls later and more steeply."""
    max_ell: Annotated[int, Field(gt=0, le=11)] = 3
    """Highest degree of the spherical harmonics that describe directions."""
    interaction: Interaction = "RealAgnosticResidualInteractionBlock"
    """Block of mace-torch that makes the messages of each layer but the first."""
    interaction_first: Interaction = "RealAgnosticResidualInteractionBlock"
    """Block that makes the messages of the first layer. Those without `Residual` give nothing of the
    atom itself: an atom without neighbors then has the baseline alone."""
    num_interactions: Annotated[int, Field(gt=0, le=10)] = 2
    """Message-passing layers. The interaction range is this number times r_max."""
    hidden_irreps: str = "128x0e + 128x1o"
    """Features of each atom between the layers, in e3nn's notation: channels, degree, and parity (`e`
    or `o`) of what turns like vectors (`1o`), like tensors of degree 2 (`2e`) and so on. The first
    term are invariants (`0e`), and all terms have as many channels."""
    MLP_irreps: str = "16x0e"
    """Width of the hidden layer of the output networks, which are of invariants (`0e`)."""
    radial_MLP: Annotated[list[Size], Field(min_length=1, max_length=10)] = [64, 64, 64]
    """Widths of the hidden layers of the networks that make weights of messages from distances."""
    correlation: Annotated[int, Field(gt=0, le=4)] = 3
    """How many messages are multiplied with each other at each atom: 1 sees pairs, 2 angles, 3
    dihedrals. At most 11 divided by max_ell."""
    gate: Literal["silu", "tanh"] | None = "silu"
    """Activation of the output networks after the last layer; null makes them linear."""
    apply_cutoff: bool = True
    """Whether radial functions fall to zero at r_max (true), or the weights of messages (false)."""
    avg_num_neighbors: PositiveFloat = 10.0
    """Divides the sum of messages: about the mean number of neighbors within r_max in the data. Blocks
    with `Density` divide by a number of their own."""
    use_last_readout_only: bool = False
    """Whether values come from the features after the last layer only, and not from those of every
    layer."""
    use_agnostic_product: bool = False
    """Whether all atomic types share the weights of the products of messages."""
    zbl: Repulsion = False

    @field_validator("hidden_irreps")
    @classmethod
    def _one_width(cls, value: str) -> str:
        terms = irreps(value)
        if terms[0][1:] != (0, 1):
            raise invalid("the first term must be invariants, such as '64x0e'")
        if len({number for number, _, _ in terms}) > 1:
            raise invalid("all terms must have as many channels, as in '64x0e + 64x1o'")
        kinds = [term[1:] for term in terms]
        if len(set(kinds)) < len(kinds):
            raise invalid("a term occurs twice; write it once, with more channels")
        for _, degree, parity in terms:
            if parity != (-1) ** degree:
                wrong, right = "eo"[parity < 0], "eo"[degree % 2]
                raise invalid(
                    f"mtt has no pseudotensors: '{degree}{wrong}' must be '{degree}{right}'"
                )
        return value

    @field_validator("MLP_irreps")
    @classmethod
    def _invariants(cls, value: str) -> str:
        if [term[1:] for term in irreps(value)] != [(0, 1)]:
            raise invalid(f"expected one term of invariants such as '16x0e', found '{value}'")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Degrees must be made by something, and what makes them must be known."""
        highest = max(degree for _, degree, _ in irreps(self.hidden_irreps))
        # The first layer makes all degrees of products of harmonics.
        made = self.max_ell * self.correlation
        fields = ("hidden_irreps", "max_ell", "correlation")
        conflicts = []
        if highest > made:
            message = (
                f"its degree {highest} is higher than max_ell times correlation ({made}), "
                "so it would stay zero"
            )
            involved = tuple((field,) for field in fields)
            conflicts.append(Conflict(("hidden_irreps",), message, involved))
        if made > _MAX_DEGREE:
            message = (
                f"{self.correlation} times max_ell ({self.max_ell}) is {made}, and the tables of "
                f"mace-torch end at degree {_MAX_DEGREE}; lower one of them"
            )
            conflicts.append(Conflict(("correlation",), message, (("correlation",), ("max_ell",))))
        if conflicts:
            raise inconsistent(conflicts)
        return self
