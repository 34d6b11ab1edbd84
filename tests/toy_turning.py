"""A sound model whose outputs turn with the system, exported with a golden pack that describes them."""

# ruff: noqa: UP006, UP035, UP045  (TorchScript and its classes want the names of typing)

from collections.abc import Callable
from pathlib import Path
from typing import Any, Dict, Optional

import torch
from metatomic.torch import AtomisticModel, ModelCapabilities, ModelMetadata, ModelOutput
from toy_models import ATOMIC_TYPES, Example, save
from toy_outputs import OUTPUTS, Outputs
from toy_targets import golden_pack

from mtt.architectures.metatomic_systems import system_with_neighbors
from mtt.data.structure import Structure

# Type, degrees and parities, and quantity of each output.
DESCRIBED: Dict[str, Dict[str, Any]] = {
    "mtt::dipole": {"type": "vector"},
    "mtt::tensor": {"type": "matrix"},
    "mtt::quadrupole": {"type": "spherical", "irreps": [[2, 1]]},
    "mtt::multipoles": {"type": "spherical", "irreps": [[0, 1], [2, 1]]},
    "non_conservative_force": {"type": "vector", "quantity": "force"},
    "non_conservative_stress": {"type": "matrix", "quantity": "stress"},
}
Tensors = Dict[str, torch.Tensor]


def description(name: str) -> Dict[str, Any]:
    """Return the entry of an output in the metadata of a pack."""
    unit, kind = OUTPUTS[name]
    about = {"quantity": "", "properties": 1, "gradients": [], "description": ""}
    return {**about, "name": name, "unit": unit, "per": kind, **DESCRIBED[name]}


def references(model: Outputs, example: Example) -> Tensors:
    """Return the tensors of one system in a pack, without its number."""
    structure = Structure(example.types, example.positions, example.cell, example.pbc)
    system = system_with_neighbors(structure, model, torch.float64)
    tensors: Tensors = {}
    for name in DESCRIBED:
        values = model.values(name, system).detach()
        if name == "non_conservative_stress" and not example.pbc.all():
            values = torch.full_like(values, float("nan"))
        tensors[f"{name}/atoms"] = values
        if OUTPUTS[name][1] == "system":
            tensors[f"{name}/total"] = values.sum(dim=0)
    return tensors


def pack_of_turning(
    model: Any = Outputs,
    change: Optional[Callable[[Tensors], None]] = None,
    described: Optional[Dict[str, Dict[str, Any]]] = None,
    exact: bool = False,
) -> bytes:
    """Return a golden pack of a model.

    :param change: gets all tensors and may change them
    :param described: changes to descriptions, by the name of the output
    :param exact: the architecture turns with the system exactly
    """
    module = model().eval()
    targets = [{**description(name), **(described or {}).get(name, {})} for name in DESCRIBED]
    return golden_pack(lambda example: references(module, example), targets, change, exact)


def export_turning(
    path: Path,
    model: Any = Outputs,
    dtype: str = "float64",
    pack: Optional[bytes] = None,
    units: Optional[Dict[str, str]] = None,
) -> Path:
    """Export a model with an energy and outputs that turn to ``path`` and return it.

    :param model: :class:`toy_outputs.Outputs`, or a subclass with a fault
    :param pack: golden pack; by default that of the same model
    :param units: declared units that differ from those of the pack
    """
    module = model(dtype=getattr(torch, dtype)).eval()
    declared = {}
    for name in ("energy", *DESCRIBED):
        unit, kind = OUTPUTS[name]
        unit = (units or {}).get(name, unit)
        declared[name] = ModelOutput(unit=unit, sample_kind=kind, description=name)
    capabilities = ModelCapabilities(
        outputs=declared,
        atomic_types=ATOMIC_TYPES,
        interaction_range=module.range(),
        length_unit="angstrom",
        supported_devices=["cpu", "cuda"],
        dtype=dtype,
    )
    atomistic = AtomisticModel(module, ModelMetadata(name=f"toy {model.__name__}"), capabilities)
    save(path, atomistic.eval(), pack_of_turning(model) if pack is None else pack)
    return path


def export_exact(path: Path, model: Any = Outputs, dtype: str = "float64") -> Path:
    """Export a model whose golden pack says that its architecture turns with the system exactly."""
    return export_turning(path, model, dtype, pack_of_turning(model, exact=True))
