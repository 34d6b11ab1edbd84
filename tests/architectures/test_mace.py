"""mace@1 keeps the architecture contract, and every symmetry exactly; without mace-torch it says so."""

import copy
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from pydantic import ValidationError
from small_runs import make_options

from mtt import architecture_registry
from mtt.__main__ import main
from mtt.architectures.contract import ArchitectureContract, scripted
from mtt.architectures.contract.assertions import assert_equal
from mtt.architectures.contract.structures import crystal, molecule
from mtt.architectures.mace.hypers import ModelHypers
from mtt.checkpoint import package_versions
from mtt.data.target import Target

needs_mace = pytest.mark.skipif(
    find_spec("mace") is None, reason="mace-torch is not installed: pip install 'mtt[mace]'"
)
SMALL: dict[str, Any] = {
    "r_max": 3.5,
    "num_radial_basis": 4,
    "max_ell": 2,
    "hidden_irreps": "4x0e + 4x1o",
    "MLP_irreps": "4x0e",
    "radial_MLP": [8],
    "correlation": 2,
}
OTHERS: dict[str, Any] = {
    **SMALL,
    "max_ell": 1,
    "num_interactions": 3,
    "hidden_irreps": "3x0e + 3x2e",
    "radial_type": "gaussian",
    "interaction_first": "RealAgnosticDensityInteractionBlock",
    "interaction": "RealAgnosticDensityResidualInteractionBlock",
    "apply_cutoff": False,
    "gate": None,
    "use_last_readout_only": True,
    "use_agnostic_product": True,
}


@needs_mace
class TestSmall(ArchitectureContract):
    architecture = "mace"
    hypers: ClassVar[dict[str, Any]] = SMALL


@needs_mace
class TestOtherBlocks(ArchitectureContract):
    architecture = "mace"
    hypers: ClassVar[dict[str, Any]] = OTHERS


@needs_mace
@pytest.mark.parametrize("first", ["RealAgnosticInteractionBlock"])
def test_a_single_layer_without_a_skip(first: str) -> None:
    class Single(ArchitectureContract):
        architecture = "mace"
        hypers: ClassVar[dict[str, Any]] = SMALL | {
            "num_interactions": 1,
            "interaction_first": first,
        }

    contract = Single()
    assert contract.core().interaction_range == 3.5
    contract.test_torchscript_gives_the_same_numbers()
    contract.test_lone_and_missing_atoms()


@needs_mace
def test_coinciding_atoms() -> None:
    contract = TestSmall()
    potential, graph = contract.potential(), contract.graph([molecule()])
    # As an engine's neighbor list may have it; that of the trainer refuses them.
    vectors = graph.vectors.clone()
    vectors[graph.neighbors == (graph.centers + 1) % 9] = 0.0
    for values in potential.evaluate(graph._replace(vectors=vectors)).values():
        assert bool(torch.isfinite(values.atoms).all())
        assert values.forces is None or bool(torch.isfinite(values.forces).all())


@needs_mace
@pytest.mark.parametrize("contract", [TestSmall(), TestOtherBlocks()])
def test_a_copy_is_the_same_model(contract: ArchitectureContract) -> None:
    original = contract.potential(torch.float32)
    exact = copy.deepcopy(original).set_precision(torch.float64)
    assert original.state_dict().keys() == exact.state_dict().keys()
    assert not any("U_matrix" in name or "w3j" in name for name in exact.state_dict())
    # Constants are those of float64, and not of float32 with zeros behind.
    reference = contract.potential()
    reference.load_state_dict(exact.state_dict())
    graph = contract.graph([molecule(), crystal()])
    assert_equal(exact.core(graph, contract.names), reference.core(graph, contract.names))
    assert scripted(exact) is not None
    assert next(original.core.parameters()).dtype == torch.float32


@needs_mace
def test_the_process_is_left_as_it_was() -> None:
    """The import of mace-torch says nothing, and lets no later file of weights run code."""
    program = (
        "import os, torch\n"
        "from mtt.architectures.mace.mace_torch import exact_construction, imported\n"
        "with torch.device('cpu'):\n    e3nn = imported().e3nn\n"
        "before = e3nn.get_optimization_defaults()\n"
        "with exact_construction(e3nn):\n    assert torch.get_default_dtype() == torch.float64\n"
        "assert torch.get_default_dtype() == torch.float32\n"
        "assert e3nn.get_optimization_defaults() == before\n"
        "assert not [name for name in os.environ if 'WEIGHTS_ONLY' in name]\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", program],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if "WEIGHTS_ONLY" not in name},
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "mace" not in done.stderr and "weights_only" not in done.stderr


@needs_mace
def test_what_cannot_be_learned() -> None:
    mace = architecture_registry.get("mace")
    assert mace.refuses(ModelHypers(), Target("energy")) is None
    assert mace.refuses(ModelHypers(), Target("mtt::dos", "", "", properties=3)) is None
    for target in (
        Target("mtt::dipole", "dipole", "e*A", type="vector"),
        Target("mtt::alpha", "", "", type="matrix"),
        Target("mtt::shape", "", "", type="spherical", irreps=((2, 1),)),
    ):
        expected = f"mace@1 has scalars only, and this is a {target.type}"
        assert mace.refuses(ModelHypers(), target) == expected


@pytest.mark.parametrize(
    ("hypers", "expected"),
    [
        ({"hidden_irreps": "8"}, "expected terms such as '64x0e + 64x1o', found '8'"),
        ({"hidden_irreps": "8x1o + 8x0e"}, "the first term must be invariants"),
        ({"hidden_irreps": "8x0e + 4x1o"}, "as many channels"),
        ({"hidden_irreps": "8x0e + 8x0e"}, "a term occurs twice"),
        ({"hidden_irreps": "8x0e + 8x1e"}, "no pseudotensors: '1e' must be '1o'"),
        ({"hidden_irreps": "8x0e + 8x3o", "max_ell": 1, "correlation": 2}, "would stay zero"),
        (
            {"max_ell": 4},
            "3 times max_ell (4) is 12, and the tables of mace-torch end at degree 11",
        ),
        ({"MLP_irreps": "8x1o"}, "expected one term of invariants"),
        ({"radial_MLP": []}, "at least 1 item"),
        ({"interaction": "RealAgnosticAttResidualInteractionBlock"}, "Input should be"),
    ],
)
def test_options_that_cannot_be(hypers: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ModelHypers(**hypers)
    assert expected in str(caught.value)


def test_options_need_no_torch() -> None:
    program = (
        "import sys\nfrom mtt import architecture_registry\n"
        "architecture_registry.get('mace').ModelHypers()\n"
        "assert not {'torch', 'mace', 'e3nn'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_mace_torch_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_options(tmp_path, architecture={"name": "mace", "model": SMALL, "training": {}})
    for name in [name for name in sys.modules if name.split(".")[0] == "mace"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mace", None)  # type: ignore[arg-type]
    capsys.readouterr()
    assert main(["train", "options.yaml"]) == 2
    shown = capsys.readouterr().err
    assert shown.endswith(
        "error: the architecture 'mace' needs the package mace-torch, which is not installed\n"
        '  hint: pip install "mtt[mace]"\n'
    )
    assert not (tmp_path / "outputs").exists()


def test_checkpoints_record_what_mace_is_made_of() -> None:
    more = package_versions("mace").keys() - package_versions("pet").keys()
    assert more == {"mace-torch", "e3nn"}
