"""A small PET through the real stages: options, training, checkpoint, export."""

from pathlib import Path

import pytest
from small_runs import leave_undrawn, make_options

from mtt import checkpoint as checkpoints
from mtt.export import provenance
from mtt.export import run as export
from mtt.export.torchscript import export_bytes
from mtt.files import sha256_of
from mtt.training import run as train


def checkpoint_of_pet(folder: Path, precision: int = 64) -> Path:
    """PET for H, C, O and Cu after three tiny epochs, in float32 or float64."""
    options = make_options(folder, base_precision=precision)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # The test exports it itself, without the verifier.
        leave_undrawn(patch)
        patch.setattr(export, "run", lambda *args, **kwargs: None)
        train.run(options, None, Path("pet.pt"))
    return folder / "pet.ckpt"


def export_pet(checkpoint: Path, output: Path) -> Path:
    """The best weights as a file that nobody has verified, made in this process, which is quicker."""
    header, tensors = checkpoints.read(checkpoint)
    potential = checkpoints.load_potential(header, tensors, "best")
    record = provenance.record(header, sha256_of(checkpoint), "best", None, False)
    output.write_bytes(export_bytes(potential, header, tensors, record))
    return output
