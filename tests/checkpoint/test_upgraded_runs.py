"""A run of an old version that is upgraded and resumed ends with the bits of one resumed as it is."""

import json
from pathlib import Path

import pytest
import torch
from numpy._core._multiarray_umath import __cpu_features__
from small_runs import write_data

from mtt import checkpoint
from mtt.__main__ import main
from mtt.training import run as train

GOLDEN = Path(__file__).parents[1] / "golden" / "checkpoints"
# Where numpy computes exponentials by AVX-512, as it did when these runs were made: elsewhere their last
# bits are others, energies by EMT with them, and a run is resumed with the data that it had or not at all.
pytestmark = pytest.mark.skipif(
    not __cpu_features__.get("AVX512_SKX"),
    reason="no AVX-512: EMT gives other last bits here than in the data that the old runs had",
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change into a folder with the data of golden runs; nothing is exported or drawn."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "_pictures", lambda *_: None)
    monkeypatch.setattr(train, "_export", lambda *_: None)
    write_data(Path("data.xyz"))
    return tmp_path


def write_options(header: checkpoint.Header, epochs: int) -> Path:
    """Write the options of a run, with a number of epochs; JSON is YAML."""
    options = json.loads(json.dumps(header.options))
    options["architecture"]["training"]["num_epochs"] = epochs
    Path("options.yaml").write_text(json.dumps(options))
    return Path("options.yaml")


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("format-1_pet-1_options-1/0", "format 1 -> 3, pet 1 -> 3, options 1 -> 2"),
        ("format-1_pet-1_options-1/8", "format 1 -> 3, pet 1 -> 3, options 1 -> 2"),
        ("format-2_pet-1_options-1/0", "format 2 -> 3, pet 1 -> 3, options 1 -> 2"),
        ("format-2_pet-2_options-1/0", "format 2 -> 3, pet 2 -> 3, options 1 -> 2"),
        # Weights of 32 bits, weight decay, and a readout after each layer.
        ("format-2_pet-2_options-1/5", "format 2 -> 3, pet 2 -> 3, options 1 -> 2"),
        # A fine-tuned model.
        ("format-2_pet-2_options-1/13", "format 2 -> 3, pet 2 -> 3, options 1 -> 2"),
    ],
)
def test_upgraded_and_resumed(name: str, steps: str, capsys: pytest.CaptureFixture[str]) -> None:
    old = GOLDEN / f"{name}.ckpt"
    assert main(["upgrade", str(old), "-o", "new.ckpt"]) == 0
    assert capsys.readouterr().out == f"wrote new.ckpt: {steps}\n"
    before = checkpoint.read_header(Path("new.ckpt"))
    epochs = before.position.epoch + 2
    options = write_options(before, epochs)
    for source, output in ((old, "direct.pt"), (Path("new.ckpt"), "upgraded.pt")):
        assert main(["train", str(options), "--continue", str(source), "-o", output]) == 0
    assert Path("direct.ckpt").read_bytes() == Path("upgraded.ckpt").read_bytes()
    header, tensors = checkpoint.read(Path("direct.ckpt"))
    assert header.position.epoch == len(header.history) == epochs
    assert header.history[: len(before.history)] == before.history
    trained = [key for key in tensors if key.startswith("model/core.")]
    old_tensors = checkpoint.read(old)[1]
    assert any(not torch.equal(old_tensors[key], tensors[key]) for key in trained)
