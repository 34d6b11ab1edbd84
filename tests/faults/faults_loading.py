"""Faults of the file and of what it says about itself: packaging, weights, metadata, units."""

import json
import zipfile
from pathlib import Path
from typing import Dict, List, Optional  # noqa: UP035  (for TorchScript)

import safetensors.torch
import torch
from corpus import fault
from metatensor.torch import Labels, TensorMap
from metatomic.torch import ModelOutput, System
from toy_models import (
    ATOMIC_TYPES,
    BASELINE,
    CUTOFF,
    Pair,
    energy_map,
    export_toy,
    golden_pack,
)

# ruff: noqa: UP006, UP045


@fault("L01", "LOAD/file")
def checkpoint_renamed(path: Path) -> None:
    """A pickled training checkpoint renamed to .pt."""
    torch.save({"model_state_dict": Pair().state_dict(), "epoch": 3}, path)


@fault("L01", "LOAD/file")
def own_checkpoint_renamed(path: Path) -> None:
    """A safetensors checkpoint renamed to .pt."""
    safetensors.torch.save_file(Pair().state_dict(), path, metadata={"mtt": "{}"})


@fault("L02", "LOAD/file")
def not_metatomic(path: Path) -> None:
    """TorchScript without the metatomic records: no engine knows how to call it."""
    export_toy(path, "pair", records={"metatomic__version": None})


@fault("L02", "LOAD/metadata")
def metadata_damaged(path: Path) -> None:
    """The record with name, authors and references is not JSON."""
    export_toy(path, "pair", records={"model__metadata": "{name: pair"})


@fault("L03", "LOAD/extensions")
def extension_missing(path: Path) -> None:
    """The file declares a TorchScript extension that does not exist here."""
    extension = {"path": "libtoy_extension.so", "name": "toy_extension", "sha256": "0" * 64}
    export_toy(path, "pair", records={"extensions": json.dumps([extension])})


@fault("L08", "LOAD/file")
def truncated(path: Path) -> None:
    """The last third of the file is gone, as after a full disk."""
    content = export_toy(path, "pair").read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


@fault("L08", "LOAD/checksums")
def bit_flipped(path: Path) -> None:
    """One bit of a weight has changed; libtorch loads the file all the same."""
    export_toy(path, "pair")
    with zipfile.ZipFile(path) as archive:
        weights = [
            i for i in archive.infolist() if "/data/" in i.filename or "/constants/" in i.filename
        ]
        record = max(weights, key=lambda info: info.file_size)
        data = archive.read(record)
    content = bytearray(path.read_bytes())
    start = content.index(data, record.header_offset)
    content[start + 5] ^= 0x10
    path.write_bytes(bytes(content))


@fault("L10", "LOAD/devices in code")
class DeviceWritten(Pair):
    """One rare branch names the GPU on which the model was trained."""

    def anchor(self, system: System) -> torch.Tensor:
        zero = 0.0 * system.positions.sum().to(torch.float64)
        if len(system) > 1000000:
            zero = zero + torch.zeros(1, device=torch.device("cuda:0")).sum()
        return zero


@fault("L09", "LOAD/model")
def only_cuda(path: Path) -> None:
    """Declares no CPU support: the model cannot run, or be checked, on CPU nodes."""
    export_toy(path, "pair", supported_devices=["cuda"])


@fault("L14", "PARITY/energy")
class OtherWeights(Pair):
    """Weights of another epoch were exported: everything runs, every number is a little off."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        self.strength *= 1.0005


@fault("L15", "PARITY/energy")
class BaselineMissing(Pair):
    """The energies of the free atoms were not in the weights and stayed zero."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        self.baseline *= 0.0


@fault("P21", "PARITY/energy")
class BaselineShuffled(Pair):
    """The energies of the free atoms belong to other types; forces are right."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype, baseline=BASELINE[::-1])


@fault("P15", "PARITY/energy")
class TypesPermuted(Pair):
    """The map from atomic types to species is permuted."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        self.species_of_type[torch.tensor(ATOMIC_TYPES)] = torch.tensor([0, 2, 1, 3])


@fault("L20", "SCHEMA/interaction range")
def range_below_cutoff(path: Path) -> None:
    """The declared range is shorter than the requested neighbor list: LAMMPS refuses the model."""
    export_toy(path, "pair", interaction_range=0.9 * CUTOFF)


@fault("L20", "SCHEMA/atomic types")
def type_without_weights(path: Path) -> None:
    """Declares gold, for which there are no weights: the run stops at the first gold atom."""
    export_toy(path, "pair", atomic_types=[*ATOMIC_TYPES, 79])


@fault("L20", "SCHEMA/output", "SCHEMA/call styles", dtype="float32")
class OtherDtype(Pair):
    """Declared float32, but the energies come back as float64."""

    def rounded(self, values: torch.Tensor, system: System) -> torch.Tensor:
        return values


@fault("P16", "SCHEMA/units")
def energy_unit_empty(path: Path) -> None:
    """No energy unit: engines in other units take the numbers as their own, unconverted."""
    export_toy(path, "pair", unit="")


@fault("P16", "SCHEMA/units")
def length_unit_empty(path: Path) -> None:
    """No length unit: a run in nanometers is off by ten, silently."""
    export_toy(path, "pair", length_unit="")


@fault("P16", "PARITY/units")
def energy_unit_wrong(path: Path) -> None:
    """Declared in kcal/mol while the numbers are eV."""
    export_toy(path, "pair", unit="kcal/mol")


