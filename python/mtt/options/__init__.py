"""Typed options: reading, checking and explaining options.yaml. Imports no torch."""

from mtt.options.reading.load import load_eval_options, load_metadata, load_options, load_recorded
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
