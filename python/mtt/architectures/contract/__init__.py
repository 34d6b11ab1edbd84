"""What every architecture must keep, as tests that a third-party package runs in three lines::

    from mtt.architectures.contract import ArchitectureContract

    class TestMine(ArchitectureContract):
        architecture = "mine"

Run by pytest, or call the ``test_*`` methods. Set ``hypers`` to a dictionary of model hypers that make a
small, fast model (defaults otherwise), and ``targets`` to test others than two energies and a charge.
"""

import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from metatensor.torch import Labels
from metatomic.torch import ModelOutput

from mtt import architecture_registry
from mtt.architectures.contract.assertions import Tensors, assert_equal, assert_same, trains
from mtt.architectures.contract.features import FeatureContract
from mtt.architectures.contract.structures import TYPES, crystal, molecule
from mtt.architectures.contract.summed import SumContract
from mtt.architectures.evaluate import evaluate
from mtt.architectures.metatomic_systems import system_with_neighbors
from mtt.architectures.potential import Potential
from mtt.data.batch import collate
from mtt.data.dataset import Dataset
from mtt.data.graph import Graph
from mtt.data.random import generator, random_rotations
from mtt.data.structure import Structure
from mtt.data.target import GRADIENTS, Target
from mtt.data.turning import turn

ENERGY = Target("energy", gradients=GRADIENTS)
TARGETS = (
    ENERGY,
    Target("energy/pbe", unit="kcal/mol", gradients=GRADIENTS),
    Target("mtt::charges", quantity="charge", unit="e", per="atom"),
)


