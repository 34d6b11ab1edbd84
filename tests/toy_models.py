"""Small sound metatomic models, exported with golden packs: what the verifier must accept.

``Pair`` is a pair potential (interaction range = cutoff), ``Embedded`` passes messages once
(range = 2 cutoff). Faults are made in tests/faults by overriding one of the small methods of
``ToyModel``; the physics are free functions because TorchScript has no ``super()``.
"""

# ruff: noqa: UP006, UP035, UP045  (TorchScript and its classes want the names of typing)

import json
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import metatomic.torch
import numpy as np
import safetensors.torch
import torch
import vesin
from metatensor.torch import Labels, TensorBlock, TensorMap
from metatomic.torch import (
    AtomisticModel,
    ModelCapabilities,
    ModelMetadata,
    ModelOutput,
    NeighborListOptions,
    System,
)

ATOMIC_TYPES = [1, 6, 8, 29]
CUTOFF = 3.2
BASELINE = [-13.6, -1029.5, -2041.25, -45.0]  # eV per atom of each type


def smooth_cutoff(squared: torch.Tensor, cutoff: float) -> torch.Tensor:
    """(1 - (r/cutoff)^2)^3, zero from the cutoff on: two continuous derivatives there."""
    inside = torch.clamp(1.0 - squared / (cutoff * cutoff), min=0.0)
    return inside * inside * inside


def pair_terms(
    species: torch.Tensor,
    centers: torch.Tensor,
    neighbors: torch.Tensor,
    vectors: torch.Tensor,
    strength: torch.Tensor,
    cutoff: float,
) -> torch.Tensor:
    """Energy [E] that each directed pair gives its center; finite at any distance.

    :param strength: [T, T] depth in energy units, first index the center's type
    """
    squared = (vectors * vectors).sum(dim=1)
    depth = strength[species.index_select(0, centers), species.index_select(0, neighbors)]
    shape = 3.0 * torch.exp(-squared) - torch.exp(-0.25 * squared)
    return depth * shape * smooth_cutoff(squared, cutoff)


def sum_to_atoms(values: torch.Tensor, index: torch.Tensor, n_atoms: int) -> torch.Tensor:
    zeros = torch.zeros(n_atoms, dtype=values.dtype, device=values.device)
    return zeros.index_add(0, index, values)


def pair_energies(
    species: torch.Tensor,
    centers: torch.Tensor,
    neighbors: torch.Tensor,
    vectors: torch.Tensor,
    strength: torch.Tensor,
    cutoff: float,
) -> torch.Tensor:
    """Sum of the pair terms of each center [N]."""
    terms = pair_terms(species, centers, neighbors, vectors, strength, cutoff)
    return sum_to_atoms(terms, centers, species.shape[0])


def embedded_energies(
    species: torch.Tensor,
    centers: torch.Tensor,
    neighbors: torch.Tensor,
    vectors: torch.Tensor,
    strength: torch.Tensor,
    cutoff: float,
) -> torch.Tensor:
    """Pair terms whose depth grows with the neighbor's density, plus an embedding term [N]."""
    terms = pair_terms(species, centers, neighbors, vectors, strength, cutoff)
    squared = (vectors * vectors).sum(dim=1)
    weight = 0.5 + 0.2 * species.index_select(0, neighbors).to(vectors.dtype)
    cut = smooth_cutoff(squared, cutoff)
    density = sum_to_atoms(weight * torch.exp(-0.3 * squared) * cut, centers, species.shape[0])
    state = torch.tanh(density)
    messages = terms * (1.0 + state.index_select(0, neighbors)) + 0.3 * cut * state.index_select(
        0, neighbors
    )
    return sum_to_atoms(messages, centers, species.shape[0]) - 0.4 * state


def neighbor_edges(
    system: System, cutoff: float, full_list: bool, strict: bool
) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Centers [E], neighbors [E] (int64) and vectors [E, 3] of the system's neighbor list."""
    block = system.get_neighbor_list(
        NeighborListOptions(cutoff=cutoff, full_list=full_list, strict=strict)
    )
    pairs = block.samples.values.to(torch.int64)
    return pairs[:, 0], pairs[:, 1], block.values.reshape(-1, 3)


