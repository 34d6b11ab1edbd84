"""The examples of docs/develop run as they stand there, and the files that the pages name are there."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from mtt import architecture_registry
from mtt.architectures.contract import ArchitectureContract
from mtt.data.reader import InMemory, Selection
from mtt.data.structure import content_hash
from mtt.data.target import Target
from mtt.options import load_options
from mtt.options.schema.loss_parts import LossOptions
from mtt.options.schema.options import options_class

ROOT = Path(__file__).parents[2]
DEVELOP = ROOT / "docs" / "develop"
NAMED_BLOCK = re.compile(r"^```python\n# (\w+)\.py\n(.*?)^```", re.MULTILINE | re.DOTALL)
ENTRY_POINTS = re.compile(r"^```toml\n\[project\.entry-points\.(\".*?\")\]\n(.*?)^```", re.M | re.S)
# Placeholders are written in capitals.
REPOSITORY_PATH = re.compile(r"`((?:python|csrc|tests|containers|docs)/[^`\s]*)`")
CONTRACT = [name for name in dir(ArchitectureContract) if name.startswith("test_")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder on the path with every named example as a module, and the package of the first page."""
    folder = tmp_path_factory.mktemp("site")
    names = []
    for page in sorted(DEVELOP.glob("*.md")):
        for name, text in NAMED_BLOCK.findall(page.read_text("utf-8")):
            (folder / f"{name}.py").write_text(text, "utf-8")
            names.append(name)
    installed = folder / "mynet-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: mynet\nVersion: 1.0\n")
    ((group, points),) = ENTRY_POINTS.findall((DEVELOP / "architecture.md").read_text("utf-8"))
    lines = [f"[{group.strip(chr(34))}]", *(line.replace('"', "") for line in points.splitlines())]
    (installed / "entry_points.txt").write_text("\n".join(lines) + "\n")
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    options_class.cache_clear()
    yield folder
    sys.path.remove(str(folder))
    options_class.cache_clear()
    for name in names:
        sys.modules.pop(name, None)


def example(name: str) -> ModuleType:
    return importlib.import_module(name)


def test_the_architecture_is_registered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert architecture_registry.names() == ["composition", "mace", "mynet", "pet", "soap_bpnn"]
    monkeypatch.chdir(folder)
    Path("data.xyz").touch()
    Path("options.yaml").write_text(
        "architecture: {name: mynet, model: {width: 8}}\ntraining_set: data.xyz\n"
    )
    options = load_options("options.yaml")
    assert options.architecture.model.width == 8
    assert options.architecture.model.cutoff == 4.0


@pytest.mark.parametrize("test", CONTRACT)
def test_the_architecture_keeps_the_contract(folder: Path, test: str) -> None:
    getattr(example("test_mynet").TestMyNet(), test)()


@pytest.mark.parametrize(
    "test", ["test_shapes_and_dtypes", "test_requests_per_system_and_per_atom"]
)
def test_the_contract_takes_other_targets(folder: Path, test: str) -> None:
    getattr(example("test_targets").TestSpins(), test)()


def test_the_reader(folder: Path) -> None:
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "z": np.array([8, 1, 1]),
        "x": random.normal(size=(5, 3, 3)),
        "energy": random.normal(size=5),
        "forces": random.normal(size=(5, 3, 3)),
    }
    path = folder / "water.npz"
    np.savez(path, **arrays)
    reader = example("npz_reader").NpzReader(path)
    assert len(reader) == 5 and reader.types == [1, 8]
    assert reader.fingerprints()[0] == content_hash(InMemory(list(reader)))
    assert [structure.source for structure in reader[3:]] == [f"{path}#3", f"{path}#4"]
    assert Selection(reader, [4])[0].references["energy"].values == arrays["energy"][4]
    with pytest.raises(IndexError):
        reader[5]


def test_the_loss(folder: Path) -> None:
    term = example("log_cosh").LogCosh(Target("energy"), LossOptions())
    errors = torch.tensor([-3.0, -0.5, 0.5, 3.0], dtype=torch.float64, requires_grad=True)
    loss = term.elementwise(errors, "mse", 1.0)
    torch.testing.assert_close(loss, torch.log(torch.cosh(errors)))
    (gradient,) = torch.autograd.grad(loss.sum(), errors)
    torch.testing.assert_close(gradient, torch.tanh(errors))
    assert torch.isfinite(term.elementwise(torch.tensor([1e6]), "mse", 1.0)).all()


def test_the_pages_name_files_that_are_there() -> None:
    missing = []
    for page in sorted(DEVELOP.glob("*.md")):
        for path in REPOSITORY_PATH.findall(page.read_text("utf-8")):
            placeholder = re.search(r"[A-Z]{4,}", path)
            if not placeholder and not list(ROOT.glob(path.rstrip("/"))):
                missing.append(f"{page.name}: {path}")
    assert missing == []
