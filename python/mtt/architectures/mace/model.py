"""MACE from the blocks of mace-torch, driven from edge vectors.

Source: Batatia, Kovacs, Simm, Ortner and Csanyi, "MACE: Higher order equivariant message passing neural
networks for fast and accurate force fields", NeurIPS 2022, arXiv:2206.07697.

mace-torch supplies radial functions, interactions (messages) and products; the loop over the layers and
the output networks of each target are ours, because its own model takes derivatives and has one energy.
"""

import copy
from collections.abc import Sequence
from typing import Any, Dict, List, Optional

import torch

from mtt.architectures.interface import Core, features_of
from mtt.architectures.mace.hypers import ModelHypers
from mtt.architectures.mace.mace_torch import exact_construction, imported
from mtt.data.graph import Graph
from mtt.data.target import Target

_GATES = {"silu": torch.nn.functional.silu, "tanh": torch.tanh}


class Layer(torch.nn.Module):
    """Messages of the neighbors of each atom, and products of their sum with itself."""

    def __init__(self, interaction: torch.nn.Module, product: torch.nn.Module) -> None:
        super().__init__()
        self.interaction = interaction
        self.product = product

    def forward(
        self,
        attributes: torch.Tensor,
        features: torch.Tensor,
        directions: torch.Tensor,
        radial: torch.Tensor,
        weight: Optional[torch.Tensor],
        edges: torch.Tensor,
    ) -> torch.Tensor:
        """Return the next features of each atom.

        :param weight: [E, 1] that messages are multiplied with, if any
        :param edges: [2, E]: who sends, who receives
        """
        message, skip = self.interaction(
            attributes, features, directions, radial, edges, cutoff=weight
        )
        return self.product(message, skip, attributes)


