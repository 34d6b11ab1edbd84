"""What code may use: hundreds of hostile archives are refused unread, and no common model is."""

# ruff: noqa: UP006, UP035, UP045  (TorchScript wants the names of typing)

import json
import subprocess
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import hostile_scripts
import pytest
import torch
from metatomic.torch import System
from torch import nn
from toy_models import ToyModel, export_toy

from mtt.errors import UserError, VerificationFailed
from mtt.export import archive_edit
from mtt.verify import operators
from mtt.verify import run as stage

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning"),
]
Found = Dict[str, List[List[Any]]]


def scan(paths: List[Path]) -> Found:
    """What the program refuses in each file: name, record, line and reason; it loads none."""
    command = [str(stage.program()), "--scan", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {Path(line["path"]).name: line["foreign"] for line in lines}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Tuple[List[Path], Found]:
    paths = hostile_scripts.write_all(tmp_path_factory.mktemp("hostile"))
    return paths, scan(paths)


def test_every_hostile_archive_is_refused(hostile: Tuple[List[Path], Found]) -> None:
    paths, found = hostile
    assert len(paths) > 400
    assert [path.name for path in paths if not found[path.name]] == []


def test_code_is_refused_for_its_code(hostile: Tuple[List[Path], Found]) -> None:
    _, found = hostile
    of_code = {name: rows for name, rows in found.items() if name.startswith("code-")}
    assert len(of_code) > 300
    for name, rows in of_code.items():
        assert any("code/" in record.lower() for _, record, *_ in rows), name


def test_most_of_it_is_what_libtorch_would_load(hostile: Tuple[List[Path], Found]) -> None:
    """The archives are attacks, not rubbish: the loader has nothing against them."""
    loaded = 0
    for path in hostile[0]:
        if path.name.startswith("code-") and "deep" not in path.name and "long" not in path.name:
            try:
                torch.jit.load(path)
                loaded += 1
            except (RuntimeError, IndexError, UnicodeDecodeError):
                continue
    assert loaded > 150


def test_the_archive_they_are_made_from_is_not(tmp_path: Path) -> None:
    hostile_scripts.write(tmp_path / "plain.pt", hostile_scripts.base())
    assert scan([tmp_path / "plain.pt"]) == {"plain.pt": []}


class Algebra(nn.Module):
    """Linear algebra."""

    def forward(self, x: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        """Return something of all."""
        q, r = torch.linalg.qr(x)
        _, s, _ = torch.linalg.svd(x)
        w, _ = torch.linalg.eigh(x @ x.T)
        a = torch.linalg.solve(x, q) + torch.linalg.inv(x) + torch.linalg.det(x)
        b = torch.linalg.norm(x) + torch.linalg.vector_norm(x, dim=-1) + torch.linalg.pinv(x)
        c = torch.linalg.cholesky(x @ x.T + torch.eye(3)) + torch.linalg.cross(x, x)
        return a + b + c, torch.einsum("ij,jk->ik", x, r) + s + w


class Scatter(nn.Module):
    """Indices."""

    def forward(self, x: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
        """Return something of all."""
        y = torch.zeros(4, 3).scatter_add_(0, i, x).scatter(0, i, x)
        y = y.scatter_reduce(0, i, x, "sum").index_add(0, i[:, 0], x) + torch.gather(x, 0, i).sum()
        y[i[:, 0]] += 1.0
        y[x[:, 0] > 0, 0] = 2.0
        z, inverse = torch.unique_consecutive(i, return_inverse=True)
        y = torch.where(y > 0, y, -y).masked_fill(y > 1, 0.0)[..., None].squeeze(-1)
        y = y + torch.unique(i).sum() + torch.searchsorted(z, i).sum() + torch.bincount(z).sum()
        return y + torch.repeat_interleave(z, 2).sum() + torch.topk(x, 1)[0].sum() + inverse.sum()


class Fourier(nn.Module):
    """Transforms."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return something of all."""
        f, g = torch.fft.fft(x), torch.fft.rfft(x)
        back = torch.fft.irfft(g).sum() + torch.fft.ifft(f).abs()
        return f.real + torch.fft.fftn(x).imag + back + torch.fft.fftfreq(x.shape[-1])


class Language(nn.Module):
    """Lists, dictionaries, texts, optional tuples."""

    names: List[str]
    table: Dict[str, int]
    maybe: Optional[Tuple[int, int]]

    def __init__(self) -> None:
        """Have one of each."""
        super().__init__()
        self.names = ["a", "b"]
        self.table = {"a": 1}
        self.maybe = None

    def forward(
        self, x: torch.Tensor, hx: Optional[Tuple[torch.Tensor, torch.Tensor]] = None
    ) -> Dict[str, torch.Tensor]:
        """Return something of all."""
        out: Dict[str, torch.Tensor] = {}
        for k, name in enumerate(self.names):
            if name.startswith("a") and name in self.table:
                out[name] = x * self.table[name] + k
        assert len(out) > 0, "none"
        if hx is not None:
            a, b = hx
            out["h" + str(x.shape[0])] = a + b
        numbers: List[float] = x.flatten().tolist()
        out["s"] = torch.tensor(sorted(numbers) + [max(numbers), min(numbers), sum(numbers)])
        del out["a"]
        return out


class Directions(nn.Module):
    """Unit vectors by the functional form, whose code holds a branch for ``out=`` (MACE)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return them."""
        return nn.functional.normalize(x, dim=-1)


class Recurrent(nn.Module):
    """Recurrent layers."""

    def __init__(self) -> None:
        """Have one of each."""
        super().__init__()
        self.a, self.b = nn.GRU(4, 5, 2), nn.RNN(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return their sum."""
        return self.a(x)[0] + self.b(x)[0]


def common_modules() -> Dict[str, nn.Module]:
    activations = [nn.ReLU(), nn.GELU(), nn.SiLU(), nn.Tanh(), nn.Sigmoid(), nn.Softmax(-1)]
    activations += [nn.Softplus(), nn.ELU(), nn.LeakyReLU(), nn.Dropout(), nn.Mish(), nn.PReLU()]
    activations += [nn.Hardtanh(), nn.CELU(), nn.SELU(), nn.LogSoftmax(-1), nn.GLU()]
    layer = nn.TransformerEncoderLayer(8, 2, batch_first=True)
    return {
        "encoder": nn.TransformerEncoder(layer, 2),
        "norm_first": nn.TransformerEncoderLayer(8, 2, norm_first=True, activation="gelu"),
        "decoder": nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2), 2),
        "transformer": nn.Transformer(8, 2, 1, 1, 16),
        "attention": nn.MultiheadAttention(8, 2),
        "attention_kv": nn.MultiheadAttention(8, 2, add_bias_kv=True, kdim=4, vdim=4),
        "conv1": nn.Conv1d(3, 4, 3, padding="same"),
        "conv2": nn.Conv2d(3, 4, 3, padding_mode="circular", padding=1),
        "conv3": nn.Conv3d(3, 4, 3),
        "directions": Directions(),
        "recurrent": Recurrent(),
        "batch": nn.BatchNorm2d(4),
        "layer": nn.LayerNorm(4),
        "rms": nn.RMSNorm(4),
        "group": nn.GroupNorm(2, 4),
        "instance": nn.InstanceNorm1d(4),
        "embedding": nn.Embedding(4, 5, padding_idx=0),
        "bilinear": nn.Bilinear(3, 3, 4),
        "activations": nn.Sequential(nn.Linear(3, 4), *activations, nn.Flatten()),
        "algebra": Algebra(),
        "scatter": Scatter(),
        "fourier": Fourier(),
        "language": Language(),
    }


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_false_alarm_on_common_modules(tmp_path: Path) -> None:
    paths = []
    for name, module in common_modules().items():
        for training in (True, False):
            paths.append(tmp_path / f"{name}-{training}.pt")
            torch.jit.script(module.train(training)).save(paths[-1])
    assert {name: rows for name, rows in scan(paths).items() if rows} == {}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_lstm_has_to_be_vouched_for(tmp_path: Path) -> None:
    """libtorch writes beyond its memory for some shapes of states, and weights are the file's."""
    torch.jit.script(nn.LSTM(4, 5)).save(tmp_path / "lstm.pt")
    assert {name for name, *_ in scan([tmp_path / "lstm.pt"])["lstm.pt"]} == {"aten::lstm"}


class Addresses(ToyModel):
    """Would take the address of a tensor."""

    def rounded(self, values: torch.Tensor, system: System) -> torch.Tensor:
        """Return the values, and do it."""
        if hash(values) == 0:
            values = values + 1.0
        return values.to(system.positions.dtype)


@pytest.fixture(scope="module")
def address_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_toy(
        tmp_path_factory.mktemp("address") / "model.pt", Addresses, reference_model="pair"
    )


@pytest.mark.parametrize("isolation", [True, False])
def test_it_is_not_run(address_model: Path, isolation: bool) -> None:
    report = stage.verify(address_model, level="quick", isolation=isolation)
    failures = {check.label: check.message for check in report.failures}
    assert set(failures) == {"LOAD/operators", "LOAD/model"}
    assert "aten::hash" in failures["LOAD/operators"]
    assert (
        "toy_models.py, line " in failures["LOAD/operators"] or "line" in failures["LOAD/operators"]
    )
    assert report.model is None and (report.coverage or {})["calls"] == 0


def test_it_is_not_run_where_the_check_is_left_out(address_model: Path) -> None:
    report = stage.verify(address_model, only=["LOAD/model", "SCHEMA"], level="quick")
    assert [check.label for check in report.failures] == ["LOAD/model"]
    assert "aten::hash" in report.failures[0].message
    waived = stage.verify(address_model, skip={"LOAD/operators": "why not"}, level="quick")
    assert "LOAD/model" in [check.label for check in waived.failures]


def test_what_somebody_vouches_for_is_recorded(address_model: Path) -> None:
    only = ["LOAD", "SCHEMA/energy"]
    report = stage.verify(address_model, only=only, allow_operators=["aten::hash"])
    assert report.passed and report.allowed_operators == ("aten::hash",)
    assert "aten::hash" in next(c.message for c in report.checks if c.label == "LOAD/operators")
    other = stage.verify(address_model, only=only, allow_operators=["aten::save"])
    assert not other.passed


def test_the_gate_names_it(address_model: Path) -> None:
    with pytest.raises(UserError, match="aten::hash"):
        operators.require_known(address_model)
    operators.require_known(address_model, allowed=["aten::hash"])


def test_metadata_are_not_given_to_it(address_model: Path, tmp_path: Path) -> None:
    from mtt.export import add_metadata

    metadata = tmp_path / "metadata.yaml"
    metadata.write_text("name: trusted\n")
    for verify in ("none", "quick"):
        with pytest.raises((UserError, VerificationFailed)):
            add_metadata.run(address_model, metadata, tmp_path / "new.pt", verify=verify)
    assert not (tmp_path / "new.pt").exists()


@pytest.mark.parametrize("kind", ["pair", "embedded"])
def test_toys_are_fine(tmp_path: Path, kind: str) -> None:
    path = export_toy(tmp_path / "toy.pt", kind)
    assert scan([path]) == {"toy.pt": []}


@pytest.mark.parametrize("size", [1, 100, 5000, 14823, 60000])
def test_files_that_golden_add_and_metadata_have_changed_are_fine(
    tmp_path: Path, size: int
) -> None:
    model = export_toy(tmp_path / "model.pt")
    changed = archive_edit.with_record(
        model.read_bytes(), "extra/mtt/golden.safetensors", b"x" * size
    )
    (tmp_path / "changed.pt").write_bytes(changed)
    again = archive_edit.with_record(changed, "extra/mtt/provenance.json", b"{}")
    (tmp_path / "again.pt").write_bytes(again)
    found = scan([tmp_path / "changed.pt", tmp_path / "again.pt"])
    assert found == {"changed.pt": [], "again.pt": []}
