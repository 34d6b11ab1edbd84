"""The option `long_range` in a run: verified for the engines that can use it, and resumed bit for bit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from problems import train_for
from small_runs import SOAP_BPNN, leave_undrawn, make_options, verify_quickly, write_data

from mtt import checkpoint as checkpoints
from mtt.evaluation.predict import open_model
from mtt.options import Options
from mtt.training import run as stage
from mtt.training.prepare import Run, prepare

MODEL = Path("model.pt")
SOAP: dict[str, Any] = {
    **SOAP_BPNN,
    "model": {**SOAP_BPNN["model"], "long_range": {"num_charges": 2}},
    "training": {"num_epochs": 2, "batch_size": 3, "learning_rate": 1e-2},
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_data(Path("data.xyz"), several=False)


def options_of(**changes: Any) -> Options:
    return make_options(Path(), architecture=SOAP, **{"training_set": "data.xyz", **changes})


def begin(source: Path | None = None) -> Run:
    return prepare(options_of(), source, MODEL, lambda _: None)


def test_a_run_ends_with_a_verified_model(monkeypatch: pytest.MonkeyPatch) -> None:
    # test_options_together.py has such charges in a PET that is verified at the level full, as ASE calls it.
    verify_quickly(monkeypatch)
    leave_undrawn(monkeypatch)
    stage.run(options_of(base_precision=64), None, MODEL)
    header, _ = checkpoints.read(MODEL.with_suffix(".ckpt"))
    stored = {"num_charges": 2, "smearing": 1.4, "kspace_resolution": 1.33}
    assert header.architecture.hypers["long_range"] == stored
    structures = begin().data.train[:3]
    pairs = zip(
        open_model(MODEL, "cpu").predict(structures),
        open_model(MODEL.with_suffix(".ckpt"), "cpu").predict(structures),
        strict=True,
    )
    for exported, own in pairs:
        assert exported["energy"].values == pytest.approx(own["energy"].values, abs=1e-9)
        assert exported["energy"].forces == pytest.approx(own["energy"].forces, abs=1e-9)


def test_a_resumed_run_ends_with_the_same_bits() -> None:
    whole, begun = begin(), begin()
    train_for(whole)
    train_for(begun, stop_after=2)
    begun.save(Path("part.ckpt"))
    resumed = begin(Path("part.ckpt"))
    train_for(resumed)
    expected, tensors = (run.state.to_checkpoint()[1] for run in (whole, resumed))
    assert any("long_range" in name for name in expected)
    assert tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensors[name], tensor), name
