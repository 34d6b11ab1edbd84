"""Overrides from the command line: ``-r architecture.training.batch_size=4``."""

import re
from collections.abc import Sequence

from mtt.options.reading.document import MAX_DEPTH, Node, child_name, parse
from mtt.options.reading.problems import Place, Problem
from mtt.options.schema.datasets import GRADIENTS, DatasetOptions, SplitOptions
from mtt.options.schema.short_forms import ShortForm, short_form

# Options that may be written short, by their names: an override below one writes it out first.
_SHORT = {
    "architecture": "ArchitectureOptions",
    "datasets": "DatasetOptions",
    "fine_tune": "FineTuneOptions",
    "long_range": "LongRangeOptions",
    "loss": "LossOptions",
    "shift": "ShiftOptions",
    "systems": "SystemsOptions",
    "test_set": "SplitOptions",
    "training_set": "DatasetOptions",
    "uncertainty": "UncertaintyOptions",
    "validation_set": "SplitOptions",
    "weights": "WeightOptions",
}
_INDEX = re.compile(r"\[(\d+)\]")


def apply_overrides(root: Node, overrides: Sequence[str]) -> list[Problem]:
    """Set the options of ``KEY=VALUE`` texts in the tree, one after the other.

    Values are YAML. Entries of lists are ``training_set[0]`` or ``training_set.0``. Mappings on
    the way that are not there are made, and what is short for one, such as the path in
    ``systems: data.xyz``, becomes it where that can mean one thing only. Returns what is wrong with the
    overrides.
    """
    problems: list[Problem] = []
    for text in overrides:
        problem = _apply(root, text)
        if problem is not None:
            problems.append(problem)
    return problems


def _apply(root: Node, text: str) -> Problem | None:
    place = Place(0, 0, text)
    key, equals, written = text.partition("=")
    parts = _INDEX.sub(r".\1", key.strip()).split(".")
    if not equals or not all(parts):
        message = "an override is written KEY=VALUE, as in architecture.training.batch_size=4"
        return Problem(place, "", message)
    if len(parts) > MAX_DEPTH:
        return Problem(place, "", f"an override names an option by more than {MAX_DEPTH} names")
    value, problems = parse(written, text, key.strip())
    if problems:
        return problems[0]
    if value is None:
        value = Node(None, place)
    node = root
    for depth in range(1, len(parts)):
        following = _descend(node, parts[:depth], parts[depth], place)
        if isinstance(following, Problem):
            return following
        node = following
    return _set(node, parts[-1], value, place)


def _descend(node: Node, path: Sequence[str], below: str, place: Place) -> Node | Problem:
    """The last entry of a path, whose others lead to the node; made if it is not there.

    - ``below``: what the override names in that entry
    """
    part = path[-1]
    child = _entry(node, part, place)
    if isinstance(child, Problem):
        return child
    if child is None or child.value is None:
        child = Node({}, place, child_name(node.name, part), place)
        _put(node, part, child)
    message = _write_out(child, path, below)
    return child if message is None else Problem(place, child.name, message)


def _write_out(node: Node, path: Sequence[str], below: str) -> str | None:
    """Make what is short for a mapping, or for a list, what it is short for, in place.

    :return: what to write instead, if it is not said what an option below this can mean
    """
    model = _model(path)
    form = short_form(model, node.value)
    if model == "SplitOptions" and below not in SplitOptions.model_fields:
        if form is not None and form.stands_for != "datasets":
            # A list of indices may have another one; else only data of its own have options.
            return None if isinstance(node.value, list) and below.isdecimal() else _no_data(node)
        model = "DatasetOptions"
        form = short_form(model, node.value)
    if model == "DatasetOptions" and below.isdecimal() and isinstance(node.value, str | dict):
        # One data set is short for a list of it, except where a split is written in full.
        if isinstance(node.value, str) or set(node.value) & {*DatasetOptions.model_fields}:
            alone = Node(node.value, node.place, child_name(node.name, 0), node.key_place)
            node.value = [alone]
        return None
    if model and node.value is False:
        on = "on" if short_form(model, True) is not None else "{}"
        return f"is off, which has no option '{below}'; write {node.name}={on} before this"
    if form is not None and not (isinstance(node.value, dict) and below.isdecimal()):
        _expand(node, form)
    return None


def _expand(node: Node, form: ShortForm) -> None:
    if not form.stands_for:
        node.value = {}
        return
    value = node.value
    for key in form.stands_for.split("."):
        inner = Node(value, node.place, child_name(node.name, key), node.key_place)
        node.value = {key: inner}
        node = inner


def _model(path: Sequence[str]) -> str:
    """Return which model of options stands at a path, as short forms name it; empty for others."""
    names = [part for part in path if not part.isdecimal()]
    if not names:
        return "DatasetOptions"  # in a list of what to evaluate
    name = names[-1]
    loss = "loss" in names[:-1]
    if names[-2:-1] == ["targets"]:
        return "" if loss else "TargetOptions"
    if name in GRADIENTS:
        return "PartLossOptions" if loss else "GradientOptions"
    model = _SHORT.get(name, "")
    return "DatasetOptions" if model == "SplitOptions" and path[-1].isdecimal() else model


def _no_data(node: Node) -> str:
    value = node.value
    what = f"a list of {len(value)} indices" if isinstance(value, list) else repr(value)
    return (
        f"is {what}, a part of the training set and no data of its own: write {node.name}=PATH before "
        "this to have those"
    )


def _set(node: Node, part: str, value: Node, place: Place) -> Problem | None:
    child = _entry(node, part, place)
    if isinstance(child, Problem):
        return child
    name = child_name(node.name, int(part) if isinstance(node.value, list) else part)
    _put(node, part, Node(value.value, place, name, place))
    return None


def _entry(node: Node, part: str, place: Place) -> Node | Problem | None:
    if isinstance(node.value, dict):
        present = node.value.get(_key(node, part))
        return present if isinstance(present, Node) else None
    if isinstance(node.value, list):
        if _is_number(part) and int(part) < len(node.value):
            entry = node.value[int(part)]
            assert isinstance(entry, Node)
            return entry
        message = f"is a list of {len(node.value)}, which has no entry '{part}'"
        if not part.isdecimal() and node.value:
            first = f"{node.name}.0.{part}" if node.name else f"0.{part}"
            message += f"; say of which by its number, as in {first}"
    else:
        message = f"is {node.value!r}, which has no option '{part}'; write it as a mapping first"
    return Problem(place, node.name, message)


def _put(node: Node, part: str, child: Node) -> None:
    if isinstance(node.value, list):
        node.value[int(part)] = child
    else:
        node.value[_key(node, part)] = child


def _key(node: Node, part: str) -> str | int:
    """Return the key of a mapping, which YAML has as a number where it is an epoch or an element."""
    return int(part) if _is_number(part) and int(part) in node.value else part


def _is_number(part: str) -> bool:
    # Longer ones are the number of nothing, and Python refuses to read the longest.
    return part.isdecimal() and len(part) < 20
