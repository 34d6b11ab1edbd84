"""What an architecture supplies: a core that maps the neighbor graph to raw values of atoms."""

import copy
from typing import TYPE_CHECKING, Dict, List, Tuple, TypeVar

import torch

from mtt.data.graph import Graph

M = TypeVar("M", bound=torch.nn.Module)


def features_of(target: str) -> str:
    """Return the name by which a core is asked for the features of a target."""
    return "features/" + target


class Core(torch.nn.Module):
    """Base of every architecture's network, TorchScript-able.

    ``forward(graph, targets)`` gives the raw values of each atom, [N, numbers] in the dtype of
    ``graph.vectors``, for each of the named targets: without baseline and scale, which
    :class:`mtt.architectures.potential.Potential` adds. It must see positions and cells through
    ``graph.vectors`` only, unless it says otherwise, and need not compute what is not named.

    - ``cutoff``: radius of the neighbor list it needs, in the model's length unit;
    - ``interaction_range``: beyond this distance nothing may influence the values of an atom; infinite
      where all atoms of a structure see each other, which engines can use on one domain only;
    - ``sees_positions``: it uses ``graph.positions`` and ``graph.cells`` as well, and derivatives are
      taken by them too;
    - ``max_charge`` and ``max_spin_multiplicity``: the largest that it has weights for, if its values
      depend on ``graph.states``; the second one is 0 if they do not;
    - ``has_features``: for each scalar target NAME it gives :func:`features_of` NAME too when that is
      named, [N, features]: what it makes raw values of by a linear map, from which uncertainties are;
    - ``has_sums``: it has :meth:`sums`, for large structures;
    - ``turns_exactly``: whatever its weights, values turn with a structure as their targets say, and
      mirrored ones do. The verifier holds exports to it; others it only measures.
    """

    cutoff: float
    interaction_range: float
    sees_positions: bool = False
    has_features: bool = False
    has_sums: bool = False
    turns_exactly: bool = False
    max_charge: int = 0
    max_spin_multiplicity: int = 0

    def forward(self, graph: Graph, targets: List[str]) -> Dict[str, torch.Tensor]:
        """Return the raw values [N, numbers] of each of ``targets``, as its description orders them."""
        raise NotImplementedError

    @torch.jit.export
    def sums(
        self, graph: Graph, target: str, features: bool, kept: torch.Tensor, tokens: int
    ) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the values of some atoms and the gradient of their sum, in memory that they need anyway.

        :param target: with one number for each atom
        :param features: give those of the target as well
        :param kept: [K] int64, indices of the atoms to be summed
        :param tokens: about how many atoms and edges to evaluate at a time
        :returns: raw values [N, 1], without history, zero for atoms that are not kept; the gradient
            [E, 3] of the sum over those that are by ``graph.vectors``, zero if these have no history;
            features [N, F], without history, zero for atoms that are not kept, or [N, 0]
        """
        raise NotImplementedError


if TYPE_CHECKING:
    CoreInterface = Core
else:

    @torch.jit.interface
    class CoreInterface(torch.nn.Module):
        """What TorchScript is to know of a core, and no more.

        It puts the code of all modules that it knows into that of their caller, and optimizes all of
        it for every new instance of a model, what is never called too. A core behind this interface
        stays by itself: a fresh instance of the default PET is ready in a third of the time.
        """

        def forward(self, graph: Graph, targets: List[str]) -> Dict[str, torch.Tensor]:  # noqa: D102
            pass

        def sums(  # noqa: D102
            self, graph: Graph, target: str, features: bool, kept: torch.Tensor, tokens: int
        ) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            pass


def scripted(core: Core) -> torch.nn.Module:
    """Return a core for an attribute of the type :class:`CoreInterface` in a module to be scripted.

    TorchScript asks all modules within one that is behind an interface for the methods of that
    interface, unless it is scripted already.
    """
    return core if isinstance(core, torch.jit.ScriptModule) else torch.jit.script(core)


def with_modules(module: M, **modules: torch.nn.Module) -> M:
    """Return a copy that has other modules in the place of some, in its mode, and shares the rest."""
    copied = copy.copy(module)
    # A list of modules that was just made is in training mode, whatever its modules are in.
    own = {name: each.train(module.training) for name, each in modules.items()}
    copied._modules = {**module._modules, **own}
    return copied
