"""Energies, forces and stresses of many structures from a checkpoint or an exported model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from mtt.data.batch import collate
from mtt.data.dataset import Dataset, unknown_type
from mtt.data.structure import Structure
from mtt.errors import UserError

_MAX_ATOMS, _MAX_STRUCTURES = 1000, 32
# A structure that is only evaluated may be far larger than one that is trained on.
_MAX_PAIRS = 100_000_000


@dataclass(frozen=True)
class Prediction:
    """What a model says about one structure of N atoms.

    ``energy`` in the model's energy unit; ``forces`` (N, 3) float64, energy/length; ``stress`` (3,
    3) float64, energy/length^3, None unless the structure is periodic along all three axes.
    """

    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64] | None


class Predictor(Protocol):
    """A loaded model. ``outputs`` are its energy targets with their units."""

    kind: str
    outputs: dict[str, str]
    length_unit: str
    atomic_types: list[int]

    def predict(self, structures: Sequence[Structure], target: str) -> Iterator[Prediction]:
        """One prediction per structure, in order."""
        ...


def open_model(path: Path, device: str = "auto") -> Predictor:
    """Load a checkpoint or an exported model; which of them it is, its first bytes say.

    :param device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``
    :raises UserError: if the file is missing or neither of the two, or the device is not there
    """
    chosen = _device(device)
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except FileNotFoundError:
        raise UserError("there is no such file", where=str(path)) from None
    except OSError as error:
        raise UserError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
    if start[:4] == b"PK\x03\x04":
        return Exported(path, chosen)
    if start[8:9] == b"{":
        return Checkpoint(path, chosen)
    raise UserError(
        "this is neither an exported model (.pt) nor a checkpoint (.ckpt) of mtt",
        where=str(path),
        hint="give the model.pt or model.ckpt that a training run wrote",
    )


class Checkpoint:
    """A checkpoint with the weights of its best epoch, evaluated in the checkpoint's precision."""

    kind = "checkpoint"

    def __init__(self, path: Path, device: torch.device) -> None:
        from mtt import checkpoint

        header, tensors = checkpoint.read(path)
        self.dtype = torch.float64 if header["precision"] == 64 else torch.float32
        self.device = device
        self.potential = checkpoint.load_potential(header, tensors, weights="best")
        self.potential.set_precision(self.dtype).to(device).eval()
        self.outputs = {name: target["unit"] for name, target in header["targets"].items()}
        self.length_unit = str(header["length_unit"])
        self.atomic_types = [int(atomic_type) for atomic_type in header["atomic_types"]]

    def predict(self, structures: Sequence[Structure], target: str) -> Iterator[Prediction]:
        """One prediction per structure, in order."""
        from mtt.architectures.gradients import energy_forces_strain

        scale = float(self.potential.get_buffer("scale"))
        for chunk in _chunks(structures):
            data = Dataset(
                chunk, self.atomic_types, self.potential.cutoff, target, max_pairs=_MAX_PAIRS
            )
            graph = collate(data, range(len(chunk)), self.dtype, self.device).graph
            raw, forces, strain = energy_forces_strain(self.potential.core, graph, False)
            baseline = self.potential.get_buffer("composition").index_select(0, graph.species)
            energy = raw.detach().double() * scale
            energy = energy.index_add(0, graph.system, baseline)
            yield from _predictions(
                chunk,
                energy.detach(),
                forces.detach().double() * scale,
                strain.detach().double() * scale,
            )


