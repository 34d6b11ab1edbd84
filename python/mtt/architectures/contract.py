"""What every architecture must keep, as tests that a third-party package runs in three lines::

    from mtt.architectures.contract import ArchitectureContract

    class TestMine(ArchitectureContract):
        architecture = "mine"

Run by pytest, or call the ``test_*`` methods. Set ``hypers`` to a dictionary of model hypers that make a
small, fast model (the defaults are used otherwise).
"""

import dataclasses
import io
from typing import Any, ClassVar

import numpy as np
import torch
from metatensor.torch import Labels
from metatomic.torch import ModelOutput, System

from mtt import plugins
from mtt.architectures.gradients import energy_forces_strain
from mtt.architectures.metatomic_systems import system_with_neighbors
from mtt.architectures.potential import Potential
from mtt.data.batch import collate
from mtt.data.dataset import Dataset
from mtt.data.graph import Graph
from mtt.data.structure import Structure

TYPES = [1, 6, 8]


def molecule(seed: int = 0, count: int = 9) -> Structure:
    """``count`` atoms on a jittered grid of 1.4 length units, not periodic."""
    random = np.random.Generator(np.random.Philox(seed))
    side = int(np.ceil(count ** (1 / 3)))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)[:count]
    return Structure(
        types=np.array([TYPES[i % 3] for i in range(count)], dtype=np.int32),
        positions=1.4 * grid + random.uniform(-0.25, 0.25, (count, 3)),
        cell=np.zeros((3, 3)),
        pbc=np.zeros(3, dtype=bool),
    )


def crystal(pbc: tuple[bool, bool, bool] = (True, True, True)) -> Structure:
    """Eight atoms in a triclinic cell smaller than most cutoffs."""
    cell = np.array([[3.07, 0.0, 0.0], [0.5, 3.13, 0.0], [-0.4, 0.3, 2.91]])
    fractions = np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing="ij"), -1).reshape(-1, 3) / 2
    base = molecule(1, 8)
    periodic = np.array(pbc)
    jitter = 0.2 * np.sin(np.arange(24.0)).reshape(8, 3)
    return Structure(
        types=base.types,
        positions=fractions @ cell + jitter,
        cell=np.where(periodic[:, None], cell, 0.0),
        pbc=periodic,
    )


