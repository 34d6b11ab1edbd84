"""The fault corpus: ways an export goes wrong in an MD engine, and the check that must kill each.

A fault is a toy model class with one method broken, or a function that writes a broken file. It is
registered with :func:`fault` under the number of its failure mode; ``test_faults.py`` runs the real
``mtt-verify`` on each of them.
"""

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from toy_models import ToyModel, export_toy


@dataclass(frozen=True)
class Fault:
    """One broken export.

    - ``number``: of the failure mode, for example ``D06``;
    - ``name``: unique;
    - ``checks``: what ``mtt-verify`` calls those that must fail, as ``FAMILY/name``, with ``@TARGET``
      where one target must fail and no other;
    - ``description``: one line on what is wrong;
    - ``build``: writes the export to the path given;
    - ``arguments``: further ones for ``mtt-verify``.
    """

    number: str
    name: str
    checks: tuple[str, ...]
    description: str
    build: Callable[[Path], object]
    arguments: tuple[str, ...] = ()

    @property
    def families(self) -> list[str]:
        """Families of checks to run."""
        return sorted({check.split("/")[0] for check in self.checks})

    @property
    def only(self) -> str:
        """The checks to run, as ``--only`` takes them."""
        return ",".join(check.partition("@")[0] for check in self.checks)


CORPUS: dict[str, Fault] = {}
T = TypeVar("T", bound=Callable[..., Any])


def fault(
    number: str,
    *checks: str,
    truth: Any = "pair",
    arguments: tuple[str, ...] = (),
    exporter: Callable[..., object] | None = None,
    **export: Any,
) -> Callable[[T], T]:
    """Register the decorated model class or builder function; its docstring is the description.

    :param checks: ``FAMILY/name`` of each check that must fail, as the report names them
    :param truth: sound model that makes the golden pack of a faulty class; None: the class itself,
        for models that were wrong from the start
    :param arguments: further ones for ``mtt-verify``
    :param exporter: called with path and class instead of :func:`toy_models.export_toy`
    :param export: further arguments of :func:`toy_models.export_toy`
    """

    def register(target: T) -> T:
        name = target.__name__
        if isinstance(target, type):
            name = "".join("_" + c.lower() if c.isupper() else c for c in name).strip("_")
        if name in CORPUS:
            raise ValueError(f"two faults are called {name}")
        description = " ".join((target.__doc__ or "").split())
        build: Any = target
        if isinstance(target, type) and exporter is not None:
            build = functools.partial(_export_by, exporter, target)
        elif isinstance(target, type):
            build = _exporter(target, truth, export)
        CORPUS[name] = Fault(number, name, checks, description, build, arguments)
        return target

    return register


def _export_by(exporter: Callable[..., object], kind: type[ToyModel], path: Path) -> object:
    return exporter(path, kind)


def _exporter(kind: type[ToyModel], truth: Any, export: dict[str, Any]) -> Callable[[Path], Path]:
    return lambda path: export_toy(path, kind, reference_model=truth, **export)


def load_corpus() -> dict[str, Fault]:
    """Import every module beside this one that registers faults."""
    for path in sorted(Path(__file__).parent.glob("faults_*.py")):
        importlib.import_module(path.stem)
    return CORPUS