class Exported:
    """An exported metatomic model, called as MD engines do, with forces and stress by autograd."""

    kind = "exported model"

    def __init__(self, path: Path, device: torch.device) -> None:
        from metatomic.torch import load_atomistic_model

        try:
            self.model: Any = load_atomistic_model(str(path)).to(device)
        except (RuntimeError, ValueError) as error:
            first = str(error).strip().splitlines()[0]
            raise UserError(
                f"the file is not an exported model that can be loaded: {first}",
                where=str(path),
                hint=f"'mtt verify {path}' says more",
            ) from error
        self.device = device
        capabilities = self.model.capabilities()
        self.dtype = torch.float64 if capabilities.dtype == "float64" else torch.float32
        self.outputs = {
            name: output.unit
            for name, output in capabilities.outputs.items()
            if name.split("/")[0] == "energy"
        }
        self.length_unit = str(capabilities.length_unit)
        self.atomic_types = [int(atomic_type) for atomic_type in capabilities.atomic_types]

    def predict(self, structures: Sequence[Structure], target: str) -> Iterator[Prediction]:
        """One prediction per structure, in order."""
        from metatomic.torch import ModelEvaluationOptions, ModelOutput

        output = ModelOutput(unit=self.outputs[target], sample_kind="system")
        options = ModelEvaluationOptions(length_unit=self.length_unit, outputs={target: output})
        for chunk in _chunks(structures):
            for structure in chunk:
                _check_types(structure, self.atomic_types)
            positions, strains, systems = self._systems(chunk)
            # Profiling and recompiling pay off over thousands of calls of one shape, not here.
            with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]  # torch lists it nowhere
                results = self.model(systems, options, check_consistency=True)
                energy = results[target].block().values.reshape(-1)
                gradients = _gradients(energy, [*positions, *strains])
            yield from _predictions(
                chunk,
                energy.detach().double(),
                -torch.cat(gradients[: len(chunk)]).double(),
                torch.stack(gradients[len(chunk) :]).double(),
            )

    def _systems(
        self, structures: Sequence[Structure]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor], list[Any]]:
        """Leaves for positions and strains, and the systems that depend on them."""
        from metatomic.torch import System
        from vesin.metatomic import NeighborList

        finders = [
            NeighborList(option, self.length_unit, skin=0.0)
            for option in self.model.requested_neighbor_lists()
        ]
        positions, strains, systems = [], [], []
        for structure in structures:
            x = self._tensor(structure.positions).requires_grad_()
            strain = self._tensor(np.eye(3)).requires_grad_()
            system = System(
                types=torch.tensor(structure.types, dtype=torch.int32, device=self.device),
                positions=x @ strain,
                cell=self._tensor(structure.cell) @ strain,
                pbc=torch.tensor(structure.pbc, device=self.device),
            )
            for finder in finders:
                system.add_neighbor_list(finder.options, finder.compute(system))
            positions.append(x)
            strains.append(strain)
            systems.append(system)
        return positions, strains, systems

    def _tensor(self, array: NDArray[np.float64]) -> torch.Tensor:
        return torch.tensor(array, dtype=self.dtype, device=self.device)


def _gradients(energy: torch.Tensor, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    if not energy.requires_grad:
        return [torch.zeros_like(tensor) for tensor in inputs]
    found = torch.autograd.grad(energy.sum(), inputs, allow_unused=True)
    return [
        torch.zeros_like(tensor) if gradient is None else gradient
        for tensor, gradient in zip(inputs, found, strict=True)
    ]


def _predictions(
    structures: Sequence[Structure],
    energy: torch.Tensor,
    forces: torch.Tensor,
    strain: torch.Tensor,
) -> Iterator[Prediction]:
    energies, derivatives = energy.cpu().numpy(), strain.cpu().numpy()
    parts = np.split(forces.cpu().numpy(), np.cumsum([len(one) for one in structures])[:-1])
    for index, structure in enumerate(structures):
        stress = None
        if structure.volume > 0.0:
            stress = derivatives[index] / structure.volume
            stress = 0.5 * (stress + stress.T)
        yield Prediction(float(energies[index]), parts[index], stress)


def _chunks(structures: Sequence[Structure]) -> Iterator[list[Structure]]:
    chunk: list[Structure] = []
    atoms = 0
    for structure in structures:
        if chunk and (atoms + len(structure) > _MAX_ATOMS or len(chunk) == _MAX_STRUCTURES):
            yield chunk
            chunk, atoms = [], 0
        chunk.append(structure)
        atoms += len(structure)
    if chunk:
        yield chunk


def _check_types(structure: Structure, atomic_types: list[int]) -> None:
    unknown = ~np.isin(structure.types, atomic_types)
    if unknown.any():
        raise unknown_type(structure, int(np.flatnonzero(unknown)[0]), atomic_types)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"the device '{name}' was asked for, but torch sees no CUDA device here")
    return torch.device(name)
