"""Overrides from the command line: ``-r architecture.training.batch_size=4``."""

import re
from collections.abc import Sequence

from mtt.options.reading.document import MAX_DEPTH, Node, child_name, parse
from mtt.options.reading.problems import Place, Problem
from mtt.options.schema.short_forms import LEFT_OUT, NOTHING, short_form

# Options that may be written short, by their names: an override below one writes it out first.
_SHORT = {
    "architecture": "ArchitectureOptions",
    "fine_tune": "FineTuneOptions",
    "loss": "LossOptions",
    "systems": "SystemsOptions",
    "training_set": "DatasetOptions",
    "uncertainty": "UncertaintyOptions",
}
_INDEX = re.compile(r"\[(\d+)\]")


def apply_overrides(root: Node, overrides: Sequence[str]) -> list[Problem]:
    """Set the options of ``KEY=VALUE`` texts in the tree, one after the other.

    Values are YAML. Entries of lists are ``training_set[0]`` or ``training_set.0``. Mappings on
    the way that are not there are made, and texts that are short for one, such as the path in
    ``systems: data.xyz``, become it. Returns what is wrong with the overrides.
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
    for part in parts[:-1]:
        following = _descend(node, part, place)
        if isinstance(following, Problem):
            return following
        node = following
    return _set(node, parts[-1], value, place)


def _descend(node: Node, part: str, place: Place) -> Node | Problem:
    """The entry ``part`` of a node, made if it is not there."""
    child = _entry(node, part, place)
    if isinstance(child, Problem):
        return child
    if child is None or child.value is None:
        child = Node({}, place, child_name(node.name, part), place)
        _put(node, part, child)
    _write_out(child, part)
    return child


def _write_out(node: Node, part: str) -> None:
    """Make a text that is short for a mapping that mapping, in place."""
    form = short_form(_SHORT.get(part, ""), node.value) if isinstance(node.value, str) else None
    if form is None or form.stands_for in ("", NOTHING, LEFT_OUT):
        return
    text = node.value
    for key in form.stands_for.split("."):
        inner = Node(text, node.place, child_name(node.name, key), node.key_place)
        node.value = {key: inner}
        node = inner


def _set(node: Node, part: str, value: Node, place: Place) -> Problem | None:
    child = _entry(node, part, place)
    if isinstance(child, Problem):
        return child
    name = child_name(node.name, int(part) if isinstance(node.value, list) else part)
    _put(node, part, Node(value.value, place, name, place))
    return None


def _entry(node: Node, part: str, place: Place) -> Node | Problem | None:
    if isinstance(node.value, dict):
        present = node.value.get(part)
        return present if isinstance(present, Node) else None
    if isinstance(node.value, list):
        if part.isdecimal() and int(part) < len(node.value):
            entry = node.value[int(part)]
            assert isinstance(entry, Node)
            return entry
        message = f"is a list of {len(node.value)}, which has no entry '{part}'"
    else:
        message = f"is {node.value!r}, which has no option '{part}'; write it as a mapping first"
    return Problem(place, node.name, message)


def _put(node: Node, part: str, child: Node) -> None:
    if isinstance(node.value, list):
        node.value[int(part)] = child
    else:
        node.value[part] = child
