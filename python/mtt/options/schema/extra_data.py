"""Options that say where files have the charge and spin of structures."""

from collections.abc import Iterator
from typing import Any, Literal, Self

from pydantic import model_validator

from mtt.options.schema.base import Conflict, Location, OptionsModel, inconsistent


class InputOptions(OptionsModel):
    """A whole number of each structure that the model depends on."""

    key: str = ""
    """Name of the number in the file; the name of the input if not given."""
    missing: Literal["error", "allow"] = "error"
    """Whether structures may lack it: `allow` takes those for neutral, or for singlets."""


class ExtraDataOptions(OptionsModel):
    """What is known of structures beside atoms and cell, for a model with `system_conditioning`."""

    charge: InputOptions | None = None
    """Total charge, in units of the elementary charge. Not given: all structures are neutral."""
    spin_multiplicity: InputOptions | None = None
    """Spin multiplicity 2 S + 1. Not given: all structures are singlets."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the inputs that are given."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)

    def key_of(self, name: str) -> str:
        """Return the key of an input that is given."""
        return getattr(self, name).key or name

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.names:
            known = " or ".join(type(self).model_fields)
            raise inconsistent([Conflict((), f"give {known}, or leave extra_data out", ())])
        return self


def extra_data_conflicts(options: Any, datasets: list[tuple[Location, Any]]) -> Iterator[Conflict]:
    """Give what of data sets and model does not fit together.

    :param options: :class:`mtt.options.schema.options.Options`
    :param datasets: every data set of them with its place
    """
    model: Location = ("architecture", "model", "system_conditioning")
    if options.architecture.training.fine_tune is not None:
        # The base decides whether its model has it.
        return
    conditioned = getattr(options.architecture.model, "system_conditioning", False)
    first = options.training_set[0].extra_data
    if conditioned and first is None:
        message = (
            "the first training set does not say where charge and spin are: write extra_data: "
            "{charge: {key: ...}, spin_multiplicity: {key: ...}} beside its systems"
        )
        yield Conflict(model, message, (model, ("training_set",)))
        return
    for location, data in datasets:
        place = (*location, "extra_data")
        own = data.extra_data
        if own is not None and not conditioned:
            possible = "system_conditioning" in type(options.architecture.model).model_fields
            message = "nothing depends on it: leave it out, or " + (
                "write architecture.model.system_conditioning: true"
                if possible
                else "take pet or soap_bpnn with system_conditioning: true"
            )
            yield Conflict(place, message, (place, model))
        elif conditioned and (own is None or own.names != first.names):
            listed = " and ".join(first.names)
            message = (
                f"the first training set has {listed}: name the same here; 'missing: allow' takes "
                "structures without for neutral singlets"
            )
            yield Conflict(location if own is None else place, message, (place, model))