class ArchitectureContract(FeatureContract, SumContract):
    """Subclass, name the architecture, and let pytest collect the methods."""

    architecture: ClassVar[str]
    hypers: ClassVar[dict[str, Any]] = {}
    targets: ClassVar[Sequence[Target]] = TARGETS

    @property
    def names(self) -> list[str]:
        """Return the names of the targets."""
        return [target.name for target in self.targets]

    def core(self, targets: Sequence[Target] | None = None) -> Any:
        """Return a core with fresh weights, always the same ones, for ``targets`` or all."""
        architecture = architecture_registry.get(self.architecture)
        chosen = self.targets if targets is None else targets
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            core = architecture.build_core(architecture.ModelHypers(**self.hypers), TYPES, chosen)
            for parameter in core.parameters():
                # What training starts from may be zero; zeros would keep every promise.
                if not bool(parameter.any()):
                    torch.nn.init.normal_(parameter, std=0.2)
        return core

    def potential(
        self, dtype: torch.dtype = torch.float64, targets: Sequence[Target] | None = None
    ) -> Potential:
        """Return a potential with fresh weights, baselines and scales that are not trivial."""
        chosen = self.targets if targets is None else targets
        potential = Potential(self.core(chosen), TYPES, chosen, "angstrom")
        offsets = torch.tensor([[-13.6], [-1030.0], [-2041.0]], dtype=torch.float64)
        for number, target in enumerate(chosen, start=1):
            baseline = potential.baseline(target.name)
            baseline.composition += offsets / number * torch.tensor(target.invariant)
            baseline.scale.fill_(0.7 * number)
        return potential.set_precision(dtype).eval()

    def graph(self, structures: list[Structure], dtype: torch.dtype = torch.float64) -> Graph:
        """Return the structures as a graph, through the trainer's neighbor lists."""
        dataset = Dataset(structures, TYPES, self.core().cutoff, self.targets)
        return collate(dataset, range(len(structures)), dtype).graph

    def atoms(self, structures: list[Structure]) -> Tensors:
        """Return the values [N, numbers] of all atoms, for each target."""
        values = self.potential().evaluate(self.graph(structures), derivatives=False)
        return {name: value.atoms for name, value in values.items()}

    def test_shapes_and_dtypes(self) -> None:
        for dtype in (torch.float32, torch.float64):
            graph = self.graph([molecule(), crystal()], dtype)
            raw = self.potential(dtype).core(graph, self.names)
            assert set(raw) == set(self.names)
            for target in self.targets:
                assert raw[target.name].shape == (17, target.numbers), target.name
                assert raw[target.name].dtype == dtype, target.name

    def test_each_target_alone_is_as_among_all(self) -> None:
        graph = self.graph([molecule(), crystal()])
        core = self.potential().core
        with torch.no_grad():
            together = core(graph, self.names)
            for name in self.names:
                assert_same({name: core(graph, [name])[name]}, {name: together[name]})
            backwards = core(graph, self.names[::-1])
        assert_same({name: backwards[name] for name in self.names}, together)
        assert core(graph, []) == {}

    def test_a_core_for_one_target(self) -> None:
        for target in self.targets:
            potential = self.potential(targets=[target])
            graph = self.graph([molecule(), crystal()])
            values = potential.evaluate(graph)[target.name]
            assert values.atoms.shape == (17, target.numbers)
            assert bool(torch.isfinite(values.atoms).all())
            assert (values.forces is None) != target.is_energy
            assert (values.systems is None) == (target.per == "atom")

    def test_forces_and_strain_are_the_gradient(self) -> None:
        structure = crystal()
        potential = self.potential()
        values = potential.evaluate(self.graph([structure]))
        step = 1e-5

        def energies(positions: np.ndarray, cell: np.ndarray) -> dict[str, float]:
            moved = dataclasses.replace(structure, positions=positions, cell=cell)
            results = evaluate(potential.core, self.graph([moved]), self.targets, ())
            return {
                target.name: float(results[target.name].atoms.detach().sum()) * scale(target)
                for target in self.targets
                if target.is_energy
            }

        def scale(target: Target) -> float:
            return float(potential.baseline(target.name).scale)

        def check(minus: dict[str, float], plus: dict[str, float], kind: str, at: Any) -> None:
            """Compare the slope from ``minus`` to ``plus`` with element ``at`` of a derivative."""
            for name in plus:
                derivative = float(getattr(values[name], kind)[at])
                slope = (plus[name] - minus[name]) / (2 * step)
                message = f"{kind} of {name}: {derivative}, finite differences: {slope}"
                assert abs(slope - derivative) < 1e-6 * max(1.0, abs(derivative)), message

        for atom, axis in ((0, 0), (3, 1), (7, 2)):
            delta = np.zeros_like(structure.positions)
            delta[atom, axis] = step
            plus = energies(structure.positions + delta, structure.cell)
            minus = energies(structure.positions - delta, structure.cell)
            check(plus, minus, "forces", (atom, axis))
        for a, b in ((0, 0), (0, 1), (2, 1)):
            ends = []
            for sign in (-1, 1):
                deformation = np.eye(3)
                deformation[a, b] += sign * step
                moved = structure.positions @ deformation, structure.cell @ deformation
                ends.append(energies(*moved))
            check(ends[0], ends[1], "strain", (0, a, b))

    def test_gradients_can_be_trained_on(self) -> None:
        graph = self.graph([molecule(), crystal()])
        core = self.potential().core
        plain = evaluate(core, graph, self.targets)
        kept = evaluate(core, graph, self.targets, create_graph=True)
        derived = [target.name for target in self.targets if target.is_energy]
        squares = torch.zeros((), dtype=torch.float64)
        for name in derived:
            forces, others = kept[name].forces, plain[name].forces
            assert forces is not None and others is not None
            torch.testing.assert_close(forces, others, rtol=1e-12, atol=1e-12)
            squares = squares + (forces * forces).sum()
        if derived and trains(core):
            squares.backward()
            gradients = [weight.grad for weight in core.parameters() if weight.grad is not None]
            assert any(bool(gradient.any()) for gradient in gradients)
            assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)

    def test_translation_and_permutation(self) -> None:
        structure = crystal()
        expected = self.atoms([structure])
        moved = dataclasses.replace(structure, positions=structure.positions + [1.3, -0.7, 40.0])
        assert_same(self.atoms([moved]), expected)
        order = np.array([3, 1, 0, 7, 5, 6, 2, 4])
        shuffled = dataclasses.replace(
            structure, positions=structure.positions[order], types=structure.types[order]
        )
        shuffled_values = {name: values[order] for name, values in expected.items()}
        assert_same(self.atoms([shuffled]), shuffled_values)

    def test_values_turn_with_the_structure(self) -> None:
        """Those of a core that says so turn exactly; others come near to it by training."""
        potential = self.potential()
        if not potential.core.turns_exactly:
            return
        matrices = random_rotations(generator(0, "contract"), 6, inversion=True)
        for structure in (molecule(), crystal(), crystal((True, False, False))):
            before = potential.evaluate(self.graph([structure]))
            for matrix in matrices:
                positions, cell = structure.positions @ matrix.T, structure.cell @ matrix.T
                turned = dataclasses.replace(structure, positions=positions, cell=cell)
                after = potential.evaluate(self.graph([turned]))
                for target in self.targets:
                    rows = before[target.name].atoms
                    expected = turn(
                        rows.numpy(), target, np.broadcast_to(matrix, (len(rows), 3, 3))
                    )
                    assert_same(
                        {target.name: after[target.name].atoms},
                        {target.name: torch.from_numpy(expected)},
                    )
                    if not all(target.invariant) and trains(potential.core):
                        assert np.ptp(rows.numpy()[:, -1]) > 1e-6, "there is nothing to turn"
                    forces, turned_forces = (one[target.name].forces for one in (before, after))
                    if forces is not None and turned_forces is not None:
                        expected_forces = forces @ torch.from_numpy(matrix).T
                        assert_same({"forces": turned_forces}, {"forces": expected_forces})

    def test_batch_equals_single_structures(self) -> None:
        structures = [molecule(), crystal(), molecule(2, 1), crystal((True, False, True))]
        apart = [self.atoms([structure]) for structure in structures]
        joined = {name: torch.cat([values[name] for values in apart]) for name in self.names}
        assert_same(self.atoms(structures), joined)

    def test_supercell(self) -> None:
        unit = crystal()
        doubled = dataclasses.replace(
            unit,
            types=np.tile(unit.types, 2),
            positions=np.concatenate([unit.positions, unit.positions + unit.cell[0]]),
            cell=unit.cell * np.array([[2.0], [1.0], [1.0]]),
        )
        expected = {name: values.repeat(2, 1) for name, values in self.atoms([unit]).items()}
        assert_same(self.atoms([doubled]), expected)

    def test_nothing_matters_beyond_the_interaction_range(self) -> None:
        potential = self.potential()
        core, reach = potential.core, potential.interaction_range
        assert reach >= potential.cutoff
        if np.isinf(reach):
            # Engines are told that there is no such distance, and use one domain.
            assert core.sees_positions
            return
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
        raw = core(graph._replace(vectors=vectors), self.names)
        for name in self.names:
            first = raw[name][0].sum()
            (gradient,) = torch.autograd.grad(first, vectors, retain_graph=True)
            felt = gradient.abs().sum(dim=1) > 0
            ends = torch.maximum(graph.centers, graph.neighbors)[felt]
            assert not bool((ends * spacing > reach).any()), (
                f"raise interaction_range: an engine would miss atoms that {name} depends on"
            )

    def test_smooth_at_the_cutoff(self) -> None:
        """Let a third atom leave a dimer's neighborhood: half the step, half the largest change."""
        coarse, fine = self._changes_at_the_cutoff(5e-5), self._changes_at_the_cutoff(2.5e-5)
        for quantity, change in fine.items():
            assert change <= 0.6 * coarse[quantity], f"a jump of the {quantity} at the cutoff"

    def _changes_at_the_cutoff(self, step: float) -> dict[str, float]:
        core, cutoff = self.potential().core, self.core().cutoff
        leaving = []
        for distance in np.arange(cutoff - 0.03, cutoff + 0.01, step):
            positions = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.1], [distance, 0.0, 0.0]])
            types = np.array([1, 6, 8], np.int32)
            leaving.append(dataclasses.replace(molecule(0, 3), types=types, positions=positions))
        rows: dict[str, torch.Tensor] = {}
        for name, values in evaluate(core, self.graph(leaving), self.targets).items():
            # Of a target per system the sum, since atoms may share it in any way.
            value = values.atoms if values.systems is None else values.systems
            rows[name] = value.detach().reshape(len(leaving), -1)
            if values.forces is not None:
                rows[f"forces of {name}"] = values.forces.reshape(len(leaving), -1)
        return {name: float((row[1:] - row[:-1]).abs().max()) for name, row in rows.items()}

    def test_lone_and_missing_atoms(self) -> None:
        lone = molecule(0, 1)
        empty = dataclasses.replace(lone, types=lone.types[:0], positions=lone.positions[:0])
        for structures, count in (([lone], 1), ([empty], 0), ([empty, lone, empty], 1)):
            results = evaluate(self.potential().core, self.graph(structures), self.targets)
            for target in self.targets:
                values = results[target.name]
                assert values.atoms.shape == (count, target.numbers)
                assert bool(torch.isfinite(values.atoms).all())
                if values.systems is not None:
                    assert values.systems.shape == (len(structures), target.numbers)
                if values.forces is not None and values.strain is not None:
                    assert values.forces.shape == (count, 3) and not bool(values.forces.any())
                    assert values.strain.shape == (len(structures), 3, 3)

    def test_rim_of_a_ghost_region(self) -> None:
        """Take reverse edges out, as the neighbor list of an engine's outermost ghosts lacks them."""
        graph = self.graph([molecule()])
        reverse = graph.reverse.clone()
        reverse[::5] = -1
        raw = self.potential().core(graph._replace(reverse=reverse), self.names)
        assert all(bool(torch.isfinite(values).all()) for values in raw.values())

    def test_torchscript_gives_the_same_numbers(self) -> None:
        potential = self.potential()
        loaded = scripted(potential)
        for structure in (molecule(), crystal(), crystal((True, False, False)), molecule(0, 1)):
            system = system_with_neighbors(structure, potential, torch.float64)
            expected = self.atoms([structure])
            # The interpreter compiles a model anew in its second call, and then once more.
            for model in (potential, loaded, loaded, loaded):
                results = model([system], self._outputs("atom"), None)
                values = {name: rows(results, name) for name in self.names}
                assert_same(values, expected, rtol=1e-12, atol=1e-10)
            for name in self.names:
                single = loaded([system], {name: self._outputs("atom")[name]}, None)
                assert list(single) == [name]
                values = {name: rows(single, name)}
                assert_same(values, {name: expected[name]}, rtol=1e-12, atol=1e-10)

    def test_requests_per_system_and_per_atom(self) -> None:
        potential = self.potential()
        structures = [molecule(), crystal()]
        systems = [system_with_neighbors(s, potential, torch.float64) for s in structures]
        atoms = self.atoms(structures)
        split = {name: [values[:9].sum(0), values[9:].sum(0)] for name, values in atoms.items()}
        sums = {name: torch.stack(rows) for name, rows in split.items()}
        kinds = ("atom", "system")
        for first in range(2):
            # Both kinds occur in one request.
            asked = {name: kinds[(first + i) % 2] for i, name in enumerate(self.names)}
            outputs = {name: self._outputs(kind)[name] for name, kind in asked.items()}
            results = potential(systems, outputs, None)
            values = {name: rows(results, name) for name in self.names}
            expected = {n: atoms[n] if k == "atom" else sums[n] for n, k in asked.items()}
            assert_same(values, expected)
            for name, kind in asked.items():
                columns = ["system", "atom"] if kind == "atom" else ["system"]
                assert first_block(results, name).samples.names == columns

    def test_selected_atoms(self) -> None:
        potential = self.potential()
        structure = molecule()
        expected = self.atoms([structure])
        system = system_with_neighbors(structure, potential, torch.float64)
        chosen = torch.tensor([[0, 7], [0, 2]], dtype=torch.int32)
        selection = Labels(["system", "atom"], chosen)
        per_atom = potential([system], self._outputs("atom"), selection)
        total = potential([system], self._outputs("system"), selection)
        none = Labels(["system", "atom"], chosen[:0])
        for target in self.targets:
            name = target.name
            alone = system_with_neighbors(structure, potential, torch.float64)
            nothing = potential([alone], {name: self._outputs("system")[name]}, none)
            assert first_block(per_atom, name).samples.values.tolist() == [[0, 2], [0, 7]]
            assert_same({name: rows(per_atom, name)}, {name: expected[name][[2, 7]]})
            sums = expected[name][[2, 7]].sum(dim=0, keepdim=True)
            assert_same({name: rows(total, name)}, {name: sums})
            row = rows(nothing, name)
            assert row.shape == (1, target.numbers) and not bool(row.any())
            # LAMMPS calls backward on every rank, also on those that hold no atom.
            row.sum().backward()
            assert alone.positions.grad is not None

    def _outputs(self, kind: str) -> dict[str, ModelOutput]:
        return {
            target.name: ModelOutput(unit=target.unit, sample_kind=kind) for target in self.targets
        }

    def test_hypers_and_weights_survive_json_and_a_state_dict(self) -> None:
        architecture = architecture_registry.get(self.architecture)
        hypers = architecture.ModelHypers(**self.hypers)
        again = architecture.ModelHypers.model_validate_json(hypers.model_dump_json())
        assert again == hypers
        targets = [Target.from_dict(target.to_dict()) for target in self.targets]
        core: Any = architecture.build_core(again, TYPES, targets).to(torch.float64)
        core.load_state_dict(self.potential().core.state_dict(), strict=True)
        graph = self.graph([molecule()])
        assert_equal(core.eval()(graph, self.names), self.potential().core(graph, self.names))

    def test_all_that_training_changes_is_in_the_state_dict(self) -> None:
        """Catch a core that counts, averages or remembers elsewhere: it would resume as another."""
        trained, resumed = self.core(), self.core()
        graphs = [self.graph([molecule(seed)], torch.float32) for seed in range(4)]

        def step(core: Any, number: int) -> Tensors:
            torch.manual_seed(number)
            core.train().zero_grad()
            raw: dict[str, torch.Tensor] = core(graphs[number], self.names)
            if trains(core):
                torch.stack([values.pow(2).sum() for values in raw.values()]).sum().backward()
            with torch.no_grad():
                for weight in core.parameters():
                    # Of one size: where values are large, steps along the gradient end in NaN.
                    weight -= 1e-3 * (0.0 if weight.grad is None else weight.grad.sign())
            return {name: values.detach() for name, values in raw.items()}

        with torch.random.fork_rng(devices=[]):
            for number in range(2):
                step(trained, number)
            resumed.load_state_dict({n: value.clone() for n, value in trained.state_dict().items()})
            for number in (2, 3):
                assert_equal(
                    step(trained, number),
                    step(resumed, number),
                    "after a resume the core gives other numbers: something that training changed "
                    "is not in its state dict",
                )


def scripted(module: torch.nn.Module) -> Any:
    """Return the module as TorchScript, written and loaded again."""
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(module), buffer)
    buffer.seek(0)
    return torch.jit.load(buffer)


def first_block(results: Mapping[str, Any], name: str) -> Any:
    """Return the first block of an output; others have the same samples."""
    return results[name].block(0)


def rows(results: Mapping[str, Any], name: str) -> torch.Tensor:
    """Return the values of an output [samples, numbers], block by block."""
    return torch.cat([block.values.flatten(1) for block in results[name].blocks()], dim=1)
