"""What an architecture supplies: a core that maps the neighbor graph to raw energies of atoms."""

import torch


class Core(torch.nn.Module):
    """Base of every architecture's network, TorchScript-able.

    ``forward(graph: Graph) -> Tensor`` gives the raw energy of each atom [N] in the dtype of
    ``graph.vectors``: without composition baseline and scale, which :class:`Potential` adds. It must
    see positions and cells through ``graph.vectors`` only.

    - ``cutoff``: radius of the neighbor list it needs, in the model's length unit;
    - ``interaction_range``: beyond this distance nothing may influence an atom's energy.
    """

    cutoff: float
    interaction_range: float
