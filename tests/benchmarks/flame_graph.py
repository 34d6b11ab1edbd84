"""Where the time goes, as a picture: steps of training, or a call of a model as an export makes it.

    python tests/benchmarks/flame_graph.py options.yaml steps.png
    python tests/benchmarks/flame_graph.py model.ckpt call.png --box BOX.xyz --atoms 576

A training is prepared as ``mtt train`` does it and runs for one epoch, then once more under the
profiler of torch. A call is of the checkpoint's model in Python, by chunks and with gradients: an
exported file runs the same operators, without the Python between them. One thread. Each box is a
function of mtt, a module or an operator, as wide as the time spent in it; what it calls stands below
it. The table that is printed has the time of operators by what they do.
"""

import argparse
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ase.io
import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Rectangle
from torch.profiler import ProfilerActivity, profile

from mtt import checkpoint as checkpoints
from mtt.options import load_options
from mtt.training import loop, prepare

# By the names of operators: the first that one contains.
KINDS = {
    "matrix products": ("mm", "linear", "mtt_training::Linear", "einsum"),
    "kernels of training": ("mtt_training",),
    "moving numbers": (
        *(
            "copy",
            "cat",
            "index",
            "fill",
            "zero",
            "empty",
            "gather",
            "scatter",
            "sort",
            "embedding",
        ),
        *("clone", "contiguous", "stack", "select", "repeat", "nonzero", "_to_"),
    ),
    "optimizer and clipping": ("foreach", "fused_adam", "adam"),
    "arithmetic by element": ("aten::",),
}
COLORS = {
    "matrix products": "#4c78a8",
    "kernels of training": "#72b7b2",
    "moving numbers": "#e45756",
    "optimizer and clipping": "#b279a2",
    "arithmetic by element": "#f2a541",
    "Python": "#d8d8d8",
}
SHOWN = 0.002


@dataclass
class Box:
    """A function or operator: its own time, in all calls from the same place, and what it calls."""

    own: float = 0.0
    called: dict[str, "Box"] = field(default_factory=dict)

    @property
    def time(self) -> float:
        return self.own + sum(box.time for box in self.called.values())


def kind_of(name: str) -> str:
    """Return which of ``COLORS`` a box has."""
    if "::" not in name:
        return "Python"
    return next((kind for kind, parts in KINDS.items() if any(p in name for p in parts)), "Python")


def name_of(event: Any) -> str | None:
    """Return the name of a box for an event of the profiler; None if it gets none of its own."""
    name: str = event.name
    if name.startswith("nn.Module: "):
        return name[len("nn.Module: ") :].rpartition("_")[0]
    if name.startswith("autograd::engine::evaluate_function: "):
        return None
    kernel = re.search(r"mtt::training::(?:\(anonymous namespace\)::)?(\w+)", name)
    if kernel is not None:
        return "mtt_training::" + kernel[1]
    if "::" in name:
        return name
    file, _, function = name.rpartition(": ")
    if function == "backward" and "_tensor.py" in file:
        return "backward"
    if re.search(r"(^|/)mtt/", file) and not function.startswith(("<", "_", "forward")):
        return f"{Path(file.partition('(')[0]).stem}.{function}"
    return None


def add(event: Any, box: Box) -> None:
    """Add an event and what it calls to the box of its caller."""
    name = name_of(event)
    inner = box if name is None else box.called.setdefault(name, Box())
    inside = 0
    for child in event.children:
        inside += child.duration_time_ns
        add(child, inner)
    inner.own += 1e-9 * max(0, event.duration_time_ns - inside)


def measured(run: Callable[[], None]) -> Box:
    """Return the boxes of what happens in ``run``, which has run before."""
    run()
    with profile(activities=[ProfilerActivity.CPU], with_stack=True) as found:
        run()
    root = Box()
    tree = found.profiler.kineto_results.experimental_event_tree()
    for event in tree:
        add(event, root)
    return root


