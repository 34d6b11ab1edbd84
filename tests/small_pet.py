"""A small PET through the real stages: options, training, checkpoint, export."""

import warnings
from pathlib import Path

import pytest
from small_runs import make_options

from mtt.stages import export, train


def checkpoint_of_pet(folder: Path, precision: int = 64) -> Path:
    """PET for H, C, O and Cu after three tiny epochs, in float32 or float64."""
    options = make_options(folder, base_precision=precision)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # The test exports it itself, without the verifier.
        patch.setattr(export, "run", lambda *args, **kwargs: None)
        train.run(options, None, Path("pet.pt"))
    return folder / "pet.ckpt"


def export_pet(checkpoint: Path, output: Path) -> Path:
    """The best weights as a file that nobody has verified."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*without verification")
        return export.run(checkpoint, output, verify="none")
