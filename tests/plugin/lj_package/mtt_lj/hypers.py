"""Options of Lennard-Jones potentials."""

from pydantic import PositiveFloat

from mtt.options.schema.base import OptionsModel


class ModelHypers(OptionsModel):
    """Where pairs of atoms end, and where the fit begins."""

    cutoff: PositiveFloat = 6.0
    """Radius, in the length unit of the data, within which atoms are pairs."""
    width: PositiveFloat = 1.0
    """Width of the shell below the radius in which a pair's value falls to zero."""
    sigma: PositiveFloat = 2.5
    """Distance, in the length unit of the data, at which the fit begins for each pair of types."""
    epsilon: PositiveFloat = 0.1
    """Depth at which the fit begins for each pair of types, in units of the target's scale."""
