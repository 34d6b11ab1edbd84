"""Imports mace-torch and e3nn without what they do to a process on the way; needs no torch before."""

import contextlib
import importlib.util
import io
import os
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from mtt.errors import UserError

_HINT = 'pip install "mtt[mace]"'
# mace sets it for the process and all that it starts: files of weights could then run code again.
_UNSAFE = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


def check_installed() -> None:
    """Tell early, before anything is imported, that mace-torch is missing.

    :raises UserError: it is not installed
    """
    if importlib.util.find_spec("mace") is None:
        raise UserError(
            "the architecture 'mace' needs the package mace-torch, which is not installed",
            hint=_HINT,
        )


def imported() -> Any:
    """Return ``e3nn``, its ``o3`` and ``normalize2mom``, and the ``blocks`` of mace-torch.

    :raises UserError: they are not installed, or cannot be imported
    """
    import torch

    check_installed()
    before = os.environ.get(_UNSAFE)
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            # mace-torch prints which accelerators it does not find.
            contextlib.redirect_stdout(io.StringIO()),
            # e3nn reads tables when it is imported; they hold slices, and nothing that runs.
            torch.serialization.safe_globals([slice]),
        ):
            import e3nn
            from e3nn import o3
            from e3nn.math import normalize2mom
            from mace.modules import blocks
    except ImportError as error:
        raise UserError(
            f"the package mace-torch cannot be imported: {error}", hint=f"install it again: {_HINT}"
        ) from error
    finally:
        os.environ.pop(_UNSAFE, None)
        if before is not None:
            os.environ[_UNSAFE] = before
    return SimpleNamespace(e3nn=e3nn, o3=o3, blocks=blocks, normalize2mom=normalize2mom)


@contextlib.contextmanager
def exact_construction(e3nn: Any) -> Iterator[None]:
    """Let blocks make their constants in float64, of code that is not scripted yet."""
    import torch

    dtype = torch.get_default_dtype()
    scripted = e3nn.get_optimization_defaults()["jit_script_fx"]
    try:
        torch.set_default_dtype(torch.float64)
        e3nn.set_optimization_defaults(jit_script_fx=False)
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        torch.set_default_dtype(dtype)
        e3nn.set_optimization_defaults(jit_script_fx=scripted)
