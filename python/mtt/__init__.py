"""Trains interatomic potentials, keeps checkpoints loadable, verifies exports for MD engines."""

import importlib
from typing import TYPE_CHECKING, Any

from mtt.version import __version__ as __version__

if TYPE_CHECKING:
    from mtt.verify.run import verify as verify


def __getattr__(name: str) -> Any:
    # Only when it is asked for: the command line must start quickly.
    if name == "verify":
        return importlib.import_module("mtt.verify")
    raise AttributeError(f"module 'mtt' has no attribute '{name}'")
