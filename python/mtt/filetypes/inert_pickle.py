"""What a pickle would build, as plain data: nothing in it is imported, called or executed.

The standard library only splits the bytes into opcodes; what the opcodes do to the stack is done here with
dictionaries, lists and :class:`Thing`, which only remembers the name of what would have been called.
Bytes and opcodes are limited, and what is built is never walked blindly: it may refer to itself.
"""

import io
import pickletools
import struct
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

MAX_BYTES: Final = 4 * 2**20
MAX_OPCODES: Final = 200_000

# Opcodes that bring a value of their own: numbers, texts and bytes.
_LITERALS: Final = frozenset(
    opcode.name
    for opcode in pickletools.opcodes
    if opcode.arg is not None
    and not opcode.stack_before
    and opcode.stack_after not in ([], [pickletools.anyobject])
)
_CONSTANTS: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_RECONSTRUCTORS: Final = ("copyreg._reconstructor", "copy_reg._reconstructor")


@dataclass(eq=False, slots=True)
class Thing:
    """A class or function by its full name; with ``arguments``, what calling it would give."""

    name: str
    arguments: Any = None
    state: Any = None


@dataclass(eq=False)
class Inert:
    """One pickle: its root, the names it refers to, and whether its end was reached.

    ``complete`` is False where the bytes are wrong or too many; ``root`` then is what there was.
    """

    root: Any = None
    names: list[str] = field(default_factory=list)
    complete: bool = False
    opcodes: int = 0


def read(stream: io.BytesIO) -> Inert:
    """The pickle at the position of ``stream``, which is left behind it. Never raises."""
    machine = _Machine()
    content = Inert(names=machine.names)
    with warnings.catch_warnings():
        # The library has an opinion on escapes in old pickles.
        warnings.simplefilter("ignore")
        # Of wrong bytes anything may come: the opcodes are right, but their order is not.
        with suppress(ValueError, LookupError, TypeError, AttributeError, struct.error):
            content.complete = _run(machine, content, stream)
    content.root = machine.stack[-1] if content.complete else machine.unfinished()
    return content


def _run(machine: "_Machine", content: Inert, stream: io.BytesIO) -> bool:
    """Whether the end was reached, with something to show."""
    for opcode, argument, _ in pickletools.genops(stream):
        content.opcodes += 1
        if opcode.name == "STOP" or content.opcodes > MAX_OPCODES:
            return opcode.name == "STOP" and bool(machine.stack)
        machine.step(opcode.name, argument)
    return False


class _Machine:
    """The stack and memo of an unpickler. Below each mark, the items that come after it."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.names: list[str] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Do what one opcode does."""
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "EMPTY_SET"):
            self.stack.append({} if name == "EMPTY_DICT" else [])
        elif name == "MARK":
            self._below.append(self.stack)
            self.stack = []
        else:
            getattr(self, f"_{name.lower()}", self._ignore)(argument)

    def unfinished(self) -> Any:
        """The root of a pickle that breaks off: open containers get the items that there are."""
        while True:
            last = self.stack[-2:]
            if len(last) == 2 and isinstance(last[0], Thing) and isinstance(last[1], dict):
                self._build(None)
            if not self._below:
                return self.stack[0] if self.stack else None
            items = self._to_mark()
            if self.stack:
                _fill(self.stack[-1], items)

    def _ignore(self, argument: Any) -> None:
        """PROTO, FRAME and the like change nothing."""

    def _to_mark(self) -> list[Any]:
        items, self.stack = self.stack, self._below.pop()
        return items

    def _pop(self, argument: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self._to_mark()

    def _pop_mark(self, argument: Any) -> None:
        self._to_mark()

    def _dup(self, argument: Any) -> None:
        self.stack.append(self.stack[-1])

    def _put(self, argument: Any) -> None:
        self._memo[argument] = self.stack[-1]

    _binput = _long_binput = _put

    def _memoize(self, argument: Any) -> None:
        self._memo[len(self._memo)] = self.stack[-1]

    def _get(self, argument: Any) -> None:
        self.stack.append(self._memo[argument])

    _binget = _long_binget = _get

    def _list(self, argument: Any) -> None:
        items = self._to_mark()
        self.stack.append(items)

    _tuple = _frozenset = _list

    def _tuple1(self, argument: Any) -> None:
        self._gather(1)

    def _tuple2(self, argument: Any) -> None:
        self._gather(2)

    def _tuple3(self, argument: Any) -> None:
        self._gather(3)

    def _gather(self, count: int) -> None:
        items = [self.stack.pop() for _ in range(count)]
        self.stack.append(items[::-1])

    def _dict(self, argument: Any) -> None:
        items = self._to_mark()
        entries: dict[str, Any] = {}
        _fill(entries, items)
        self.stack.append(entries)

    def _append(self, argument: Any) -> None:
        item = self.stack.pop()
        _fill(self.stack[-1], [item])

    def _setitem(self, argument: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _fill(self.stack[-1], [key, value])

    def _appends(self, argument: Any) -> None:
        items = self._to_mark()
        _fill(self.stack[-1], items)

    _setitems = _additems = _appends

    def _global(self, argument: Any) -> None:
        module, _, name = argument.partition(" ")
        self._name(module, name)

    def _stack_global(self, argument: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self._name(module, name)

    def _name(self, module: str, name: str) -> None:
        full = ".".join((module, name))  # raises for what is not text
        self.names.append(full)
        self.stack.append(Thing(full))

    def _reduce(self, argument: Any) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        self._call(called, arguments)

    _newobj = _reduce

    def _newobj_ex(self, argument: Any) -> None:
        self.stack.pop()
        self._reduce(argument)

    def _obj(self, argument: Any) -> None:
        called, *arguments = self._to_mark()
        self._call(called, arguments)

    def _inst(self, argument: Any) -> None:
        arguments = self._to_mark()
        self._global(argument)
        self._call(self.stack.pop(), arguments)

    def _call(self, called: Thing, arguments: Any) -> None:
        if called.name in _RECONSTRUCTORS:
            called = arguments[0]
        if called.name == "collections.OrderedDict":
            self.stack.append({})
        else:
            self.stack.append(Thing(called.name, arguments))

    def _build(self, argument: Any) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Thing):
            self.stack[-1].state = state

    def _persid(self, argument: Any) -> None:
        self.stack.append(Thing("persistent id", argument))

    def _binpersid(self, argument: Any) -> None:
        self.stack.append(Thing("persistent id", self.stack.pop()))

    def _ext1(self, argument: Any) -> None:
        self.stack.append(Thing("extension", argument))

    _ext2 = _ext4 = _ext1

    def _next_buffer(self, argument: Any) -> None:
        self.stack.append(Thing("buffer"))


def _fill(container: Any, items: list[Any]) -> None:
    """Put items into a dictionary or a list; what is not a text is left out as a key."""
    if isinstance(container, dict):
        pairs = zip(items[::2], items[1::2], strict=False)
        container.update((key, value) for key, value in pairs if isinstance(key, str))
    elif isinstance(container, list):
        container.extend(items)
