"""Finds architectures by name: the built-in ones, and those that other packages register.

Another package registers an :class:`Architecture` through an entry point::

    [project.entry-points."mtt.architectures"]
    mynet = "my_package.mtt_plugin:architecture"

Nothing here imports torch, so options are validated before any heavy import.
"""

import difflib
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from mtt.errors import UserError

if TYPE_CHECKING:
    import torch
    from pydantic import BaseModel

ENTRY_POINT_GROUP = "mtt.architectures"
# name -> module that holds an `architecture` object
_BUILT_IN = {
    "composition": "mtt.architectures.composition",
    "mace": "mtt.architectures.mace",
    "pet": "mtt.architectures.pet",
    "soap_bpnn": "mtt.architectures.soap_bpnn",
}


@dataclass(frozen=True)
class Upgrade:
    """One step from a version of an architecture to the next, after which a model predicts the same.

    ``hypers`` gets the stored hypers and returns those of the next version. ``weights`` does so with
    tensors by name, in the core's state dict: it is called for the weights of the model and of the
    best epoch, and for each kind of moment that the optimizer keeps, where names may be missing.
    ``refuses`` gets the stored hypers and says why models with these have no exact step, or None.
    """

    hypers: Callable[[dict[str, Any]], dict[str, Any]] = dict
    weights: "Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]" = dict
    refuses: Callable[[dict[str, Any]], str | None] = lambda _: None


@dataclass(frozen=True)
class Architecture:
    """What the trainer, the checkpoint and the exporter need to know about one architecture.

    ``version`` is increased whenever a state dict of an older version would no longer load or
    would give other numbers. ``build_core(hypers, atomic_types, targets)``
    makes the :class:`mtt.architectures.interface.Core` that maps a
    :class:`mtt.data.graph.Graph` to raw values of atoms for each
    :class:`mtt.data.target.Target`; it imports torch itself.
    ``refuses(hypers, target)`` says why models with these hypers cannot have a target, or None.
    ``has_weights`` is False for one that training changes nothing of.
    ``packages`` are those beside torch whose versions decide its numbers: checkpoints record them.
    ``references`` has the lists "model", "architecture" and "implementation". ``upgrades`` has the
    exact step from each older version to the next one; a version that is not in it needs the image
    that has it, because predictions would change. ``old_defaults`` has, for older versions, options of
    the model by name (sections as mappings) whose defaults were others than now, with those: a run
    that began with them is resumed with them.
    """

    name: str
    version: int
    ModelHypers: "type[BaseModel]"
    TrainingHypers: "type[BaseModel]"
    build_core: Callable[[Any, Sequence[int], Sequence[Any]], Any]
    refuses: Callable[[Any, Any], str | None] = lambda hypers, target: None
    packages: tuple[str, ...] = ()
    has_weights: bool = True
    references: dict[str, list[str]] = field(default_factory=dict)
    upgrades: Mapping[int, Upgrade] = field(default_factory=dict)
    old_defaults: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    def why_not_upgraded(self, version: int, hypers: dict[str, Any]) -> str | None:
        """Why no exact steps lead from a model of an older version to this one; None if they do."""
        for old in range(version, self.version):
            if old not in self.upgrades:
                return "its predictions would change in an upgrade"
            step = self.upgrades[old]
            reason = step.refuses(hypers)
            if reason is not None:
                return f"its predictions would change in an upgrade, as {reason}"
            hypers = step.hypers(dict(hypers))
        return None


def names() -> list[str]:
    """Names that :func:`get` accepts, sorted; no plug-in is imported to list them."""
    return sorted({*_BUILT_IN, *(point.name for point in _plugins())})


def get(name: str) -> Architecture:
    """The architecture called ``name``; a built-in one wins over a plug-in of the same name.

    Raises :class:`UserError` when the name is unknown, or when its plug-in cannot be loaded.
    """
    if name in _BUILT_IN:
        architecture = importlib.import_module(_BUILT_IN[name]).architecture
        assert isinstance(architecture, Architecture)
        return architecture
    matches = [point for point in _plugins() if point.name == name]
    if not matches:
        raise UserError(unknown_name(name))
    return _load(matches)


def package_of(name: str) -> tuple[str, str] | None:
    """Name and version of the package whose plug-in an architecture is; None for a built-in one."""
    if name in _BUILT_IN:
        return None
    packages = [point.dist for point in _plugins() if point.name == name and point.dist is not None]
    return (packages[0].name, packages[0].version) if packages else None


def unknown_name(name: str) -> str:
    """One line saying that no architecture is called ``name``, with the nearest name if any."""
    known = names()
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"unknown architecture '{name}'; did you mean '{close[0]}'?"
    return f"unknown architecture '{name}'; known: {', '.join(known)}"


def _plugins() -> list[EntryPoint]:
    return list(entry_points(group=ENTRY_POINT_GROUP))


def _load(matches: list[EntryPoint]) -> Architecture:
    name = matches[0].name
    origins = sorted({_origin(point) for point in matches})
    if len({point.value for point in matches}) > 1:
        raise UserError(
            f"the architecture '{name}' is registered by more than one package",
            where=", ".join(origins),
            hint="uninstall all of them but one",
        )
    point = matches[0]
    try:
        loaded = point.load()
    except Exception as error:  # a plug-in may fail in any way; the user must learn which one
        raise UserError(
            f"the plug-in of architecture '{name}' could not be loaded: "
            f"{type(error).__name__}: {error}",
            where=f"{_origin(point)}, entry point {point.value}",
            hint="repair, update or uninstall that package",
        ) from error
    if not isinstance(loaded, Architecture) or loaded.name != name:
        what = f"'{loaded.name}'" if isinstance(loaded, Architecture) else type(loaded).__name__
        raise UserError(
            f"the plug-in of architecture '{name}' must give an mtt Architecture of that name, "
            f"not {what}",
            where=f"{_origin(point)}, entry point {point.value}",
            hint="report this to the authors of that package",
        )
    return loaded


def _origin(point: EntryPoint) -> str:
    return f"package {point.dist.name}" if point.dist is not None else "unknown package"
