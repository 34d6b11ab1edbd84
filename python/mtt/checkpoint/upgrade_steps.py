"""The exact steps from an old version of an architecture, or of the options, to the installed one.

A step never changes what a model predicts; where that is impossible there is none, and the image of
the old version is the way.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mtt import architecture_registry
from mtt.checkpoint.compatibility import check_architecture
from mtt.checkpoint.header import WEIGHTS, Header
from mtt.errors import UserError
from mtt.options.stored import upgrade_options

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]


def to_installed(header: Header, tensors: "Tensors") -> "tuple[Header, Tensors]":
    """A checkpoint in the versions of the installed architecture and of the options, in memory.

    There must be an upgrade for each step, which
    :func:`mtt.checkpoint.compatibility.check_architecture` makes sure of.
    """
    for step in _steps(header):
        tensors = _with_core_tensors(tensors, step.weights)
    return header_to_installed(header), tensors


def header_to_installed(header: Header) -> Header:
    """:func:`to_installed` of the header alone, without torch."""
    for step in _steps(header):
        header = _header_step(header, step)
    return _with_options_of_today(header)


def header_for_today(header: Header) -> Header:
    """:func:`header_to_installed` as far as it goes.

    A header without an exact upgrade keeps its version of the architecture; its options are brought
    to today's version in any case.
    """
    try:
        check_architecture(header)
    except UserError:
        return _with_options_of_today(header)
    return header_to_installed(header)


def _with_options_of_today(header: Header) -> Header:
    options = upgrade_options(header.options)
    if options == header.options:
        return header
    return replace(header, options=options, options_hash=_hash_of(options))


def _steps(header: Header) -> list[architecture_registry.Upgrade]:
    architecture = architecture_registry.get(header.architecture.name)
    versions = range(header.architecture.version, architecture.version)
    return [architecture.upgrades[old] for old in versions]


def _header_step(header: Header, step: architecture_registry.Upgrade) -> Header:
    old = header.architecture
    new = replace(old, version=old.version + 1, hypers=step.hypers(dict(old.hypers)))
    options = dict(header.options)
    if isinstance(options.get("architecture"), dict):
        hypers = {"version": new.version, "model": new.hypers}
        options["architecture"] = {**options["architecture"], **hypers}
    return replace(header, architecture=new, options=options, options_hash=_hash_of(options))


def _hash_of(options: dict[str, Any]) -> str:
    # Most checkpoints need no step, and all options take a tenth of a second to import.
    from mtt.options.schema.options import hash_of_options

    return hash_of_options(options)


def _with_core_tensors(tensors: "Tensors", weights: "Callable[[Tensors], Tensors]") -> "Tensors":
    """Apply ``weights`` to each group of tensors that are named as in the core's state dict."""
    groups: dict[tuple[str, str], Tensors] = {}
    rest: Tensors = {}
    for name, tensor in tensors.items():
        group, _, inner = name.partition("/")
        core, _, kind = inner.partition("/")
        if group in (*WEIGHTS, "optimizer") and core.startswith("core."):
            groups.setdefault((group, kind), {})[core.removeprefix("core.")] = tensor
        else:
            rest[name] = tensor
    for (group, kind), of_core in groups.items():
        ending = f"/{kind}" if kind else ""
        for name, tensor in weights(of_core).items():
            rest[f"{group}/core.{name}{ending}"] = tensor
    return rest
