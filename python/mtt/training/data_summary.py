"""What a set of structures is like, in a few facts for people."""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mtt.data.structure import Structure
from mtt.data.target import Target
from mtt.elements import symbols
from mtt.report.metrics import readable

# Data may be larger than memory: so many structures tell what they are like.
_MOST: Final = 20_000
_MOST_NAMES: Final = 20


def summary(structures: Sequence[Structure], targets: Sequence[Target]) -> dict[str, str]:
    """Return facts by what they are about; of very many structures, the first are looked at."""
    looked_at = list(itertools.islice(structures, _MOST))
    sizes = np.array([len(structure) for structure in looked_at])
    first = f" (the following of the first {_MOST})" if len(structures) > _MOST else ""
    periodic = sum(bool(structure.pbc.any()) for structure in looked_at)
    facts = {
        "structures": f"{len(structures)}{first}",
        "atoms": f"{sizes.sum()}, {_range(sizes)} each",
        "periodic": f"{periodic} of {len(looked_at)}",
        "atoms by element": _elements(looked_at),
    }
    kinds = Counter(one.config_type for one in looked_at if one.config_type)
    if kinds:
        facts["config_type"] = _listed(kinds)
    files = Counter(one.source.rpartition("#")[0].rpartition("/")[2] for one in looked_at)
    facts["files"] = _listed(files)
    for target in targets:
        facts |= _references(looked_at, target)
    return facts


def _range(sizes: NDArray[np.int64]) -> str:
    low, high = int(sizes.min()), int(sizes.max())
    return str(low) if low == high else f"{low} to {high}, on average {sizes.mean():.1f},"


def _elements(structures: Sequence[Structure]) -> str:
    counts: Counter[int] = Counter()
    for structure in structures:
        counts.update(structure.types.tolist())
    types = sorted(counts)
    named = zip(types, symbols(types), strict=True)
    return ", ".join(f"{symbol or kind} {counts[kind]}" for kind, symbol in named)


def _listed(counts: Counter[str]) -> str:
    shown = ", ".join(f"{name} {count}" for name, count in counts.most_common(_MOST_NAMES))
    more = len(counts) - _MOST_NAMES
    return f"{shown}, and {more} more" if more > 0 else shown


def _references(structures: Sequence[Structure], target: Target) -> dict[str, str]:
    """Return how many references there are, and how much they spread."""
    own = [
        (one, one.references[target.name]) for one in structures if target.name in one.references
    ]
    facts = {}
    per_atom = target.per == "system" and not target.per_volume
    known = [
        (reference.values / (len(one) if per_atom else 1)).ravel()
        for one, reference in own
        if not np.isnan(reference.values).all()
    ]
    if known:
        values = np.concatenate(known)
        values = values[~np.isnan(values)]
        per = f"{target.unit}/atom" if per_atom else target.unit
        facts[target.name] = (
            f"{len(values)} values from {values.min():.6g} to {values.max():.6g} {per}, "
            f"standard deviation {readable(float(values.std()), per)}"
        )
    forces = [reference.forces.ravel() for _, reference in own if reference.forces is not None]
    if forces:
        components = np.concatenate(forces)
        facts[f"{target.name}: forces"] = (
            f"of {len(forces)} structures, RMS {np.sqrt(np.mean(components**2)):.4g}, "
            f"largest component {np.abs(components).max():.4g}"
        )
    stresses = sum(reference.stress is not None for _, reference in own)
    if stresses:
        facts[f"{target.name}: stress"] = f"of {stresses} structures"
    return facts