def selected_indices(
    index: int, n_atoms: int, selected_atoms: Optional[Labels], device: torch.device
) -> torch.Tensor:
    """Atoms of system ``index`` that are selected, ascending [K] int64."""
    if selected_atoms is None:
        return torch.arange(n_atoms, device=device)
    atoms = selected_atoms.values.to(device=device, dtype=torch.int64)
    return atoms[atoms[:, 0] == index][:, 1].sort()[0]


def energy_map(values: torch.Tensor, samples: torch.Tensor, names: List[str]) -> TensorMap:
    """TensorMap of an energy: ``values`` [K], ``samples`` [K, len(names)]."""
    single = torch.zeros((1, 1), dtype=torch.int32, device=values.device)
    block = TensorBlock(
        values=values.reshape(-1, 1),
        samples=Labels(names, samples.to(torch.int32)),
        components=torch.jit.annotate(List[Labels], []),
        properties=Labels(["energy"], single),
    )
    return TensorMap(keys=Labels(["_"], single), blocks=[block])


class ToyModel(torch.nn.Module):
    """Metatomic interface around :meth:`interactions`; each method is a place where faults go.

    :param dtype: of the interactions; baseline and sums are always float64
    :param strict: whether a list without pairs beyond the cutoff is requested
    """

    length_unit = "angstrom"
    energy_unit = "eV"
    species_of_type: torch.Tensor
    strength: torch.Tensor
    baseline: torch.Tensor

    def __init__(
        self,
        dtype: torch.dtype = torch.float64,
        cutoff: float = CUTOFF,
        strict: bool = True,
        full_list: bool = True,
        baseline: Optional[List[float]] = None,
    ) -> None:
        super().__init__()
        self.cutoff = float(cutoff)
        self.strict = strict
        self.full_list = full_list
        lookup = torch.full((120,), -1, dtype=torch.int64)
        lookup[torch.tensor(ATOMIC_TYPES)] = torch.arange(len(ATOMIC_TYPES))
        self.register_buffer("species_of_type", lookup)
        # Not symmetric: exchanging center and neighbor, or halving a list, must change energies.
        index = torch.arange(len(ATOMIC_TYPES), dtype=torch.float64)
        strength = 0.6 + 0.15 * index[:, None] + 0.05 * index[None, :] * index[None, :]
        self.register_buffer("strength", strength.to(dtype))
        values = torch.tensor(BASELINE if baseline is None else baseline, dtype=torch.float64)
        self.register_buffer("baseline", values)

    def range(self) -> float:
        """True interaction range."""
        return self.cutoff

    def requested_neighbor_lists(self) -> List[NeighborListOptions]:
        return [
            NeighborListOptions(cutoff=self.cutoff, full_list=self.full_list, strict=self.strict)
        ]

    def edges(self, system: System) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return neighbor_edges(system, self.cutoff, self.full_list, self.strict)

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        return pair_energies(species, centers, neighbors, vectors, self.strength, self.cutoff)

    def atomic_energies(self, system: System, kept: torch.Tensor) -> torch.Tensor:
        """Energy of every atom [N], float64; of use are only those of the ``kept`` atoms."""
        species = self.species_of_type.index_select(0, system.types.to(torch.int64))
        centers, neighbors, vectors = self.edges(system)
        raw = self.interactions(species, centers, neighbors, vectors)
        return raw.to(torch.float64) + self.baseline.index_select(0, species)

    def all_energies(self, systems: List[System], kept: List[torch.Tensor]) -> List[torch.Tensor]:
        """Energies of the atoms of each system."""
        energies: List[torch.Tensor] = []
        for index, system in enumerate(systems):
            energies.append(self.atomic_energies(system, kept[index]))
        return energies

    def selection(
        self, index: int, system: System, selected_atoms: Optional[Labels]
    ) -> torch.Tensor:
        """Indices [K] of the atoms of one system whose energies are asked for."""
        return selected_indices(index, len(system), selected_atoms, system.positions.device)

    def labels(self, kept: torch.Tensor) -> torch.Tensor:
        """What the rows of per-atom energies are called [K]."""
        return kept

    def total(self, system: System, energies: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        """Energy of one system as one row [1]."""
        return energies.index_select(0, kept).sum().reshape(1)

    def anchor(self, system: System) -> torch.Tensor:
        """A zero that keeps the graph when a system has no pairs or no selected atoms."""
        return 0.0 * system.positions.sum().to(torch.float64)

    def rounded(self, values: torch.Tensor, system: System) -> torch.Tensor:
        """The sums in the model's dtype."""
        return values.to(system.positions.dtype)

    def forward(
        self,
        systems: List[System],
        outputs: Dict[str, ModelOutput],
        selected_atoms: Optional[Labels],
    ) -> Dict[str, TensorMap]:
        return self.energies(systems, outputs, selected_atoms)

    def energies(
        self,
        systems: List[System],
        outputs: Dict[str, ModelOutput],
        selected_atoms: Optional[Labels],
    ) -> Dict[str, TensorMap]:
        """The energy, if it is asked for."""
        results: Dict[str, TensorMap] = {}
        if "energy" not in outputs or len(systems) == 0:
            return results
        kept: List[torch.Tensor] = []
        for index, system in enumerate(systems):
            kept.append(self.selection(index, system, selected_atoms))
        energies = self.all_energies(systems, kept)
        per_atom = outputs["energy"].sample_kind == "atom"
        values: List[torch.Tensor] = []
        samples: List[torch.Tensor] = []
        for index, system in enumerate(systems):
            if per_atom:
                rows = energies[index].index_select(0, kept[index])
                labels = self.labels(kept[index])
                samples.append(torch.stack([torch.full_like(labels, index), labels], dim=1))
            else:
                rows = self.total(system, energies[index], kept[index])
                samples.append(torch.full((rows.shape[0], 1), index, device=rows.device))
            values.append(rows + self.anchor(system))
        names = ["system", "atom"] if per_atom else ["system"]
        rounded = self.rounded(torch.cat(values), systems[0])
        results["energy"] = energy_map(rounded, torch.cat(samples), names)
        return results


class Pair(ToyModel):
    """Smooth pair potential."""


class Embedded(ToyModel):
    """Pair potential whose strength depends on the density at the neighbor."""

    def range(self) -> float:
        return 2.0 * self.cutoff

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        return embedded_energies(species, centers, neighbors, vectors, self.strength, self.cutoff)


class OtherUnits(ToyModel):
    """:class:`Pair` in nanometers and kJ/mol."""

    length_unit = "nm"
    energy_unit = "kJ/mol"

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        energy = metatomic.torch.unit_conversion_factor("eV", "kJ/mol")
        super().__init__(dtype, cutoff=0.1 * CUTOFF, baseline=[energy * e for e in BASELINE])
        self.strength *= energy

    def interactions(
        self,
        species: torch.Tensor,
        centers: torch.Tensor,
        neighbors: torch.Tensor,
        vectors: torch.Tensor,
    ) -> torch.Tensor:
        return pair_energies(
            species, centers, neighbors, 10.0 * vectors, self.strength, 10.0 * self.cutoff
        )


MODELS: Dict[str, type] = {"pair": Pair, "embedded": Embedded}


class Example:
    """A check system: types (N,), positions (N, 3), cell (3, 3); zero rows are not periodic."""

    def __init__(self, name: str, types: Any, positions: Any, cell: Any = None) -> None:
        self.name = name
        self.types = np.array(types, dtype=np.int32)
        self.positions = np.array(positions, dtype=np.float64).reshape(-1, 3)
        self.cell = np.zeros((3, 3)) if cell is None else np.array(cell, dtype=np.float64)
        self.pbc = np.abs(self.cell).sum(axis=1) > 0


def examples() -> List[Example]:
    """Molecules, periodic, triclinic, smaller than the cutoff, slab, wire, isolated atoms."""
    random = np.random.Generator(np.random.Philox(7))

    def lattice(repeats: Tuple[int, int, int], cell: np.ndarray) -> np.ndarray:
        grid = np.stack(np.meshgrid(*(np.arange(n) for n in repeats), indexing="ij"), axis=-1)
        fractional = (grid.reshape(-1, 3) + random.uniform(-0.08, 0.08, (grid.size // 3, 3))) + 0.3
        return (fractional / np.array(repeats)) @ cell

    def types(count: int) -> List[int]:
        return [ATOMIC_TYPES[(3 * i + i // 4) % 4] for i in range(count)]

    cubic = np.diag([3.9, 4.1, 4.0])
    triclinic = np.array([[5.6, 0.0, 0.0], [1.9, 3.8, 0.0], [-1.1, 0.8, 4.2]])
    wire = np.array([[4.4, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    slab = np.array([[4.0, 0.3, 0.0], [-0.6, 4.2, 0.0], [0.0, 0.0, 0.0]])
    water = [[0.0, 0.0, 0.0], [0.76, 0.59, 0.02], [-0.75, 0.6, 0.0]]
    methanol = [
        [-0.05, 0.66, 0.0],
        [-0.05, -0.76, 0.02],
        [-1.09, 0.98, 0.0],
        [0.44, 1.07, 0.89],
        [0.43, 1.08, -0.89],
        [0.86, -1.06, 0.0],
    ]
    box = np.diag([4.2, 4.2, 4.2])
    return [
        Example("water", [8, 1, 1], water),
        Example("methanol", [6, 8, 1, 1, 1, 1], methanol),
        Example("cluster", types(12), lattice((3, 2, 2), np.diag([6.0, 4.1, 4.2]))),
        Example("cubic", types(8), lattice((2, 2, 2), cubic), cubic),
        Example("triclinic", types(12), lattice((3, 2, 2), triclinic), triclinic),
        Example(
            "small-cell", [29], [[0.1, 0.2, 0.3]], [[0, 1.8, 1.8], [1.8, 0, 1.8], [1.8, 1.8, 0]]
        ),
        Example("slab", types(8), lattice((2, 2, 2), box), slab),
        Example("wire", types(4), lattice((2, 2, 1), np.diag([4.4, 3.6, 2.0])), wire),
        Example("atom", [6], [[0.3, -0.2, 0.1]]),
        Example("far-apart", [1, 29], [[0.0, 0.0, 0.0], [7.0, 1.0, 2.0]]),
    ]


def in_unit(example: Example, length_unit: str) -> Example:
    factor = metatomic.torch.unit_conversion_factor("angstrom", length_unit)
    return Example(example.name, example.types, factor * example.positions, factor * example.cell)


def reference(model: ToyModel, example: Example) -> Dict[str, torch.Tensor]:
    """Energies [N], energy [1], forces [N, 3], virial [3, 3] of the eager model, float64.

    Neighbor lists and vectors are made here, without metatomic, so that a mistake in either shows.
    """
    example = in_unit(example, model.length_unit)
    finder = vesin.NeighborList(cutoff=model.cutoff, full_list=True)
    i, j, shifts = finder.compute(example.positions, example.cell, example.pbc, "ijS")
    positions = torch.tensor(example.positions, requires_grad=True)
    strain = torch.eye(3, dtype=torch.float64, requires_grad=True)
    centers = torch.tensor(i.astype(np.int64))
    neighbors = torch.tensor(j.astype(np.int64))
    moved, cell = positions @ strain, torch.tensor(example.cell) @ strain
    shift = torch.tensor(shifts.astype(np.float64).reshape(-1, 3))
    vectors = moved[neighbors] - moved[centers] + shift @ cell
    species = model.species_of_type[torch.tensor(example.types.astype(np.int64))]
    raw = model.interactions(species, centers, neighbors, vectors) + 0.0 * moved.sum()
    energies = raw + model.baseline[species]
    forces, virial = torch.autograd.grad(-energies.sum(), [positions, strain])
    energies = energies.detach()
    return {
        "energies": energies,
        "energy": energies.sum().reshape(1),
        "forces": forces,
        "virial": virial,
    }


def golden_pack(model: ToyModel) -> bytes:
    """Safetensors bytes of :func:`examples` with the references of the float64 ``model``."""
    tensors: Dict[str, torch.Tensor] = {}
    for k, unscaled in enumerate(examples()):
        example = in_unit(unscaled, model.length_unit)
        tensors[f"{k}/types"] = torch.tensor(example.types)
        tensors[f"{k}/positions"] = torch.tensor(example.positions)
        tensors[f"{k}/cell"] = torch.tensor(example.cell)
        tensors[f"{k}/pbc"] = torch.tensor(example.pbc.astype(np.uint8))
        for key, value in reference(model, unscaled).items():
            tensors[f"{k}/{key}"] = value.contiguous()
    header = {
        "format": 1,
        "dtype": "float64",
        "energy_unit": model.energy_unit,
        "length_unit": model.length_unit,
        "output": "energy",
        "systems": [example.name for example in examples()],
    }
    text = json.dumps(header, sort_keys=True, separators=(",", ":"))
    return safetensors.torch.save(tensors, metadata={"mtt": text})


def capabilities(module: ToyModel, dtype: str = "float64", **changes: Any) -> ModelCapabilities:
    """True capabilities of ``module``, with ``changes`` (also ``unit``, ``sample_kind``)."""
    output = ModelOutput(
        unit=changes.pop("unit", "eV"),
        sample_kind=changes.pop("sample_kind", "atom"),
        description="potential energy",
    )
    fields: Dict[str, Any] = {
        "outputs": {changes.pop("output", "energy"): output},
        "atomic_types": ATOMIC_TYPES,
        "interaction_range": module.range(),
        "length_unit": "angstrom",
        "supported_devices": ["cpu", "cuda"],
        "dtype": dtype,
    }
    return ModelCapabilities(**{**fields, **changes})


def save(path: Path, model: torch.nn.Module, golden: Optional[bytes], **records: Any) -> None:
    """Write ``model`` with the records of metatomic's ``save``, provenance and golden pack.

    :param golden: without one the file looks like an export of another program
    :param records: further extra records; ``None`` drops one, ``__`` in a name stands for ``-``
    """
    extra: Dict[str, Any] = {
        "torch-version": torch.__version__,
        "metatomic-version": metatomic.torch.__version__,
        "extensions": "[]",
        "extensions-deps": "[]",
        "export-metadata": "{}",
        "model-metadata": model.metadata().__getstate__()[0],
        "mtt/provenance.json": json.dumps({"format": 1, "architecture": {"name": "toy"}}),
    }
    if golden is None:
        del extra["mtt/provenance.json"]
    else:
        extra["mtt/golden.safetensors"] = golden
    extra.update({key.replace("__", "-"): value for key, value in records.items()})
    kept = {key: value for key, value in extra.items() if value is not None}
    torch.jit.save(torch.jit.script(model), str(path), _extra_files=kept)


def export_toy(
    path: Path,
    model: Any = "pair",
    dtype: str = "float64",
    reference_model: Any = None,
    records: Optional[Dict[str, Any]] = None,
    module_options: Optional[Dict[str, Any]] = None,
    golden: bool = True,
    **changes: Any,
) -> Path:
    """Export a toy model to ``path`` and return it.

    :param model: ``"pair"``, ``"embedded"`` or a subclass of :class:`ToyModel` (with a fault)
    :param reference_model: what makes the golden pack; by default ``model`` itself, in float64
    :param records: changed extra records, see :func:`save`
    :param module_options: keyword arguments of the model class
    :param changes: changed capabilities, see :func:`capabilities`
    """
    kind = MODELS[model] if isinstance(model, str) else model
    truth = kind if reference_model is None else reference_model
    truth = MODELS[truth] if isinstance(truth, str) else truth
    options = module_options or {}
    pack = golden_pack(truth(dtype=torch.float64, **options).eval()) if golden else None
    module = kind(dtype=getattr(torch, dtype), **options).eval()
    declared = capabilities(module, dtype, **changes)
    atomistic = AtomisticModel(module, ModelMetadata(name=f"toy {kind.__name__}"), declared)
    save(path, atomistic.eval(), pack, **(records or {}))
    return path
