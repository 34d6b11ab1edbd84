"""Makes the toy models importable and exports each of them once."""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

# torch announces the end of TorchScript wherever it is used, also while metatensor is imported.
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=".torch.jit", category=DeprecationWarning)
    from toy_models import MODELS, export_toy


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``exported("pair")``: path of that toy model in float64."""
    folder = tmp_path_factory.mktemp("exports")
    return {name: export_toy(folder / f"{name}.pt", name) for name in MODELS}.__getitem__
