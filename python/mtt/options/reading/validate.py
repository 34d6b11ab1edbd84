"""Runs the typed models on a document tree and says in plain words what they found."""

import re
import types
from collections.abc import Iterator
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mtt.options.foreign.fates import LEAVE_IT_OUT
from mtt.options.foreign.meanings import meant, why_absent
from mtt.options.reading.document import Node, find
from mtt.options.reading.problems import Problem, did_you_mean
from mtt.options.schema.base import INCONSISTENT, Location, OptionsModel

M = TypeVar("M", bound=OptionsModel)

_EXPECTED = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "string_type": "text",
    "path_type": "a path",
    "bool_type": "on or off",
    "list_type": "a list",
    "dict_type": "a mapping of options",
    "model_type": "a mapping of options",
    "model_attributes_type": "a mapping of options",
}
_LIMITS = {
    "greater_than": ("gt", "larger than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "smaller than"),
    "less_than_equal": ("le", "at most"),
}
_NUMBER: Final = re.compile(
    r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*"
    r"(A|Å|ang|angstroms?|bohr|nm|eV|epochs?|steps?|structures|)$",
    re.IGNORECASE,
)
# Each is explained with the names that could have been meant, which takes a moment.
MOST_EXPLAINED: Final = 200


def validate(model: type[M], root: Node) -> tuple[M | None, list[Problem]]:
    """The options in ``root`` as ``model``, or None and everything that is wrong with them.

    Checks that need several values run in pydantic only if each value is fine. So whatever was
    found wrong is taken out and the rest is checked again, until nothing new turns up.
    """
    problems: list[Problem] = []
    listed: set[tuple[str, ...]] = set()
    while True:
        try:
            result = model.model_validate(root.plain())
        except ValidationError as error:
            details = error.errors()
            located_problems = [
                problem
                for detail in details[:MOST_EXPLAINED]
                for problem in _problems(model, root, detail, listed)
            ]
            if len(details) > MOST_EXPLAINED:
                more = Problem(None, "", f"there are {len(details)} mistakes: this is another file")
                return None, [*problems, more, *(problem for problem, _ in located_problems)]
        else:
            return (None if problems else result), problems
        known = set(problems)
        problems += [problem for problem, _ in located_problems if problem not in known]
        wrong = [node for _, node in located_problems if node is not None and node is not root]
        if not wrong:
            return None, problems
        for node in wrong:
            node.dead = True


def _problems(
    model: type[OptionsModel], root: Node, detail: ErrorDetails, listed: set[tuple[str, ...]]
) -> list[tuple[Problem, Node | None]]:
    """Problems of one pydantic error, each with the node to take out if it has one.

    :param listed: known names that have been listed, and are not listed again
    """
    location = detail["loc"]
    if detail["type"] == INCONSISTENT:
        return [
            _located(root, (*location, *conflict.location), conflict.message)
            for conflict in detail["ctx"]["conflicts"]
            if not any(_spoiled(root, (*location, *value)) for value in conflict.involved)
        ]
    if detail["type"] == "missing":
        parent, _, parent_found = find(root, location[:-1])
        gone = parent.value.get(location[-1]) if isinstance(parent.value, dict) else None
        if gone is not None or not parent_found:  # it was taken out as wrong, and so reported
            return []
        problem, _ = _located(root, location, "is required")
        place = parent.key_place or (parent.place if parent is not root else None)
        return [(Problem(place, problem.name, problem.message), None)]
    if detail["type"] == "extra_forbidden":
        node, name, _ = find(root, location)
        node.unknown = True
        message, advice = _unknown_option(model, location, listed)
        place = node.key_place or node.place
        return [(Problem(place, name, message, advice, unknown=True), node)]
    if detail["type"] in ("value_error", "too_short") and _spoiled(root, location):
        return []
    return [_located(root, location, describe_error(detail))]


def _spoiled(root: Node, location: Location) -> bool:
    """Whether a value at or below a location was taken out as wrong.

    What is said about the rest may then be a consequence of that, and is left unsaid.
    """
    node = root
    for part in location:
        if isinstance(node.value, dict) and part in node.value:
            node = node.value[part]
        elif isinstance(node.value, list) and isinstance(part, int):
            alive = [child for child in node.value if not child.dead]
            if part >= len(alive):
                return True
            node = alive[part]
        else:
            return False
    return _has_dead(node)


def _has_dead(node: Node) -> bool:
    if node.dead:
        return not node.unknown
    children = node.value.values() if isinstance(node.value, dict) else node.value
    return isinstance(node.value, dict | list) and any(_has_dead(child) for child in children)


def _located(root: Node, location: Location, message: str) -> tuple[Problem, Node | None]:
    node, name, exists = find(root, location)
    place = node.shown_at() if exists or node is not root else None
    return Problem(place, name, message), node if exists else None


def describe_error(detail: ErrorDetails) -> str:
    """What a pydantic error means, for a person who writes YAML."""
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind in _EXPECTED:
        advice = ""
        if kind == "string_type" and isinstance(value, bool | int | float):
            advice = " (put it in quotes if it is meant as text)"
        elif kind in ("int_type", "float_type") and isinstance(value, str):
            advice = _number_in(value)
        return f"expected {_EXPECTED[kind]}, found {describe(value)}{advice}"
    if kind in _LIMITS:
        name, words = _LIMITS[kind]
        text = f"must be {words} {context[name]:g}, found {describe(value)}"
        percent = detail["loc"][-1] == "fraction" and 2 <= value < 100
        return f"{text}; for {value:g} % write {value / 100:g}" if percent else text
    if kind == "literal_error":
        return _not_a_choice(str(context["expected"]), value)
    if kind == "value_error":
        return str(context["error"])
    if kind == "too_short":
        return "must not be empty"
    if kind == "string_too_short":
        return "must not be empty"
    if kind == "finite_number":
        return f"expected a finite number, found {value}"
    if kind == "invalid_key":
        return "the name of an option must be text"
    message = detail["msg"]
    return message[:1].lower() + message[1:]


def _number_in(text: str) -> str:
    """Return what to write in the place of a text that has a number in it."""
    number = _NUMBER.match(text.strip())
    if number is None:
        return ""
    if number[2]:
        return f" (write {number[1]} alone, without '{number[2]}')"
    return " (leave out the quotes)"


def _not_a_choice(expected: str, value: Any) -> str:
    text = f"expected {expected}, found {describe(value)}"
    choices = [part.strip("'") for part in expected.replace(" or ", ", ").split(", ")]
    near = did_you_mean(value, choices) if isinstance(value, str) else None
    return f"{text}; did you mean '{near}'?" if near else text


def describe(value: Any) -> str:
    """A value as a person would call it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "on (true)" if value else "off (false)"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return f"'{value}'" if isinstance(value, str) else str(value)


def _unknown_option(
    model: type[OptionsModel], location: Location, listed: set[tuple[str, ...]]
) -> tuple[str, str]:
    """What to say of an unknown option, and what to do."""
    word = str(location[-1])
    known = sorted(
        {name for kind in _models_at(model, location[:-1]) for name in kind.model_fields}
    )
    option = meant(word) or ""
    if "training_set" not in model.model_fields:  # a data set of its own, as in eval.yaml
        option = option.removeprefix("training_set.")
    section, _, last = option.rpartition(".")
    if last in known and section.rpartition(".")[2] in ("", *map(str, location[:-1])):
        return "unknown option", f"did you mean '{last}'?"
    if last == word and word not in known and len(location) == 1:
        return _elsewhere(word, option)
    elsewhere = [name for name in _all_names(model, "") if name.rpartition(".")[2] == word]
    if elsewhere and word not in known:
        return _elsewhere(word, elsewhere[0])
    reason = why_absent(word)
    if reason is not None:
        return f"unknown option: {reason}", LEAVE_IT_OUT
    if option:
        return _elsewhere(word, option)
    near = did_you_mean(word, known)
    if near is not None:
        return "unknown option", f"did you mean '{near}'?"
    if tuple(known) in listed:
        return "unknown option", ""
    listed.add(tuple(known))
    return "unknown option", f"known here: {', '.join(known)}"


def named_option(model: type[OptionsModel], word: str) -> str | None:
    """The full name of the option that a word alone means, if there is one."""
    names = [name for name in _all_names(model, "") if name.rpartition(".")[2] == word]
    return names[0] if names else meant(word)


def _elsewhere(word: str, name: str) -> tuple[str, str]:
    if name == word:
        return "unknown option here", f"'{word}' stands at the top of the file, in no section"
    return "unknown option here", f"did you mean {name}?"


def _members(annotation: Any) -> Iterator[Any]:
    """The types that a field may have, with Annotated and unions taken apart."""
    if get_origin(annotation) is Annotated:
        yield from _members(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _models_at(model: type[OptionsModel], location: Location) -> list[type[OptionsModel]]:
    """The models that may stand at a location."""
    current: list[Any] = [model]
    for part in location:
        if isinstance(part, str) and part.startswith("<"):
            continue
        following: list[Any] = []
        for kind in current:
            if _is_model(kind) and part in kind.model_fields:
                following += _members(kind.model_fields[part].annotation)
            elif get_origin(kind) in (list, dict):
                following += _members(get_args(kind)[-1])
        current = following
    return [kind for kind in current if _is_model(kind)]


def _all_names(model: type[OptionsModel], prefix: str) -> Iterator[str]:
    """Dotted names of all options outside lists and mappings with free keys."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for member in _members(field.annotation):
            if _is_model(member):
                yield from _all_names(member, f"{prefix}{name}.")
