"""Typed options: reading, checking and explaining options.yaml. Imports no torch."""

from mtt.options.base import OptionsModel, parse_slice
from mtt.options.dataset import (
    DatasetOptions,
    GradientOptions,
    SplitOptions,
    SystemsOptions,
    TargetOptions,
)
from mtt.options.load import load_eval_options, load_metadata, load_options, load_recorded
from mtt.options.metadata import Metadata, References
from mtt.options.model import ArchitectureOptions, Options, options_hash
from mtt.options.problems import OptionsError, Problem
from mtt.options.training import LossOptions, TrainingHypers

__all__ = [
    "ArchitectureOptions",
    "DatasetOptions",
    "GradientOptions",
    "LossOptions",
    "Metadata",
    "Options",
    "OptionsError",
    "OptionsModel",
    "Problem",
    "References",
    "SplitOptions",
    "SystemsOptions",
    "TargetOptions",
    "TrainingHypers",
    "load_eval_options",
    "load_metadata",
    "load_options",
    "load_recorded",
    "options_hash",
    "parse_slice",
]
