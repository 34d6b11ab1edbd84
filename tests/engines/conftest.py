"""Makes the toy models importable and exports each of them once."""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

# torch announces the end of TorchScript wherever it is used, also while metatensor is imported.
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=".torch.jit", category=DeprecationWarning)
    from small_pet import checkpoint_of_pet, export_pet
    from toy_models import MODELS, export_toy


@pytest.fixture(scope="session")
def pet_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of a small untrained PET in float64."""
    return checkpoint_of_pet(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def exported(
    tmp_path_factory: pytest.TempPathFactory, pet_checkpoint: Path
) -> Callable[[str], Path]:
    """``exported("pair")``, ``exported("pet")``: path of that model in float64."""
    folder = tmp_path_factory.mktemp("exports")
    paths = {name: export_toy(folder / f"{name}.pt", name) for name in MODELS}
    return {**paths, "pet": export_pet(pet_checkpoint, folder / "pet.pt")}.__getitem__
