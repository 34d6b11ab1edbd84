"""What an architecture must keep whose sums can be evaluated chunk by chunk."""

from typing import Any

import torch
from metatensor.torch import Labels
from metatomic.torch import ModelOutput

from mtt.architectures.contract.structures import crystal, molecule
from mtt.architectures.contract.subject import Subject
from mtt.architectures.interface import features_of
from mtt.architectures.metatomic_systems import system_with_neighbors
from mtt.architectures.potential import Potential
from mtt.architectures.uncertainty import Uncertainty
from mtt.data.target import Target


class SumContract(Subject):
    """The part of the contract about ``sums``, for cores that say that they have it."""

    def test_sums_are_those_of_the_whole(self) -> None:
        core: Any = self.potential().core
        if not core.has_sums:
            return
        scripted: Any = torch.jit.script(core)
        # How much to remember for the gradient, instead of computing it once more.
        keeps_edges = hasattr(core, "edges_kept")
        # Many and few neighbors, none, and edges without their reverse.
        graph = self.graph([molecule(), crystal(), molecule(count=1), molecule(5)])
        lone = int(torch.nonzero(graph.reverse >= 0)[3])
        graph.reverse[torch.stack([graph.reverse[lone], torch.tensor(lone)])] = -1
        n_atoms = graph.species.shape[0]
        everything = torch.arange(n_atoms)
        scalars = {target.name for target in self.targets if target.type == "scalar"}
        name = next(target.name for target in self.targets if target.numbers == 1)
        for kept in (everything, everything[::3], everything[:0], everything[:2]):
            vectors = graph.vectors.detach().requires_grad_(True)
            at = graph._replace(vectors=vectors)
            expected = core(at, [name])[name].index_select(0, kept)
            (slope,) = torch.autograd.grad(expected.sum(), vectors)
            for run in (core, scripted):
                for tokens in (1, 40, 10**6):
                    for edges_kept in (0, 60, 10**6) if keeps_edges else (0,):
                        if keeps_edges:
                            run.edges_kept = edges_kept
                        values, gradient, none = run.sums(at, name, False, kept, tokens)
                        assert not values.requires_grad and not gradient.requires_grad
                        assert none.shape == (n_atoms, 0)
                        torch.testing.assert_close(values.index_select(0, kept), expected.detach())
                        torch.testing.assert_close(gradient, slope, rtol=1e-9, atol=1e-12)
                        assert not values.index_fill(0, kept, 0.0).any()
            if core.has_features and name in scalars:
                both = core(graph, [name, features_of(name)])[features_of(name)].detach()
                for run in (core, scripted):
                    values, gradient, features = run.sums(at, name, True, kept, 40)
                    torch.testing.assert_close(gradient, slope, rtol=1e-9, atol=1e-12)
                    torch.testing.assert_close(values.index_select(0, kept), expected.detach())
                    assert not features.requires_grad
                    if len(kept) > 0:
                        torch.testing.assert_close(
                            features.index_select(0, kept), both.index_select(0, kept)
                        )
                        assert not features.index_fill(0, kept, 0.0).any()
            with torch.no_grad():
                values, gradient, _ = core.sums(at, name, False, kept, 40)
            torch.testing.assert_close(values.index_select(0, kept), expected.detach())
            assert not gradient.any()

    def whole_and_parts(self) -> tuple[Potential, Potential]:
        """Return a model, and the same one that evaluates what it can by small chunks."""
        whole, parts = self.potential(), self.potential()
        parts.core.load_state_dict(whole.core.state_dict())
        for target in self.targets:
            parts.baseline(target.name).load_state_dict(whole.baseline(target.name).state_dict())
        parts.by_chunks().requires_grad_(False)
        parts.chunk_tokens = 8
        return whole, parts

    def test_models_by_chunks_are_as_whole(self) -> None:
        whole, parts = self.whole_and_parts()
        assert parts.chunks == whole.core.has_sums
        rows = torch.tensor([[0, 1], [0, 4], [1, 0], [1, 3]], dtype=torch.int32)
        for selection in (None, Labels(["system", "atom"], rows)):
            for target in self.targets:
                if target.per == "system":
                    expected, found = (
                        _values_and_forces(potential, target, selection)
                        for potential in (whole, parts)
                    )
                    for one, other in zip(found, expected, strict=True):
                        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)

    def test_models_by_chunks_give_no_second_derivatives(self) -> None:
        parts = self.potential().by_chunks().requires_grad_(False)
        parts.chunk_tokens = 8
        energies = [target for target in self.targets if target.is_energy]
        if not parts.chunks or not energies:
            return
        (force,) = _values_and_forces(parts, energies[0], None, create_graph=True)[1:2]
        # Wrong ones would be silently so.
        assert not force.requires_grad

    def test_uncertainties_beside_a_sum(self) -> None:
        """Those of atoms are as without chunks, but torch refuses to differentiate them."""
        whole, parts = self.whole_and_parts()
        energies = [target for target in self.targets if target.is_energy]
        if not (whole.core.has_sums and whole.core.has_features and energies):
            return
        target = energies[0]
        asked = [target.name, features_of(target.name)]
        n_features = whole.core(self.graph([molecule()]), asked)[asked[1]].shape[1]
        matrix = torch.linspace(-1.0, 1.0, 3 * n_features).reshape(3, n_features).sin()
        for potential in (whole, parts):
            uncertainty = Uncertainty(target.name, matrix, 2.0 * matrix, matrix[:0])
            potential.set_uncertainties([uncertainty])
        scripted: Any = torch.jit.script(parts)
        name = whole.uncertainty_names[0]
        for kind in ("atom", "system"):
            outputs = {
                target.name: ModelOutput(unit=target.unit, sample_kind="system"),
                name: ModelOutput(unit=target.unit, sample_kind=kind),
            }
            models = (whole, parts, scripted)
            # A rank without atoms.
            for found in [_of(model, outputs, name, nothing=True) for model in models]:
                assert found["value"].shape == (2, 1) and not found["value"].any()
                assert found["uncertainty"].shape == (0 if kind == "atom" else 2, 1)
                assert not found["uncertainty"].any() and not found["slope of value"].any()
            expected, *others = (_of(model, outputs, name) for model in models)
            for found in others:
                for key in ("value", "uncertainty", "slope of value"):
                    torch.testing.assert_close(found[key], expected[key], rtol=1e-9, atol=1e-10)
                key = "slope of uncertainty"
                if kind == "atom":
                    assert key in expected and key not in found
                else:
                    torch.testing.assert_close(found[key], expected[key], rtol=1e-9, atol=1e-10)


