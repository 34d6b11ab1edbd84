"""A run whose options are spelled as metatrain does: it trains, and resumes with either spelling."""

from pathlib import Path

import torch
import yaml
from small_runs import make_options

from mtt import checkpoint
from mtt.options import load_options
from mtt.training import run as stage


def as_metatrain(path: Path) -> None:
    """Spell the options of a file as metatrain writes them beside a run."""
    content = yaml.safe_load(path.read_text())
    data = content["training_set"]
    content["training_set"] = [
        {
            "systems": {"read_from": data, "reader": None, "length_unit": "angstrom"},
            "targets": {
                "energy": {
                    "quantity": "energy",
                    "read_from": data,
                    "reader": None,
                    "key": "energy",
                    "unit": "eV",
                    "sample_kind": "system",
                    "num_subtargets": 1,
                    "forces": {"read_from": data, "reader": None, "key": "forces"},
                    "stress": {"read_from": data, "reader": None, "key": "stress"},
                    "virial": False,
                }
            },
        }
    ]
    content["final_eval"] = True
    content["architecture"]["model"] |= {"zbl": False, "long_range": {"enable": False}}
    gradients = {"positions": {"weight": 2.0}, "strain": {"type": "mse", "reduction": "mean"}}
    content["architecture"]["training"] |= {
        "num_workers": None,
        "finetune": {"read_from": None, "method": "full"},
        "loss": {"energy": {"type": "mse", "weight": 1.0, "gradients": gradients}},
    }
    path.write_text(yaml.safe_dump(content))


def test_a_run_resumes_with_either_spelling(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "_pictures", lambda *_: None)
    monkeypatch.setattr(stage, "_export", lambda ckpt, output, *_: output.touch())
    make_options(tmp_path, {"num_epochs": 2, "keep_last": 9})
    as_metatrain(tmp_path / "options.yaml")
    stage.run(load_options("options.yaml"))
    (run,) = Path("outputs").glob("*/*")
    header, tensors = checkpoint.read(Path("model.ckpt"))
    target = header.options["architecture"]["training"]["loss"]["targets"]["energy"]
    assert (target["forces"], target["stress"]) == (2.0, 1.0)
    for options in (run / "options.yaml", Path("options.yaml")):
        capsys.readouterr()
        stage.run(load_options(options), run / "model_1.ckpt", Path("again.pt"))
        assert "resuming from" in capsys.readouterr().out
        again, same = checkpoint.read(Path("again.ckpt"))
        assert again == header
        assert all(torch.equal(tensor, same[name]) for name, tensor in tensors.items())
