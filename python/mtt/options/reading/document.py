"""YAML text as a tree whose every value knows where it was written.

Short forms are expanded and overrides applied on this tree, so that an error found later by the
typed models is still shown at the line that the user wrote.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from mtt.options.reading.problems import Place, Problem
from mtt.options.reading.syntax import syntax_problem
from mtt.options.schema.base import Location

_PREFIX = "tag:yaml.org,2002:"
_MERGE = _PREFIX + "merge"
# Far above any sensible file, below what aliases of aliases can blow up to.
MAX_VALUES: Final = 100_000
MAX_DEPTH: Final = 50
# Of numbers and names; texts may be longer.
MAX_DIGITS: Final = 100


@dataclass(eq=False)
class Node:
    """A value and where it stands; ``value`` is a scalar, a dict of Nodes or a list of Nodes.

    ``name`` is the dotted name as the user wrote it. ``dead`` nodes are known to be wrong and
    are left out of :meth:`plain`, so that the rest can be checked further; ``unknown`` ones among
    them have a name that is no option, so that no other value depends on them.
    """

    value: Any
    place: Place
    name: str = ""
    key_place: Place | None = None
    dead: bool = False
    unknown: bool = False

    def plain(self) -> Any:
        """The value with all Nodes replaced by what they hold."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items() if not node.dead}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value if not node.dead]
        return self.value

    def get(self, key: str) -> "Node | None":
        """The node of ``key`` if this is a mapping that has it and it is not dead."""
        node = self.value.get(key) if isinstance(self.value, dict) else None
        return node if node is not None and not node.dead else None

    def shown_at(self) -> Place:
        """Where to point to for a wrong value: its option's name if the value is not beside it."""
        if self.key_place is None:
            return self.place
        beside = self.place.line == self.key_place.line
        empty = self.value is None or self.value == {}
        return self.place if beside and not empty else self.key_place

    def replaced(self, value: Any) -> "Node":
        """A node with another value that stands where this one does."""
        return Node(value, self.place, self.name, self.key_place)

    def walk(self) -> Iterator["Node"]:
        """This node and everything below it that is not dead."""
        yield self
        children = self.value.values() if isinstance(self.value, dict) else self.value
        if isinstance(self.value, dict | list):
            for child in children:
                if not child.dead:
                    yield from child.walk()


def child_name(parent: str, key: str | int) -> str:
    """Dotted name of an entry: ``training_set[0].systems``."""
    if isinstance(key, int):
        return f"{parent}[{key}]"
    return f"{parent}.{key}" if parent else key


def find(root: Node, location: Location) -> tuple[Node, str, bool]:
    """The node at a pydantic location, else its nearest parent; its full name; whether found.

    Parts of a location that are tags of unions, written ``<...>``, are no keys.
    """
    node, name, exists = root, root.name, True
    for part in location:
        if isinstance(part, str) and part.startswith("<") and part.endswith(">"):
            continue
        following = _step(node, part) if exists else None
        if following is None:
            name, exists = child_name(name, part), False
        else:
            node, name = following, following.name
    return node, name, exists


def _step(node: Node, part: str | int) -> Node | None:
    if isinstance(node.value, dict):
        direct = node.value.get(part)
        if isinstance(direct, Node) and not direct.dead:
            return direct
        for key, child in node.value.items():
            if part in (key, str(key)) and isinstance(child, Node) and not child.dead:
                return child
    if isinstance(node.value, list) and isinstance(part, int):
        alive: list[Node] = [child for child in node.value if not child.dead]
        return alive[part] if part < len(alive) else None
    return None


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as people expect it: ``1e-4`` is a number, ``10:50`` and dates are text."""

    depth = count = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose like PyYAML, within limits."""
        self.depth += 1
        self.count += 1
        if self.depth > MAX_DEPTH or self.count > MAX_VALUES:
            what = "nested too deeply" if self.depth > MAX_DEPTH else "too many values"
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem=what, problem_mark=mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in {_PREFIX + "int", _PREFIX + "float", _PREFIX + "timestamp"}
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_INT = re.compile(r"^[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+)$")
_FLOAT = re.compile(
    r"^([-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
)
_Loader.add_implicit_resolver(_PREFIX + "int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver(_PREFIX + "float", _FLOAT, list("-+.0123456789"))


class _Dumper(yaml.SafeDumper):
    """Puts text in quotes that :class:`_Loader` would read as something else, or other programs."""


_Dumper.yaml_implicit_resolvers = {
    first: [
        *yaml.SafeDumper.yaml_implicit_resolvers.get(first, []),
        *_Loader.yaml_implicit_resolvers.get(first, []),
    ]
    for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *_Loader.yaml_implicit_resolvers}
}


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # PyYAML escapes in double quotes only, and other line ends are read as spaces without.
    plain = all(char.isprintable() or char == "\n" for char in text)
    return dumper.represent_scalar(_PREFIX + "str", text, style=None if plain else '"')


_Dumper.add_representer(str, _represent_text)