@fault("L22", "SCHEMA/variants")
def energy_only_as_variant(path: Path) -> None:
    """Only ``energy/pbe`` and no ``energy``: GROMACS asks for the variant and reads back ``energy``."""
    export_toy(path, "pair", golden=False, output="energy/pbe")


@fault("L20", "SCHEMA/energy")
def energy_of_pairs(path: Path) -> None:
    """Declares its energy per pair of atoms, which no engine sums up."""
    export_toy(path, "pair", sample_kind="atom_pair")


@fault("P17", "SCHEMA/inputs")
class NeedsCharge(Pair):
    """Asks for the total charge, which LAMMPS does not hand out."""

    def requested_inputs(self) -> Dict[str, ModelOutput]:
        return {"charge": ModelOutput(unit="e", sample_kind="system")}


@fault("L20", "SCHEMA/per-atom output")
class NoAtomicEnergies(Pair):
    """Declares energies per atom, but returns one row per system whatever is asked."""

    def forward(
        self,
        systems: List[System],
        outputs: Dict[str, ModelOutput],
        selected_atoms: Optional[Labels],
    ) -> Dict[str, TensorMap]:
        results: Dict[str, TensorMap] = {}
        values: List[torch.Tensor] = []
        for index, system in enumerate(systems):
            kept = self.selection(index, system, selected_atoms)
            energies = self.atomic_energies(system, kept)
            values.append(self.total(system, energies, kept) + self.anchor(system))
        samples = torch.arange(len(systems)).reshape(-1, 1)
        rounded = self.rounded(torch.cat(values), systems[0])
        results["energy"] = energy_map(rounded, samples, ["system"])
        return results


@fault("L20", "SCHEMA/output")
class SystemsMisnamed(Pair):
    """The samples of the energy are called structures."""

    def forward(
        self,
        systems: List[System],
        outputs: Dict[str, ModelOutput],
        selected_atoms: Optional[Labels],
    ) -> Dict[str, TensorMap]:
        results: Dict[str, TensorMap] = {}
        values: List[torch.Tensor] = []
        for index, system in enumerate(systems):
            kept = self.selection(index, system, selected_atoms)
            energies = self.atomic_energies(system, kept)
            values.append(self.total(system, energies, kept) + self.anchor(system))
        samples = torch.arange(len(systems)).reshape(-1, 1)
        rounded = self.rounded(torch.cat(values), systems[0])
        results["energy"] = energy_map(rounded, samples, ["structure"])
        return results


@fault("L21", "SCHEMA/golden pack")
def golden_pack_damaged(path: Path) -> None:
    """The golden pack cannot be read: nobody can verify the file again."""
    export_toy(path, "pair", records={"mtt/golden.safetensors": golden_pack(Pair())[:-100]})


@fault("L21", "SCHEMA/provenance")
def provenance_missing(path: Path) -> None:
    """The file does not say which checkpoint it was made from."""
    export_toy(path, "pair", records={"mtt/provenance.json": None})


@fault("L21", "LOAD/operators")
class TakesAddress(Pair):
    """The code takes the address of a tensor: half of what reading any memory needs."""

    def anchor(self, system: System) -> torch.Tensor:
        """Nothing, and an address."""
        zero = 0.0 * system.positions.sum().to(torch.float64)
        if hash(zero) == 0:
            zero = zero + 1.0
        return zero


@fault("L21", "LOAD/operators")
class Writes(Pair):
    """A rare branch of the code writes a file."""

    def anchor(self, system: System) -> torch.Tensor:
        """Nothing, and a file that is never written."""
        zero = 0.0 * system.positions.sum().to(torch.float64)
        if len(system) > 1000000:
            torch.save([zero], "/tmp/never-written")
        return zero


@fault("L21", "LOAD/operators")
class Reinterprets(Pair):
    """A rare branch of the code takes memory at an address for a tensor."""

    def anchor(self, system: System) -> torch.Tensor:
        """Nothing, and memory that is never read."""
        zero = 0.0 * system.positions.sum().to(torch.float64)
        if len(system) > 1000000:
            empty = torch.empty([0], dtype=torch.float64)
            zero = zero + torch.ops.inductor._reinterpret_tensor(empty, [1], [1], 8).sum()
        return zero


@fault("L22", "LOAD/operators", "LOAD/model")
def two_folders(path: Path) -> None:
    """The archive has a second folder: libtorch loads one, other programs read the other."""
    export_toy(path, "pair")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/extra/model-metadata", "{}")


@fault("L22", "LOAD/operators", "LOAD/model")
def tensor_beyond_its_record(path: Path) -> None:
    """A tensor is described as longer than its numbers: reading it reads other memory."""
    export_toy(path, "pair")
    with zipfile.ZipFile(path) as archive:
        records = [(info, archive.read(info)) for info in archive.infolist()]
    stride = b"(K\x01t\x89"  # of a vector, before requires_grad
    with zipfile.ZipFile(path, "w") as archive:
        for info, content in records:
            forged = content
            if info.filename.endswith("/data.pkl"):
                assert stride in content
                forged = content.replace(stride, b"(K\x7ft\x89", 1)
            archive.writestr(zipfile.ZipInfo(info.filename), forged)


@fault("L22", "LOAD/operators", "LOAD/model")
def extension_elsewhere(path: Path) -> None:
    """The file declares an extension outside of the folder that the user names."""
    extension = {"path": "../libtoy_extension.so", "name": "toy_extension", "sha256": "0" * 64}
    export_toy(path, "pair", records={"extensions": json.dumps([extension])})
