"""What a person says about a model: the fields of metatomic's ModelMetadata."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from mtt.options.schema.base import OptionsModel

Text = Annotated[str, Field(min_length=1)]


class References(OptionsModel):
    """What to cite, as texts or links."""

    model: list[Text] = Field(default_factory=list)
    """This trained model."""
    architecture: list[Text] = Field(default_factory=list)
    """The architecture; mtt adds the architecture's own references."""
    implementation: list[Text] = Field(default_factory=list)
    """The software; mtt adds the architecture's own references."""


class Metadata(OptionsModel):
    """Shown when an engine loads the model file."""

    name: str = ""
    """Name of the model."""
    description: str = ""
    """What the model is for and where it should not be used."""
    authors: list[Text] = Field(default_factory=list)
    """Who made it."""
    references: References = References()
    """What to cite."""
    extra: dict[str, str] = Field(default_factory=dict)
    """Anything else, as names and texts."""


def merged_references(
    own: Mapping[str, Sequence[str]], others: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """References of a person and then those of another source, each once."""
    merged = {}
    for key in References.model_fields:
        mine = list(own.get(key, ()))
        merged[key] = mine + [entry for entry in others.get(key, ()) if entry not in mine]
    return {key: listed for key, listed in merged.items() if listed}
