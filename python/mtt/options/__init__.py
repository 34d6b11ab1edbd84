"""Typed options: reading, checking and explaining options.yaml. Imports no torch.

What is named here is imported when it is asked for: whoever needs the hypers of one architecture, as an
export does, waits for no reader of other programs' options.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mtt.options.reading.load import (
        load_eval_options,
        load_metadata,
        load_options,
        load_recorded,
    )
    from mtt.options.reading.problems import OptionsError, Problem
    from mtt.options.schema.base import OptionsModel, parse_slice
    from mtt.options.schema.datasets import (
        DatasetOptions,
        GradientOptions,
        SplitOptions,
        SystemsOptions,
        TargetOptions,
    )
    from mtt.options.schema.loss_parts import LossOptions, PartLossOptions, TargetLossOptions
    from mtt.options.schema.metadata import Metadata, References
    from mtt.options.schema.options import ArchitectureOptions, Options, options_hash
    from mtt.options.schema.training import TrainingHypers

__all__ = [
    "ArchitectureOptions",
    "DatasetOptions",
    "GradientOptions",
    "LossOptions",
    "PartLossOptions",
    "Metadata",
    "Options",
    "OptionsError",
    "OptionsModel",
    "Problem",
    "References",
    "SplitOptions",
    "SystemsOptions",
    "TargetLossOptions",
    "TargetOptions",
    "TrainingHypers",
    "load_eval_options",
    "load_metadata",
    "load_options",
    "load_recorded",
    "options_hash",
    "parse_slice",
]

_FROM: Final = {
    "mtt.options.reading.load": (
        "load_eval_options",
        "load_metadata",
        "load_options",
        "load_recorded",
    ),
    "mtt.options.reading.problems": ("OptionsError", "Problem"),
    "mtt.options.schema.base": ("OptionsModel", "parse_slice"),
    "mtt.options.schema.datasets": (
        "DatasetOptions",
        "GradientOptions",
        "SplitOptions",
        "SystemsOptions",
        "TargetOptions",
    ),
    "mtt.options.schema.loss_parts": ("LossOptions", "PartLossOptions", "TargetLossOptions"),
    "mtt.options.schema.metadata": ("Metadata", "References"),
    "mtt.options.schema.options": ("ArchitectureOptions", "Options", "options_hash"),
    "mtt.options.schema.training": ("TrainingHypers",),
}
_MODULES: Final = {name: module for module, names in _FROM.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'mtt.options' has no attribute '{name}'")
    globals()[name] = value = getattr(importlib.import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
