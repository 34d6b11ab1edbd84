"""pet@3 keeps the architecture contract in every combination of its optional hypers."""

from typing import Any, ClassVar

from mtt.architectures.contract import ArchitectureContract
from mtt.data.target import GRADIENTS, Target

SMALL: dict[str, Any] = {
    "d_pet": 16,
    "d_node": 24,
    "d_head": 8,
    "d_feedforward": 24,
    "num_heads": 2,
    "num_attention_layers": 1,
    "cutoff": 3.5,
}


class TestFeedforward(ArchitectureContract):
    architecture = "pet"
    hypers: ClassVar[dict[str, Any]] = SMALL


class TestResidualPostNorm(ArchitectureContract):
    architecture = "pet"
    hypers: ClassVar[dict[str, Any]] = SMALL | {
        "featurizer_type": "residual",
        "transformer_type": "PostLN",
        "normalization": "LayerNorm",
        "activation": "SiLU",
        "cutoff_function": "Polynomial",
        "num_radial": 0,
        "num_attention_layers": 2,
    }


class TestThreeLayers(ArchitectureContract):
    architecture = "pet"
    hypers: ClassVar[dict[str, Any]] = SMALL | {"num_gnn_layers": 3, "attention_temperature": 2.0}


class TestTurningTargets(ArchitectureContract):
    architecture = "pet"
    hypers: ClassVar[dict[str, Any]] = SMALL
    targets = (
        Target("energy", gradients=GRADIENTS),
        Target("mtt::dipole", "dipole", "e*A", type="vector"),
        Target("mtt::alpha", "", "", "atom", "matrix", properties=2),
        Target("mtt::shape", "", "", type="spherical", irreps=((0, 1), (2, -1))),
        Target("non_conservative_force", "force", "eV/A", "atom", "vector"),
    )


class TestOneLayer(ArchitectureContract):
    architecture = "pet"
    hypers: ClassVar[dict[str, Any]] = SMALL | {"num_gnn_layers": 1}
