"""What TorchScript puts into the code of a caller, it optimizes again for every instance of a model."""

from typing import Any

import pytest
import torch

from mtt import architecture_registry
from mtt.architectures.cores import new_core
from mtt.architectures.potential import Potential
from mtt.data.target import Target

HYPERS = {"d_pet": 8, "d_node": 8, "d_head": 8, "d_feedforward": 8, "num_heads": 2}


def operators(block: Any) -> set[str]:
    """Return the kinds of all nodes, those of nested blocks too."""
    found = set()
    for node in block.nodes():
        found |= {node.kind()}.union(*(operators(inner) for inner in node.blocks()))
    return found


@pytest.mark.parametrize("seeds", [(1,), (1, 2)])
def test_core_members_and_layers_keep_their_code(seeds: tuple[int, ...]) -> None:
    architecture = architecture_registry.get("pet")
    target = Target("energy")
    hypers = architecture.ModelHypers(**HYPERS)
    core = new_core(architecture, hypers, [1, 8], [target], seeds)
    scripted: Any = torch.jit.script(Potential(core, [1, 8], [target], "angstrom").eval())
    assert isinstance(core, torch.nn.Module) and not isinstance(core, torch.jit.ScriptModule)
    found = operators(scripted.forward.inlined_graph)
    assert "prim::CallMethod" in found
    assert not found & {"aten::linear", "aten::softmax", "aten::bmm", "aten::grad"}
    own = scripted.core
    if len(seeds) > 1:
        assert "aten::linear" not in operators(own.forward.inlined_graph)
        own = getattr(own.members, "0")
    for method in (own.forward, own.sums):
        found = operators(method.inlined_graph)
        assert {"prim::CallMethod", "aten::linear"} <= found
        assert "aten::softmax" not in found