class ArchitectureContract:
    """Subclass, name the architecture, and let pytest collect the methods."""

    architecture: ClassVar[str]
    hypers: ClassVar[dict[str, Any]] = {}

    def potential(self, dtype: torch.dtype = torch.float64) -> Potential:
        """A freshly initialised potential with a baseline and a scale that are not trivial."""
        architecture = plugins.get(self.architecture)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            core = architecture.build_core(architecture.ModelHypers(**self.hypers), TYPES)
        potential = Potential(core, TYPES, "energy", "eV", "angstrom").set_precision(dtype).eval()
        potential.composition += torch.tensor([-13.6, -1030.0, -2041.0], dtype=torch.float64)
        potential.scale.fill_(0.7)
        return potential

    def graph(self, structures: list[Structure], dtype: torch.dtype = torch.float64) -> Graph:
        cutoff = self.potential().cutoff
        dataset = Dataset(structures, TYPES, cutoff, "energy")
        return collate(dataset, range(len(structures)), dtype).graph

    def energies(self, structure: Structure) -> torch.Tensor:
        with torch.no_grad():
            return self.potential().atomic_energies(self.graph([structure]))

    def test_shapes_and_dtype(self) -> None:
        for dtype in (torch.float32, torch.float64):
            raw = self.potential(dtype).core(self.graph([molecule(), crystal()], dtype))
            assert raw.shape == (17,)
            assert raw.dtype == dtype

    def test_forces_and_strain_are_the_gradient(self) -> None:
        structure = crystal()
        core = self.potential().core
        _, forces, strain = energy_forces_strain(core, self.graph([structure]), False)
        step = 1e-5

        @torch.no_grad()
        def energy(positions: np.ndarray, cell: np.ndarray) -> float:
            moved = dataclasses.replace(structure, positions=positions, cell=cell)
            return float(core(self.graph([moved])).sum())

        def agree(difference: float, derivative: float) -> bool:
            return abs(difference / (2 * step) - derivative) < 1e-6 * max(1.0, abs(derivative))

        for atom, axis in ((0, 0), (3, 1), (7, 2)):
            delta = np.zeros_like(structure.positions)
            delta[atom, axis] = step
            plus = energy(structure.positions + delta, structure.cell)
            minus = energy(structure.positions - delta, structure.cell)
            assert agree(minus - plus, float(forces[atom, axis]))
        for a, b in ((0, 0), (0, 1), (2, 1)):
            values = []
            for sign in (1, -1):
                deformation = np.eye(3)
                deformation[a, b] += sign * step
                values.append(
                    energy(structure.positions @ deformation, structure.cell @ deformation)
                )
            assert agree(values[0] - values[1], float(strain[0, a, b]))

    def test_translation_and_permutation(self) -> None:
        structure = crystal()
        expected = self.energies(structure)
        moved = dataclasses.replace(structure, positions=structure.positions + [1.3, -0.7, 40.0])
        torch.testing.assert_close(self.energies(moved), expected, rtol=1e-10, atol=1e-9)
        order = np.array([3, 1, 0, 7, 5, 6, 2, 4])
        shuffled = dataclasses.replace(
            structure, positions=structure.positions[order], types=structure.types[order]
        )
        torch.testing.assert_close(self.energies(shuffled), expected[order], rtol=1e-10, atol=1e-9)

    def test_batch_equals_single_structures(self) -> None:
        structures = [molecule(), crystal(), molecule(2, 1), crystal((True, False, True))]
        potential = self.potential()
        with torch.no_grad():
            together = potential.atomic_energies(self.graph(structures))
            apart = [potential.atomic_energies(self.graph([s])) for s in structures]
        torch.testing.assert_close(together, torch.cat(apart), rtol=1e-10, atol=1e-9)

    def test_supercell(self) -> None:
        one = crystal()
        two = dataclasses.replace(
            one,
            types=np.tile(one.types, 2),
            positions=np.concatenate([one.positions, one.positions + one.cell[0]]),
            cell=one.cell * np.array([[2.0], [1.0], [1.0]]),
        )
        torch.testing.assert_close(
            self.energies(two), self.energies(one).repeat(2), rtol=1e-10, atol=1e-9
        )

    def test_nothing_matters_beyond_the_interaction_range(self) -> None:
        potential = self.potential()
        core, reach = potential.core, potential.interaction_range
        assert np.isfinite(reach) and reach >= potential.cutoff
        # Three neighbors to each side, the third nearly at the cutoff, so that every hop is a long one.
        spacing = potential.cutoff / 3.1
        count = int(2 * reach / spacing) + 6
        positions = np.zeros((count, 3))
        positions[:, 0] = spacing * np.arange(count)
        chain = dataclasses.replace(
            molecule(0, 1), types=np.resize(np.array(TYPES, np.int32), count), positions=positions
        )
        graph = self.graph([chain])
        vectors = graph.vectors.detach().requires_grad_(True)
        first = core(graph._replace(vectors=vectors))[0]
        (gradient,) = torch.autograd.grad(first, vectors)
        felt = gradient.abs().sum(dim=1) > 0
        ends = torch.maximum(graph.centers, graph.neighbors)[felt]
        assert float(ends.max()) * spacing <= reach, (
            "raise interaction_range: an engine would miss atoms"
        )

    def test_smooth_at_the_cutoff(self) -> None:
        """A third atom leaves a dimer's neighborhood: half the step, half the largest change."""
        coarse, fine = self._changes_at_the_cutoff(5e-5), self._changes_at_the_cutoff(2.5e-5)
        for quantity, change in fine.items():
            assert change <= 0.6 * coarse[quantity], f"a jump of the {quantity} at the cutoff"

    def _changes_at_the_cutoff(self, step: float) -> dict[str, float]:
        potential = self.potential()
        core, cutoff = potential.core, potential.cutoff
        leaving = []
        for distance in np.arange(cutoff - 0.03, cutoff + 0.01, step):
            positions = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.1], [distance, 0.0, 0.0]])
            types = np.array([1, 6, 8], np.int32)
            leaving.append(dataclasses.replace(molecule(0, 3), types=types, positions=positions))
        energy, forces, _ = energy_forces_strain(core, self.graph(leaving), False)
        values = {"energy": energy.detach().reshape(-1, 1), "forces": forces.reshape(-1, 9)}
        return {name: float((one[1:] - one[:-1]).abs().max()) for name, one in values.items()}

    def test_lone_and_missing_atoms(self) -> None:
        lone = molecule(0, 1)
        empty = dataclasses.replace(lone, types=lone.types[:0], positions=lone.positions[:0])
        for structures, count in (([lone], 1), ([empty], 0), ([empty, lone, empty], 1)):
            energy, forces, _ = energy_forces_strain(
                self.potential().core, self.graph(structures), False
            )
            assert energy.shape == (len(structures),)
            assert forces.shape == (count, 3)
            assert bool(torch.isfinite(energy).all()) and not bool(forces.any())

    def test_rim_of_a_ghost_region(self) -> None:
        """An engine's outermost ghosts have edges whose reverse the neighbor list lacks."""
        graph = self.graph([molecule()])
        reverse = graph.reverse.clone()
        reverse[::5] = -1
        raw = self.potential().core(graph._replace(reverse=reverse))
        assert bool(torch.isfinite(raw).all())

    def test_torchscript_gives_the_same_numbers(self) -> None:
        potential = self.potential()
        buffer = io.BytesIO()
        torch.jit.save(torch.jit.script(potential), buffer)
        buffer.seek(0)
        loaded = torch.jit.load(buffer)
        outputs = {"energy": ModelOutput(unit="eV", sample_kind="atom")}
        for structure in (molecule(), crystal(), crystal((True, False, False)), molecule(0, 1)):
            system = system_with_neighbors(structure, potential, torch.float64)
            expected = self.energies(structure)
            for model in (potential, loaded, loaded, loaded):
                values = model([system], outputs, None)["energy"].block().values
                torch.testing.assert_close(values.squeeze(1), expected, rtol=1e-12, atol=1e-10)

    def test_selected_atoms(self) -> None:
        potential = self.potential()
        structure = molecule()
        expected = self.energies(structure)
        system = system_with_neighbors(structure, potential, torch.float64)
        chosen = torch.tensor([[0, 7], [0, 2]], dtype=torch.int32)
        selection = Labels(["system", "atom"], chosen)
        per_atom = self.evaluate(potential, system, "atom", selection)
        assert per_atom.samples.values.tolist() == [[0, 2], [0, 7]]
        torch.testing.assert_close(per_atom.values.squeeze(1), expected[[2, 7]])
        total = self.evaluate(potential, system, "system", selection)
        torch.testing.assert_close(total.values[0, 0], expected[[2, 7]].sum())
        none = Labels(["system", "atom"], chosen[:0])
        row = self.evaluate(potential, system, "system", none).values
        assert row.shape == (1, 1) and row.item() == 0.0
        # LAMMPS calls backward on every rank, also on those that hold no atom.
        row.sum().backward()
        assert system.positions.grad is not None

    def evaluate(self, potential: Potential, system: System, kind: str, selection: Labels) -> Any:
        outputs = {"energy": ModelOutput(unit="eV", sample_kind=kind)}
        return potential([system], outputs, selection)["energy"].block()

    def test_hypers_and_weights_survive_json_and_a_state_dict(self) -> None:
        architecture = plugins.get(self.architecture)
        hypers = architecture.ModelHypers(**self.hypers)
        again = architecture.ModelHypers.model_validate_json(hypers.model_dump_json())
        assert again == hypers
        core = architecture.build_core(again, TYPES).to(torch.float64)
        core.load_state_dict(self.potential().core.state_dict(), strict=True)
        graph = self.graph([molecule()])
        assert torch.equal(core.eval()(graph), self.potential().core(graph))

    def test_all_that_training_changes_is_in_the_state_dict(self) -> None:
        """A core that counts, averages or remembers elsewhere would resume as another model."""
        architecture = plugins.get(self.architecture)
        hypers = architecture.ModelHypers(**self.hypers)
        trained, resumed = (architecture.build_core(hypers, TYPES) for _ in range(2))
        graphs = [self.graph([molecule(seed)], torch.float32) for seed in range(4)]

        def step(core: Any, number: int) -> torch.Tensor:
            torch.manual_seed(number)
            core.train().zero_grad()
            energies: torch.Tensor = core(graphs[number])
            energies.pow(2).sum().backward()
            with torch.no_grad():
                for weight in core.parameters():
                    weight -= 1e-3 * (0.0 if weight.grad is None else weight.grad)
            return energies.detach()

        with torch.random.fork_rng(devices=[]):
            for number in range(2):
                step(trained, number)
            state = {name: one.clone() for name, one in trained.state_dict().items()}
            resumed.load_state_dict(state)
            for number in (2, 3):
                assert torch.equal(step(trained, number), step(resumed, number)), (
                    "after a resume the core gives other numbers: something that training changed "
                    "is not in its state dict"
                )
