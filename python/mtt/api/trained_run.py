"""Training from Python, and what a run has left."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mtt.api.loaded_model import LoadedModel, load
from mtt.checkpoint import Header, read_header
from mtt.options import load_options
from mtt.report.metrics import read_rows


@dataclass(frozen=True)
class Run:
    """A finished run: ``folder`` has its log, metrics and pictures; ``checkpoint`` and ``model`` are
    what it made."""

    folder: Path
    checkpoint: Path
    model: Path

    def __repr__(self) -> str:
        best = self.header.best
        value = "" if best.value is None else f", {best.metric} {best.value:.4g}"
        return f"<run {str(self.folder)!r}: best epoch {best.epoch} of {len(self.metrics)}{value}>"

    @cached_property
    def header(self) -> Header:
        """Return the header of the checkpoint."""
        return read_header(self.checkpoint)

    @cached_property
    def metrics(self) -> list[dict[str, float]]:
        """Return a row for each epoch, with the names and units of ``metrics.csv``."""
        return read_rows(self.folder / "metrics.csv")

    @cached_property
    def errors(self) -> dict[str, Any]:
        """Return the errors of the best model on the validation and the test set, or on the training set
        if there is neither."""
        content: dict[str, Any] = json.loads((self.folder / "errors.json").read_text())
        return content

    def load(self, device: str = "auto") -> LoadedModel:
        """Return the model with the weights of the best epoch."""
        return load(self.checkpoint, device)


def train(
    options: Mapping[str, Any] | str | os.PathLike[str],
    output: str | os.PathLike[str] = "model.pt",
    continue_from: str | os.PathLike[str] | None = None,
) -> Run:
    """Train as ``mtt train`` does, in the current folder, and return the run.

    :param options: what an options file says, as a mapping, or its path
    :param output: the model file to write, with the checkpoint beside it
    :param continue_from: a checkpoint to resume from, or ``"auto"``
    :raises UserError: as :func:`mtt.training.run.run`
    :raises VerificationFailed: the exported model failed a check
    """
    from mtt.training import run as training

    checked = load_options(options if isinstance(options, Mapping) else Path(options))
    source = None if continue_from is None else str(continue_from)
    folder = training.run(checked, source, Path(output))
    assert folder is not None  # as only a dry run has none
    return Run(folder, Path(output).with_suffix(".ckpt"), Path(output))