def _of(
    model: Any, outputs: dict[str, ModelOutput], uncertainty: str, nothing: bool = False
) -> dict[str, torch.Tensor]:
    """Return the two outputs, and the derivatives of their sums by positions as far as there are any.

    :param nothing: select no atoms
    """
    systems = [
        system_with_neighbors(structure, model, torch.float64)
        for structure in (molecule(), crystal())
    ]
    none = Labels(["system", "atom"], torch.zeros((0, 2), dtype=torch.int32))
    results = model(systems, outputs, none if nothing else None)
    leaves = [system.positions for system in systems]
    found = {}
    for name in outputs:
        called = "uncertainty" if name == uncertainty else "value"
        values = results[name].block(0).values
        found[called] = values.detach()
        try:
            slopes = torch.autograd.grad(values.sum(), leaves, retain_graph=True)
        except RuntimeError as error:
            assert "heaviside is not implemented" in str(error), error
        else:
            found[f"slope of {called}"] = torch.cat(slopes)
    return found


def _values_and_forces(
    potential: Potential, target: Target, selection: Any, create_graph: bool = False
) -> list[torch.Tensor]:
    """Return the values of two systems [2, P] and the derivatives of their first number."""
    systems = [
        system_with_neighbors(structure, potential, torch.float64)
        for structure in (molecule(), crystal())
    ]
    outputs = {target.name: ModelOutput(unit=target.unit, sample_kind="system")}
    values = potential(systems, outputs, selection)[target.name].block(0).values
    leaves = [system.positions for system in systems]
    slopes = torch.autograd.grad(values.flatten(1)[:, 0].sum(), leaves, create_graph=create_graph)
    return [values.detach(), *slopes]
