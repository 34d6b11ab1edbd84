"""Checkpoint in, bytes of the TorchScript file out: model, metatomic's records, provenance, golden pack.

The bytes depend on the order of Python's sets and on what the process has scripted before: only
:mod:`mtt.export.process` gives them a process in which they are always the same.
"""

import io
import json
import platform
from typing import Any

import metatomic.torch
import torch
from metatomic.torch import AtomisticModel, ModelCapabilities, ModelMetadata, ModelOutput

from mtt import plugins
from mtt.architectures.potential import Potential
from mtt.data.structure import Structure
from mtt.export import golden_pack


def export_bytes(
    potential: Potential,
    header: dict[str, Any],
    tensors: dict[str, torch.Tensor],
    provenance: dict[str, Any],
) -> bytes:
    """The content of the ``.pt`` file.

    :param potential: the model, with the weights to be exported
    :param header: of its checkpoint
    :param tensors: of its checkpoint; the check systems are taken from there
    :param provenance: what the file says of its origin (:func:`mtt.export.provenance.record`)
    """
    samples: list[Structure] = []
    while f"check/{len(samples)}/types" in tensors:
        samples.append(golden_pack.structure_from_tensors(f"check/{len(samples)}", tensors))
    systems = golden_pack.check_systems(samples, potential.atomic_types)
    pack = golden_pack.golden_pack(potential, systems)
    model = atomistic_model(potential, header, provenance["metadata"])
    extra: dict[str, Any] = {
        "torch-version": torch.__version__,
        "metatomic-version": metatomic.torch.__version__,
        # Everything is aten operators and metatensor/metatomic classes: nothing else to load.
        "extensions": "[]",
        "extensions-deps": "[]",
        "export-metadata": _json({"platform": f"{platform.machine()}-{platform.system()}"}),
        "model-metadata": model.metadata().__getstate__()[0],
        "mtt/provenance.json": _json(provenance),
        "mtt/golden.safetensors": pack,
    }
    buffer = io.BytesIO()
    # Through a buffer, because torch names a folder inside the file after the path it writes to.
    torch.jit.save(torch.jit.script(model), buffer, _extra_files=extra)
    return buffer.getvalue()


def atomistic_model(
    potential: Potential, header: dict[str, Any], metadata: dict[str, Any] | None
) -> AtomisticModel:
    """``potential`` with its capabilities and metadata, in evaluation mode."""
    dtype = "float64" if header["precision"] == 64 else "float32"
    output = ModelOutput(
        unit=potential.energy_unit, sample_kind="atom", description="potential energy"
    )
    capabilities = ModelCapabilities(
        outputs={potential.target_name: output},
        atomic_types=potential.atomic_types,
        interaction_range=potential.interaction_range,
        length_unit=potential.length_unit,
        supported_devices=["cuda", "cpu"],
        dtype=dtype,
    )
    metadata_record = model_metadata(header, metadata)
    # The wrapper has a training flag of its own.
    return AtomisticModel(potential.eval(), metadata_record, capabilities).eval()


def model_metadata(header: dict[str, Any], given: dict[str, Any] | None) -> ModelMetadata:
    """What the user wrote, merged with the references of the architecture; engines print it."""
    from mtt.options.schema.metadata import merged_references

    architecture = plugins.get(header["architecture"]["name"])
    fields = given or {}
    references = merged_references(fields.get("references", {}), architecture.references)
    return ModelMetadata(**{**fields, "references": references})


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
