"""What all option models share, and the field types that several of them use."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
)
from pydantic_core import PydanticCustomError

# Of options files and of what checkpoints store; stored.py brings older ones here.
OPTIONS_VERSION = 2
INCONSISTENT = "inconsistent"
Location = tuple[str | int, ...]


class OptionsModel(BaseModel):
    """Base of all options: unknown keys are errors, types are not coerced, values are frozen.

    The docstring below a field is its description in the reference page and the JSON schema.
    """

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
        # fields called `model` are not about pydantic
        protected_namespaces=(),
    )


class StoredWhereOn(OptionsModel):
    """Options of which some came later than the first files that have the others.

    ``later`` names these, each with the option that says whether it is on, mostly itself. Only those that
    are on are stored: what is stored without them is what it was before there were any.
    """

    later: ClassVar[Mapping[str, str]] = {}

    @model_serializer(mode="wrap")
    def _stored(self, full: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return self.without_later(full(self))

    def without_later(self, written: dict[str, Any]) -> dict[str, Any]:
        """Return what is stored of these options, of all that was written of them."""
        return {
            name: value
            for name, value in written.items()
            if name not in self.later or getattr(self, self.later[name])
        }


def invalid(message: str) -> ValueError:
    """Error for a field validator: pydantic collects ValueErrors, whatever is wrong."""
    return ValueError(message)


class Conflict(NamedTuple):
    """Values that are fine one by one but do not fit together.

    ``location``, below the model, is where the message is shown; ``involved`` are the locations
    of all values that decide: if one of them is wrong anyway, the conflict is not reported.
    """

    location: Location
    message: str
    involved: tuple[Location, ...]


def inconsistent(conflicts: list[Conflict]) -> PydanticCustomError:
    """Error for a model validator that found conflicts."""
    text = "; ".join(conflict.message for conflict in conflicts)
    # the text is a template for pydantic
    template = text.replace("{", "(").replace("}", ")")
    return PydanticCustomError(INCONSISTENT, template, {"conflicts": conflicts})


# Paths arrive as text; they are relative to the folder that mtt is run in.
FilePath = Annotated[Path, Field(strict=False)]

_SLICE = re.compile(r"^\s*(-?\d+)?\s*:\s*(-?\d+)?\s*(:\s*(-?\d+)?\s*)?$")


def is_slice(text: str) -> bool:
    """Whether ``text`` is written as a Python slice: "0:50", "::10", "-100:"."""
    return _SLICE.match(text) is not None


def parse_slice(text: str) -> slice:
    """The slice that a text such as "0:50" or "::10" stands for.

    Raises ValueError when the text is not a slice or its step is zero.
    """
    if not is_slice(text):
        raise invalid(f"expected a slice such as '0:50' or '::10', found '{text}'")
    parts = [int(part) if part.strip() else None for part in text.split(":")]
    if len(parts) == 3 and parts[2] == 0:
        raise invalid(f"the step of the slice '{text}' must not be zero")
    return slice(*parts)


def _check_indices(value: Any) -> list[int] | str:
    if isinstance(value, str):
        parse_slice(value)
        return value
    if not isinstance(value, list):
        raise invalid("expected a list of integers or a slice such as '0:50'")
    seen: set[int] = set()
    for index in value:
        if not isinstance(index, int) or isinstance(index, bool):
            raise invalid(f"expected a list of integers, found {index!r} in it")
        if index < 0:
            raise invalid(f"indices start at 0, found {index}")
        if index in seen:
            raise invalid(f"index {index} is given twice")
        seen.add(index)
    if not value:
        raise invalid("the list of indices is empty")
    return value


Indices = Annotated[
    list[int] | str,
    PlainValidator(_check_indices),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1},
                {"type": "string", "pattern": _SLICE.pattern},
            ]
        }
    ),
]