def steps_of(options: Path) -> Callable[[], None]:
    """Return one epoch of a training that has not begun, each time anew."""
    observer: Any = SimpleNamespace(
        step=lambda *_: None, epoch=lambda row: None, stop_requested=lambda: False
    )

    def run() -> None:
        with loop.kernels(work.problem.device, work.problem.dtype):
            loop._train_epoch(work.state, work.problem, work.problem.loss(1), observer)
        work.state.position.batch = 0

    work = prepare.prepare(load_options(options), None, Path("model.pt"), lambda _: None)
    # As in a training: for all epochs, so it is not left.
    loop.pooled_memory(work.problem.device).__enter__()
    return run


def call_of(path: Path, box: Path, n_atoms: int) -> Callable[[], None]:
    """Return a call that gives energy, forces and the gradient by strain of a copied box."""
    from metatomic.torch import ModelOutput, System

    from mtt.architectures.metatomic_systems import add_neighbor_list
    from mtt.data.read_files import structure_of

    potential = checkpoints.load_potential(*checkpoints.read(path)).eval().by_chunks()
    for parameter in potential.parameters():
        parameter.requires_grad_(False)
    atoms = ase.io.read(box, 0)
    while len(atoms) < n_atoms:
        atoms = atoms.repeat(
            [2 if axis == atoms.cell.lengths().argmin() else 1 for axis in range(3)]
        )
    structure = structure_of(atoms, str(box))
    (wanted,) = potential.requested_neighbor_lists()

    def run() -> None:
        strain = torch.eye(3, requires_grad=True)
        positions = torch.tensor(structure.positions, dtype=torch.float32, requires_grad=True)
        cell = torch.tensor(structure.cell, dtype=torch.float32)
        types = torch.tensor(structure.types, dtype=torch.int32)
        system = System(types, positions @ strain, cell @ strain, torch.tensor([True, True, True]))
        add_neighbor_list(system, structure, wanted)
        outputs = {"energy": ModelOutput(unit="eV", sample_kind="system")}
        potential([system], outputs, None)["energy"].block().values.sum().backward()

    print(f"{len(atoms)} atoms")
    return run


def draw(axes: Any, box: Box, left: float, depth: int, whole: float) -> int:
    """Draw what a box calls below it, the longest first; returns the largest depth."""
    deepest = depth
    for name, inner in sorted(box.called.items(), key=lambda item: -item[1].time):
        width = inner.time / whole
        if width < SHOWN:
            continue
        color = COLORS[kind_of(name)]
        axes.add_patch(Rectangle((left, -depth - 1), width, 0.94, facecolor=color, edgecolor="w"))
        letters = int(width * 210)
        if letters > 3:
            short = name.rpartition("::")[2]
            text = f"{short} {100 * width:.0f} %" if letters > len(short) + 5 else short[:letters]
            axes.text(left + 0.002, -depth - 0.55, text, fontsize=6, va="center", clip_on=True)
        deepest = max(deepest, draw(axes, inner, left, depth + 1, whole))
        left += width
    return deepest


def shares(box: Box, totals: Counter[str], name: str = "") -> Counter[str]:
    """Add the own time of a box and of all below it by their kinds."""
    totals[kind_of(name)] += box.own
    for inner_name, inner in box.called.items():
        shares(inner, totals, inner_name)
    return totals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", type=Path, help="options of a training, or a checkpoint")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--box", type=Path)
    parser.add_argument("--atoms", type=int, default=576)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    training = arguments.what.suffix == ".yaml"
    run = (
        steps_of(arguments.what)
        if training
        else call_of(arguments.what, arguments.box, arguments.atoms)
    )
    root = measured(run)
    totals = shares(root, Counter())
    for kind, seconds in totals.most_common():
        print(f"{kind:25} {seconds:8.3f} s {100 * seconds / root.time:5.1f} %")
    figure, axes = plt.subplots(figsize=(12, 6))
    deepest = draw(axes, root, 0.0, 0, root.time)
    axes.set(xlim=(0, 1), ylim=(-deepest - 0.2, 0.1))
    axes.axis("off")
    for kind, color in COLORS.items():
        if totals[kind] > 0.001 * root.time:
            axes.plot(
                [], [], "s", color=color, label=f"{kind}, {100 * totals[kind] / root.time:.0f} %"
            )
    figure.legend(loc="lower center", ncols=5, frameon=False, fontsize=8)
    figure.savefig(arguments.picture, dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    main()
