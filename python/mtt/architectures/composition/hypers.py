"""Options of the baseline alone, version 1."""

from pydantic import PositiveFloat, PositiveInt

from mtt.options.schema import training
from mtt.options.schema.base import OptionsModel

__all__ = ["ModelHypers", "TrainingHypers"]


class ModelHypers(OptionsModel):
    """Options of the baseline alone, which looks at no neighbors."""

    cutoff: PositiveFloat = 1.0
    """Radius, in the length unit of the data, of the neighbor list that engines make all the same; values
    do not depend on it."""


class TrainingHypers(training.TrainingHypers):
    """How the baseline is fitted: there are no weights, so one epoch tells all errors."""

    num_epochs: PositiveInt = 1
    """Passes over the training set; none of them changes the model."""
    rotational_augmentation: bool = False
    """Rotate every structure at random each time it is trained on; the model does not see it."""
