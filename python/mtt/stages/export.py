"""Checkpoint in, verified TorchScript file out: ``model.ckpt`` -> ``model.pt``.

The file appears under its name only after ``mtt-verify`` has passed it; whatever fails before leaves
what was there untouched.
"""

import io
import json
import platform
import warnings
from pathlib import Path
from typing import Any, Literal

import metatomic.torch
import torch
from metatomic.torch import AtomisticModel, ModelCapabilities, ModelMetadata, ModelOutput

from .. import __version__
from ..architectures import registry
from ..architectures.potential import Potential
from ..data.structure import Structure
from ..report.files import check_keeps, replacing
from . import checkpoint as checkpoints
from . import golden
from . import verify as verification

QUICK_FAMILIES = ["LOAD", "SCHEMA", "PARITY"]
Verify = Literal["quick", "full", "none"]


def run(
    checkpoint: Path,
    output: Path | None = None,
    weights: Literal["best", "last"] = "best",
    metadata: Path | None = None,
    verify: Verify = "quick",
) -> Path:
    """Export ``checkpoint`` and return the path of the file written.

    :param output: default: the checkpoint's stem with ``.pt`` in the current folder
    :param weights: those of the best epoch by the validation metric, or the last ones
    :param metadata: YAML with name, description, authors, references and extra keys
    :param verify: ``quick`` runs LOAD, SCHEMA and PARITY, ``full`` all families, ``none`` nothing,
        which the file then records about itself
    :raises UserError: unreadable checkpoint or metadata, output that cannot be written
    :raises VerificationFailed: a check failed; nothing was written
    """
    output = Path(checkpoint.stem + ".pt") if output is None else output
    check_keeps([checkpoint, *([metadata] if metadata else [])], output)
    header, tensors = checkpoints.read(checkpoint)
    potential = checkpoints.load_potential(header, tensors, weights)
    content = export_bytes(potential, header, tensors, weights, metadata, verify)
    with replacing(output) as temporary:
        temporary.write_bytes(content)
        if verify == "none":
            warnings.warn(
                f"{output} is written without verification, and says so in its provenance",
                stacklevel=1,
            )
        else:
            families = QUICK_FAMILIES if verify == "quick" else None
            verification.run(temporary, only=families, display=str(output))
    return output


def export_bytes(
    potential: Potential,
    header: dict[str, Any],
    tensors: dict[str, torch.Tensor],
    weights: str,
    metadata: Path | None,
    verify: Verify,
) -> bytes:
    """The content of the ``.pt`` file: scripted model, metatomic's records, provenance, golden pack."""
    samples: list[Structure] = []
    while f"check/{len(samples)}/types" in tensors:
        samples.append(golden.structure_from_tensors(f"check/{len(samples)}", tensors))
    systems = golden.check_systems(samples, potential.atomic_types)
    pack = golden.golden_pack(potential, systems)
    model = atomistic_model(potential, header, metadata)
    extra: dict[str, Any] = {
        "torch-version": torch.__version__,
        "metatomic-version": metatomic.torch.__version__,
        # Everything is aten operators and metatensor/metatomic classes: nothing else to load.
        "extensions": "[]",
        "extensions-deps": "[]",
        "export-metadata": _json({"platform": f"{platform.machine()}-{platform.system()}"}),
        "model-metadata": model.metadata().__getstate__()[0],
        "mtt/provenance.json": _json(provenance(header, weights, verify)),
        "mtt/golden.safetensors": pack,
    }
    buffer = io.BytesIO()
    # Through a buffer, because torch names a folder inside the file after the path it writes to.
    torch.jit.save(torch.jit.script(model), buffer, _extra_files=extra)
    return buffer.getvalue()


def atomistic_model(
    potential: Potential, header: dict[str, Any], metadata: Path | None
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


def model_metadata(header: dict[str, Any], path: Path | None) -> ModelMetadata:
    """What the user wrote, merged with the references of the architecture; engines print it."""
    architecture = registry.get(header["architecture"]["name"])
    references = {key: list(values) for key, values in architecture.references.items()}
    fields: dict[str, Any] = {}
    if path is not None:
        from ..options import load_metadata

        given = load_metadata(path)
        fields = {"name": given.name, "description": given.description}
        fields["authors"] = list(given.authors)
        fields["extra"] = dict(given.extra)
        for key in ("model", "architecture", "implementation"):
            own = list(getattr(given.references, key))
            references[key] = own + [r for r in references.get(key, []) if r not in own]
    return ModelMetadata(references=references, **fields)


def provenance(header: dict[str, Any], weights: str, verify: Verify) -> dict[str, Any]:
    """Where the file comes from: readable by anyone who can unzip, without torch."""
    position = header["best"] if weights == "best" else header["position"]
    return {
        "format": 1,
        "mtt": __version__,
        "architecture": header["architecture"],
        "checkpoint": {"content_hash": header["content_hash"]},
        "weights": weights,
        "epoch": position["epoch"],
        "data_hash": header["data_hash"],
        "options_hash": header["options_hash"],
        "image_digest": header["image_digest"],
        "packages": checkpoints.package_versions(),
        "verification": "skipped by --no-verify" if verify == "none" else verify,
    }


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
