"""Applies a table of fates to one section of a document tree."""

from collections.abc import Collection, Mapping

from mtt.options.foreign.fates import Absent, Fate, Renamed, Taken, same
from mtt.options.reading.document import Node
from mtt.options.reading.problems import Problem

Problems = list[Problem]


def apply(
    section: Node | None, fates: Mapping[str, Fate], known: Collection[str], problems: Problems
) -> None:
    """Apply a table to a mapping in place; whatever else there is stays as it is.

    :param known: our own options of the section, which a table changes no more
    :param problems: what is not possible is added to it, and taken out of the mapping
    """
    if section is None or not isinstance(section.value, dict):
        return
    for key, node in list(section.value.items()):
        fate = fates.get(key) if isinstance(key, str) and not node.dead else None
        if isinstance(fate, Taken):
            _take(section, key, fate, problems)
        elif isinstance(fate, Absent) and key not in known:
            if not fate.asks_for_nothing(node.plain()):
                place = node.key_place or node.place
                problems.append(Problem(place, node.name, fate.reason, advice=fate.advice))
            del section.value[key]
        elif isinstance(fate, Renamed) and key not in known:
            _rename(section, key, fate, problems)


def move(section: Node, key: str, ours: str, problems: Problems) -> None:
    """Give an option its name here, at its place among the others."""
    node = section.value[key]
    present = section.value.get(ours)
    if present is None:
        section.value = {
            (ours if name == key else name): each for name, each in section.value.items()
        }
        return
    del section.value[key]
    if not same(present.plain(), node.plain()):
        line = "" if present.key_place is None else f" on line {present.key_place.line + 1}"
        message = f"contradicts '{ours}'{line}, which is the same option"
        problems.append(Problem(node.key_place or node.place, node.name, message))


def _take(section: Node, key: str, fate: Taken, problems: Problems) -> None:
    node = section.value[key]
    if any(same(node.plain(), value) for value in fate.left_out) or _refused(
        node, fate.refused, problems
    ):
        del section.value[key]
        return
    for value, ours in fate.values.items():
        if same(node.value, value):
            section.value[key] = node.replaced(ours)


def _rename(section: Node, key: str, fate: Renamed, problems: Problems) -> None:
    node = section.value[key]
    if _refused(node, fate.refused, problems):
        del section.value[key]
        return
    for value, ours in fate.values.items():
        if same(node.value, value):
            section.value[key] = node.replaced(ours)
    move(section, key, fate.ours, problems)


def _refused(node: Node, refused: Mapping[str, str], problems: Problems) -> bool:
    words = [node.value] if isinstance(node.value, str) else []
    words += (
        [key for key in node.value if isinstance(key, str)] if isinstance(node.value, dict) else []
    )
    reasons = [refused[word] for word in words if word in refused]
    problems += [Problem(node.shown_at(), node.name, reason) for reason in reasons[:1]]
    return bool(reasons)