def dump(options: Any, width: int = 80) -> str:
    """YAML that :func:`parse` reads as the same values."""
    return yaml.dump(options, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width)


def parse(
    text: str, override: str | None = None, name: str = ""
) -> tuple[Node | None, list[Problem]]:
    """The tree of a YAML text, and what is wrong with the text itself.

    The tree is None if the text is not YAML or holds nothing. With ``override`` all places are
    that override instead of lines.
    """
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        return None, [syntax_problem(error, text, override)]
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        start = Place(before.count("\n"), error.position - before.rfind("\n") - 1, override)
        message = f"not YAML: the character U+{error.character:04X} is not allowed"
        return None, [Problem(start, name, message)]
    except RecursionError:
        return None, [Problem(Place(0, 0, override), name, "not options: nested too deeply")]
    if root is None:
        return None, []
    builder = _Builder(override)
    return builder.build(root, name, None), builder.problems


# stands for a scalar that could not be read and was reported
_WRONG = object()


class _Builder:
    """Turns PyYAML's nodes into Nodes, collecting problems on the way."""

    def __init__(self, override: str | None) -> None:
        self.override = override
        self.problems: list[Problem] = []
        self.open: set[int] = set()
        self.count = 0

    def build(self, node: yaml.Node, name: str, key_place: Place | None) -> Node:
        place = self.place(node)
        self.count += 1
        if id(node) in self.open or self.count > MAX_VALUES:
            reason = "an alias refers to itself" if id(node) in self.open else "too many values"
            return self.refuse(place, name, reason, key_place)
        usual = {yaml.MappingNode: "map", yaml.SequenceNode: "seq"}.get(type(node))
        if usual is not None and node.tag != _PREFIX + usual:
            return self.refuse(
                place, name, f"the YAML tag '{node.tag}' is not supported", key_place
            )
        self.open.add(id(node))
        value: Any
        if isinstance(node, yaml.MappingNode):
            value = self.mapping(node, name)
        elif isinstance(node, yaml.SequenceNode):
            value = [
                self.build(child, child_name(name, index), None)
                for index, child in enumerate(node.value)
            ]
        else:
            value = self.scalar(node, name)
        self.open.discard(id(node))
        if value is _WRONG:
            return Node(None, place, name, key_place, dead=True)
        return Node(value, place, name, key_place)

    def place(self, node: yaml.Node) -> Place:
        return Place(node.start_mark.line, node.start_mark.column, self.override)

    def refuse(self, place: Place, name: str, message: str, key_place: Place | None = None) -> Node:
        if not any(problem.message == message for problem in self.problems):
            self.problems.append(Problem(place, name, message))
        return Node(None, place, name, key_place, dead=True)

    def mapping(self, node: yaml.MappingNode, name: str) -> dict[Any, Node]:
        own: dict[Any, Node] = {}
        merged: dict[Any, Node] = {}
        for key_node, value_node in node.value:
            place = self.place(key_node)
            if key_node.tag == _MERGE:
                merged.update(self.merge(value_node, name))
            elif not isinstance(key_node, yaml.ScalarNode):
                self.refuse(place, name, "the name of an option must be a single word")
            else:
                key = self.scalar(key_node, name)
                full = child_name(name, str(key_node.value))
                if key is _WRONG:
                    continue
                if key in own:
                    first = own[key].key_place
                    line = f" on line {first.line + 1}" if first and not self.override else ""
                    self.problems.append(Problem(place, full, f"given twice; first{line}"))
                else:
                    own[key] = self.build(value_node, full, place)
        return {**merged, **own}

    def merge(self, node: yaml.Node, name: str) -> dict[Any, Node]:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[Any, Node] = {}
        # earlier mappings win over later ones
        for part in reversed(parts):
            built = self.build(part, name, None)
            if isinstance(built.value, dict):
                merged.update(built.value)
            elif not built.dead:
                self.refuse(built.place, name, "'<<' needs a mapping")
        return merged

    def scalar(self, node: yaml.Node, name: str) -> Any:
        text, tag = str(node.value), node.tag.removeprefix(_PREFIX)
        try:
            return _SCALARS[tag](text)
        except _TooLong:
            self.refuse(self.place(node), name, f"a number of {len(text)} characters is too long")
        except KeyError:
            self.refuse(self.place(node), name, f"the YAML tag '{node.tag}' is not supported")
        except ValueError:
            self.refuse(self.place(node), name, f"'{text}' is not of the YAML type '!!{tag}'")
        return _WRONG


class _TooLong(ValueError):
    pass


def _digits(text: str) -> str:
    if len(text) > MAX_DIGITS:
        raise _TooLong
    return text.replace("_", "")


def _bool(text: str) -> bool:
    try:
        return bool(yaml.SafeLoader.bool_values[text.lower()])
    except KeyError:
        raise ValueError(text) from None


_SCALARS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "value": str,
    "merge": str,
    "null": lambda text: None,
    "bool": _bool,
    "int": lambda text: int(_digits(text), 0),
    "float": lambda text: float(re.sub(r"\.(?=inf|nan)", "", _digits(text).lower())),
}
