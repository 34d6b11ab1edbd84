"""Short forms of options: what may stand in the place of a mapping, and what it is short for.

The one source of them: :mod:`mtt.options.reading.expand` writes them out before the typed models see a
document, :mod:`mtt.options.reference` describes them and lets editors accept them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from mtt.options.schema.base import is_slice
from mtt.options.schema.loss_parts import is_schedule

# Of a short form that stands for no mapping: no value at all, or the option left out.
NOTHING: Final = "null"
LEFT_OUT: Final = "the default"


@dataclass(frozen=True)
class ShortForm:
    """One short form of a model of options.

    - ``values``: in words; ``placeholder``: what it is called in the full form;
    - ``stands_for``: the key that the value is short for (``systems.read_from``: below another),
      empty for a mapping without keys, or one of the two above;
    - ``matches``: whether a value, whose entries may be nodes of a document, is written so.
    """

    values: str
    stands_for: str
    matches: Callable[[Any], bool]
    placeholder: str = ""

    @property
    def full(self) -> str:
        """Return what it is short for, as it would be written."""
        if self.stands_for == LEFT_OUT:
            return self.stands_for
        if self.stands_for == NOTHING:
            return f"`{NOTHING}`"
        return f"`{_nested(self.stands_for.split('.'), self.placeholder)}`"


def _nested(keys: list[str], value: str) -> str:
    if keys == [""]:
        return "{}"
    return f"{{{keys[0]}: {_nested(keys[1:], value)}}}" if keys else value


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_indices(value: Any) -> bool:
    if isinstance(value, str):
        return is_slice(value)
    return isinstance(value, list) and bool(value) and not any(map(_is_dataset, value))


def _is_dataset(value: Any) -> bool:
    return isinstance(getattr(value, "value", value), str | dict)


def _are_datasets(value: Any) -> bool:
    if isinstance(value, dict):
        return bool({"systems", "targets", "read_from"} & set(value))
    return isinstance(value, str | list)


def _is_weight(value: Any) -> bool:
    return isinstance(value, int | float) or (bool(value) and is_schedule(value))


def _is_extra_points(value: Any) -> bool:
    # Any text: what is wrong with another is said best where it stands.
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _is(constant: object) -> Callable[[Any], bool]:
    return lambda value: value is constant


_NULL: Final = ShortForm("`null`", "", _is(None))
_ON: Final = ShortForm("`on`", "", _is(True))
_OFF: Final = ShortForm("`off`", NOTHING, _is(False))
_PATH: Final = ShortForm("a path", "read_from", _is_text, "PATH")

# By the name of the model; the first that matches counts.
SHORT_FORMS: Final[dict[str, tuple[ShortForm, ...]]] = {
    "ArchitectureOptions": (ShortForm("a name", "name", _is_text, "NAME"),),
    "ModelHypers": (_NULL,),
    "TrainingHypers": (_NULL,),
    "LossOptions": (ShortForm("a name", "type", _is_text, "NAME"),),
    "PartLossOptions": (
        ShortForm("a name", "type", _is_text, "NAME"),
        ShortForm("a number or a mapping from epochs to numbers", "weight", _is_weight, "WEIGHT"),
    ),
    "ShiftOptions": (
        ShortForm("a number or `anywhere`", "extra_points", _is_extra_points, "NUMBER"),
    ),
    "UncertaintyOptions": (ShortForm("a name", "method", _is_text, "NAME"), _OFF),
    "LongRangeOptions": (_ON, _OFF),
    "FineTuneOptions": (_PATH, _ON, _OFF),
    "DatasetOptions": (ShortForm("a path", "systems.read_from", _is_text, "PATH"),),
    "SystemsOptions": (_PATH,),
    "TargetOptions": (_PATH, _NULL),
    "GradientOptions": (_PATH, _ON),
    "WeightOptions": (_ON, _OFF),
    "SplitOptions": (
        ShortForm("`null`", LEFT_OUT, _is(None)),
        ShortForm("text such as '0:50' or a list of integers", "indices", _is_indices, "INDICES"),
        ShortForm("a path, a dataset or a list of datasets", "datasets", _are_datasets, "DATASETS"),
        # Whatever else stands there was to be one, and is refused as such.
        ShortForm("a number", "fraction", lambda value: not isinstance(value, dict), "NUMBER"),
    ),
}


def short_form(model: str, value: Any) -> ShortForm | None:
    """Return the short form of a model that a value is written in; None if it is written in full."""
    return next((form for form in SHORT_FORMS.get(model, ()) if form.matches(value)), None)


def described(forms: Iterable[ShortForm]) -> str:
    """Return a sentence about short forms."""
    first, *others = [(form.values, form.full) for form in forms]
    parts = [f"{first[0]} alone is short for {first[1]}"]
    parts += [f"{values} for {full}" for values, full in others]
    text = ", ".join(parts)
    return f"{text[0].upper()}{text[1:]}."
