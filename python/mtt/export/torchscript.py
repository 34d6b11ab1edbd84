"""Checkpoint in, bytes of the TorchScript file out: model, metatomic's records, provenance, golden pack.

The bytes depend on the order of Python's sets and on what the process has scripted before: only
:mod:`mtt.export.process` gives them a process in which they are always the same.
"""

import io
import platform
from typing import Any

import metatomic.torch
import torch
from metatomic.torch import AtomisticModel, ModelCapabilities, ModelMetadata, ModelOutput

from mtt import architecture_registry
from mtt.architectures.potential import Potential
from mtt.canonical import canonical_json
from mtt.checkpoint.header import Header
from mtt.data.structure_tensors import structures_from_tensors
from mtt.data.target import Target
from mtt.export.check_systems import check_systems
from mtt.export.golden_pack import RECORD, golden_pack
from mtt.unit_expressions import is_unit


def export_bytes(
    potential: Potential,
    header: Header,
    tensors: dict[str, torch.Tensor],
    provenance: dict[str, Any],
) -> bytes:
    """Return the content of the ``.pt`` file.

    :param potential: the model, with the weights to be exported
    :param header: of its checkpoint
    :param tensors: of its checkpoint; the check systems are taken from there
    :param provenance: what the file says of its origin (:func:`mtt.export.provenance.record`)
    """
    samples = structures_from_tensors("check", tensors)
    systems = check_systems(samples, potential.atomic_types, potential.cutoff)
    pack = golden_pack(potential, systems).content()
    # After the golden pack, which so tells whether chunks give what the whole does.
    model = atomistic_model(potential.by_chunks(), header, provenance["metadata"])
    extra: dict[str, Any] = {
        "torch-version": torch.__version__,
        "metatomic-version": metatomic.torch.__version__,
        # Everything is aten operators and metatensor/metatomic classes: nothing else to load.
        "extensions": "[]",
        "extensions-deps": "[]",
        "export-metadata": canonical_json(
            {"platform": f"{platform.machine()}-{platform.system()}"}
        ),
        "model-metadata": model.metadata().__getstate__()[0],
        "mtt/provenance.json": canonical_json(provenance),
        RECORD: pack,
    }
    buffer = io.BytesIO()
    # Through a buffer, because torch names a folder inside the file after the path it writes to.
    torch.jit.save(torch.jit.script(model), buffer, _extra_files=extra)
    return buffer.getvalue()


def atomistic_model(
    potential: Potential, header: Header, metadata: dict[str, Any] | None
) -> AtomisticModel:
    """Return ``potential`` with its capabilities and metadata, in evaluation mode."""
    dtype = "float64" if header.precision == 64 else "float32"
    capabilities = ModelCapabilities(
        outputs={target.name: model_output(target) for target in potential.outputs},
        atomic_types=potential.atomic_types,
        interaction_range=potential.interaction_range,
        length_unit=potential.length_unit,
        supported_devices=["cuda", "cpu"],
        dtype=dtype,
    )
    metadata_record = model_metadata(header, metadata)
    # The wrapper has a training flag of its own.
    return AtomisticModel(potential.eval(), metadata_record, capabilities).eval()


def model_output(target: Target) -> ModelOutput:
    """Return what engines learn of a target: values of atoms, or of systems if they ask for these."""
    # The quantity is in the name: metatomic has deprecated the field.
    description = target.description or (
        "potential energy" if target.is_energy else target.quantity
    )
    # What is divided by the volume of the whole structure is no sum of parts that mean something.
    kind = "system" if target.per_volume else "atom"
    # Older checkpoints may have a unit that no engine can read.
    unit = target.unit if is_unit(target.unit) else ""
    return ModelOutput(unit=unit, sample_kind=kind, description=description)


def model_metadata(header: Header, metadata: dict[str, Any] | None) -> ModelMetadata:
    """Return what the user wrote with the references of the architecture; engines print it."""
    from mtt.options.schema.metadata import merged_references

    architecture = architecture_registry.get(header.architecture.name)
    fields = metadata or {}
    references = merged_references(fields.get("references", {}), architecture.references)
    return ModelMetadata(**{**fields, "references": references})
