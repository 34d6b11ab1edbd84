"""What uncertainties, ensembles and several targets add to a run is reproduced with it, and belongs to its chain."""

from pathlib import Path
from typing import Any

import pytest
from small_runs import SOAP_BPNN, leave_undrawn, make_options, verify_one_family

from mtt import checkpoint as checkpoints
from mtt.lineage import chain, reproduce
from mtt.training import run as train

SOAP: dict[str, Any] = {
    **SOAP_BPNN,
    "training": {"num_epochs": 2, "batch_size": 4, "learning_rate": 0.01},
}
LLPR = {"method": "llpr", "num_ensemble_members": 3}
KINDS: dict[str, dict[str, Any]] = {
    "llpr": {"training": {"num_epochs": 2, "uncertainty": LLPR}},
    "several seeds": {"seed": [1, 2], "architecture": SOAP},
    "several targets": {"training": {"num_epochs": 2}, "several": True},
}
# Tensors that a run has only because of that.
OWN = {
    "llpr": "uncertainty/energy/rigidity",
    "several seeds": "best/core.members.1.",
    "several targets": "best/baselines.2.",
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_reproduced_and_its_chain_holds(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    verify_one_family(monkeypatch)
    leave_undrawn(monkeypatch)
    train.run(make_options(tmp_path, **KINDS[kind]))
    data = [Path("data.xyz")]
    assert states(Path("model.ckpt"), data) == {"verified"}
    found = reproduce.run(Path("model.pt"), Path("again"), data)
    assert found.identical, found.lines
    header, tensors = checkpoints.read(Path("model.ckpt"))
    name = next(one for one in sorted(tensors) if one.startswith(OWN[kind]))
    tensors[name] = tensors[name] + 1
    checkpoints.write(Path("other.ckpt"), header, tensors)
    assert states(Path("other.ckpt"), data) == {"verified", "broken"}


def states(checkpoint: Path, data: list[Path]) -> set[str]:
    """Return the states of the links that could be checked."""
    links = chain.check(chain.Given(model=Path("model.pt"), checkpoint=checkpoint, data=data))
    return {one.state for one in links} - {"not checked"}
