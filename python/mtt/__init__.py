"""Trains interatomic potentials, keeps checkpoints loadable, verifies exports for MD engines."""

import importlib
from typing import TYPE_CHECKING, Any

from mtt.version import __version__ as __version__

if TYPE_CHECKING:
    from mtt.api.evaluated import evaluate as evaluate
    from mtt.api.loaded_model import load as load
    from mtt.api.trained_run import train as train
    from mtt.verify.run import verify as verify

__all__ = ["__version__", "evaluate", "load", "train", "verify"]

_FROM = {
    "evaluate": "mtt.api.evaluated",
    "load": "mtt.api.loaded_model",
    "train": "mtt.api.trained_run",
}


def __getattr__(name: str) -> Any:
    # Only when it is asked for: the command line must start quickly.
    if name == "verify":
        return importlib.import_module("mtt.verify")
    if name in _FROM:
        return getattr(importlib.import_module(_FROM[name]), name)
    raise AttributeError(f"module 'mtt' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