class Head(torch.nn.Module):
    """From the invariants after the layers, or the last one, to raw values of one target.

    A hidden layer comes before the output of the last layer; the sum of all is one linear map.
    """

    def __init__(self, packages: Any, hypers: ModelHypers, n_invariants: int, n: int) -> None:
        super().__init__()
        linear = packages.o3.Linear
        self.n_invariants = n_invariants
        self.gated = hypers.gate is not None
        self.first = hypers.num_interactions - 1 if hypers.use_last_readout_only else 0
        width = packages.o3.Irreps(hypers.MLP_irreps).dim if self.gated else n_invariants
        hidden = linear(f"{n_invariants}x0e", f"{width}x0e")
        self.hidden = hidden if self.gated else torch.nn.Identity()
        # Not e3nn's module for it, which loops over what TorchScript does not know.
        self.gate = packages.normalize2mom(_GATES[hypers.gate or "silu"])
        total = (hypers.num_interactions - 1 - self.first) * n_invariants + width
        self.output = linear(f"{total}x0e", f"{n}x0e")

    @torch.jit.export
    def features(self, history: List[torch.Tensor]) -> torch.Tensor:
        """Return [N, features] that values are made of by a linear map.

        :param history: features after each layer, whose first columns are the invariants
        """
        last = len(history) - 1
        parts: List[torch.Tensor] = []
        for index in range(self.first, last + 1):
            part = history[index][:, : self.n_invariants]
            if self.gated and index == last:
                part = self.gate(self.hidden(part))
            parts.append(part)
        return torch.cat(parts, dim=1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the raw values [N, numbers] of :meth:`features`."""
        return self.output(features)


class Mace(Core):
    """Embedding of atomic types, layers of messages, and a head for each target."""

    has_features = True
    turns_exactly = True
    # Not part of the scripted model, which has the constants as buffers.
    __jit_ignored_attributes__ = ["constants"]

    def __init__(self, hypers: ModelHypers, n_types: int, targets: Sequence[Target]) -> None:
        super().__init__()
        packages = imported()
        self.cutoff = float(hypers.r_max)
        self.interaction_range = hypers.num_interactions * self.cutoff
        self.n_types = n_types
        self.target_names = [target.name for target in targets]
        with exact_construction(packages.e3nn):
            self._build(packages, hypers, targets)
        for module in self.modules():
            if isinstance(module, packages.normalize2mom):
                # A mean over random numbers, whose last bits depend on the number of threads.
                module.cst = round(module.cst, 12)
            if hasattr(module, "__codegen__"):
                # Copies would be scripted, and no longer be what has been copied.
                del module.__codegen__
        self._leave_constants_out()
        self.constants = {name: buffer.clone() for name, buffer in self.named_buffers()}
        self.to(torch.get_default_dtype())

    def _leave_constants_out(self) -> None:
        """Take what is derived from the hypers out of checkpoints."""
        for module in self.modules():
            module._non_persistent_buffers_set.update(dict(module.named_buffers(recurse=False)))

    def __deepcopy__(self, memo: Dict[int, Any]) -> "Mace":
        clone = type(self).__new__(type(self))
        memo[id(self)] = clone
        for parameter in self.parameters():
            if type(parameter) is not torch.nn.Parameter:
                # Zeros of products that cannot be: mace-torch has a class for them that is not copied.
                memo[id(parameter)] = type(parameter)(parameter.detach())
        clone.__dict__ = copy.deepcopy(self.__dict__, memo)
        # Copies of generated code forget it.
        clone._leave_constants_out()
        return clone

    def _build(self, packages: Any, hypers: ModelHypers, targets: Sequence[Target]) -> None:
        o3, blocks = packages.o3, packages.blocks
        hidden = o3.Irreps(hypers.hidden_irreps)
        scalars = o3.Irreps([hidden[0]])
        types = o3.Irreps([(self.n_types, (0, 1))])
        harmonics = o3.Irreps.spherical_harmonics(hypers.max_ell)
        messages = (harmonics * hidden[0].mul).sort()[0].simplify()
        self.embedding = blocks.LinearNodeEmbeddingBlock(types, scalars)
        bases = {"bessel": blocks.BesselBasis, "gaussian": blocks.GaussianBasis}
        self.radial = bases[hypers.radial_type](self.cutoff, hypers.num_radial_basis)
        self.envelope = blocks.PolynomialCutoff(self.cutoff, hypers.num_cutoff_basis)
        self.apply_cutoff = hypers.apply_cutoff
        # Of unit vectors that are made with care for coinciding atoms.
        self.harmonics = o3.SphericalHarmonics(harmonics, False, "component")
        layers: List[Layer] = []
        outputs = [hidden] * (hypers.num_interactions - 1) + [scalars]
        for index, output in enumerate(outputs):
            name = hypers.interaction_first if index == 0 else hypers.interaction
            interaction = getattr(blocks, name)(
                node_attrs_irreps=types,
                node_feats_irreps=scalars if index == 0 else hidden,
                edge_attrs_irreps=harmonics,
                edge_feats_irreps=o3.Irreps([(hypers.num_radial_basis, (0, 1))]),
                target_irreps=messages,
                hidden_irreps=output,
                avg_num_neighbors=hypers.avg_num_neighbors,
                radial_MLP=list(hypers.radial_MLP),
            )
            product = blocks.EquivariantProductBasisBlock(
                node_feats_irreps=messages,
                target_irreps=output,
                correlation=hypers.correlation,
                use_sc="Residual" in name,
                num_elements=self.n_types,
                use_agnostic_product=hypers.use_agnostic_product,
                # Those exist only where a package for GPUs is installed: weights would differ.
                use_reduced_cg=False,
            )
            layers.append(Layer(interaction, product))
        self.layers = torch.nn.ModuleList(layers)
        self.heads = torch.nn.ModuleList(
            [Head(packages, hypers, hidden[0].mul, target.numbers) for target in targets]
        )

    def _apply(self, fn: Any, recurse: bool = True) -> "Mace":
        """Convert weights, and round the constants anew: float64 must not keep those of float32."""
        super()._apply(fn, recurse)
        with torch.no_grad():
            for name, buffer in self.named_buffers():
                buffer.copy_(self.constants[name])
        return self

    def forward(self, graph: Graph, targets: List[str]) -> Dict[str, torch.Tensor]:
        """Return raw values [N, numbers] of each of ``targets``; see :class:`Core`."""
        values: Dict[str, torch.Tensor] = {}
        if len(targets) == 0:
            return values
        # From who sends to who receives.
        vectors = -graph.vectors
        # The tiny constant keeps the gradient of the distance finite for coinciding atoms.
        distances = torch.sqrt((vectors * vectors).sum(dim=1, keepdim=True) + 1e-12)
        directions = self.harmonics(vectors / distances)
        edges = torch.stack([graph.neighbors, graph.centers])
        n_atoms = graph.species.shape[0]
        # The blocks cannot do without atoms: one that is dropped again takes their place.
        species = graph.species if n_atoms > 0 else graph.species.new_zeros(1)
        attributes = torch.nn.functional.one_hot(species, self.n_types).to(vectors.dtype)
        radial = self.radial(distances)
        envelope = self.envelope(distances)
        weight: Optional[torch.Tensor] = envelope
        if self.apply_cutoff:
            radial, weight = radial * envelope, None
        features = self.embedding(attributes)
        history: List[torch.Tensor] = []
        for layer in self.layers:
            features = layer(attributes, features, directions, radial, weight, edges)
            history.append(features)
        for index, head in enumerate(self.heads):
            name = self.target_names[index]
            if name in targets or features_of(name) in targets:
                # mypy takes what a ModuleList holds for tensors, where it is more than called.
                last = head.features(history)  # type: ignore[operator]
                if name in targets:
                    values[name] = head(last)[:n_atoms]
                if features_of(name) in targets:
                    values[features_of(name)] = last[:n_atoms]
        return values


def build_core(hypers: ModelHypers, atomic_types: Sequence[int], targets: Sequence[Target]) -> Mace:
    """Make a model with weights from the global torch generator, which the caller seeds.

    :raises UserError: mace-torch is not installed
    :raises NotImplementedError: without memory (on the meta device), as blocks compute their constants
    """
    if torch.empty(0).device.type == "meta":
        raise NotImplementedError("the blocks of mace-torch compute while they are built")
    return Mace(hypers, len(atomic_types), targets)
