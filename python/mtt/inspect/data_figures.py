"""What data are like, in figures: the same facts and doubts that a training run begins with, and more."""

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from ase.data import atomic_masses
from ase.units import GPa
from numpy.typing import NDArray

from mtt.data.neighbors import neighbor_list
from mtt.data.plausibility import doubts
from mtt.data.plausibility.closeness import TOO_CLOSE, pair_name, radii_of
from mtt.data.plausibility.components import components
from mtt.data.plausibility.robust import far_from_others, robust_residuals
from mtt.data.plausibility.sets import counts
from mtt.data.same_units import factor, in_angstrom
from mtt.data.structure import Structure, fingerprints
from mtt.data.target import POSITIONS, STRAIN, Target
from mtt.elements import symbols
from mtt.errors import UserError

CUTOFF: Final = 4.5  # angstrom, the usual one of a model
# Pairs further apart tell nothing of a mistake.
_REACH: Final = 3.2
# In robust deviations: shown as unusual; a training run speaks of what is far beyond.
_UNUSUAL: Final = 20.0
# The same of powers of ten.
_UNUSUAL_POWER: Final = 6.0
# The sum of the forces of a structure, over what it would be by chance.
_UNBALANCED: Final = 0.3
_SHOWN: Final = 5
_MOST_COPIES: Final = 20
_AMU_PER_A3: Final = 1.66053906660  # g/cm^3
Figures = dict[str, Any]


def figures(
    sets: Mapping[str, Sequence[Structure]],
    targets: Sequence[Target],
    length_unit: str,
    cutoff: float | None = None,
    fixed: Mapping[str, object] | None = None,
) -> tuple[Figures, dict[str, NDArray[np.float64]]]:
    """Return figures as plain values, and the arrays of which pictures are drawn.

    :param sets: structures by the set or file that they are from
    :param cutoff: of the model, in the length unit; the usual one if None
    :param fixed: baselines that are not fitted
    """
    structures = [structure for own in sets.values() for structure in own]
    if not structures:
        return {"structures": 0, "doubts": []}, {}
    angstrom = in_angstrom(length_unit) or 1.0
    arrays: dict[str, NDArray[np.float64]] = {}
    result: Figures = _sizes(structures, angstrom)
    result["unmeasured"] = []
    closest, result["closest_pairs"], result["close"] = _distances(
        structures, angstrom, result["unmeasured"]
    )
    arrays["closest pair / angstrom"] = closest
    result["targets"] = {}
    for target in targets:
        if target.is_energy:
            own, drawn = _labels(structures, target, angstrom)
            result["targets"][target.name] = own
            arrays |= {f"{target.name}: {name}": values for name, values in drawn.items()}
        else:
            result["targets"][target.name] = _values(structures, target)
    result["copies"] = _copies(sets)
    result["doubts"] = _doubts(sets, targets, length_unit, cutoff or CUTOFF / angstrom, fixed or {})
    return result, {name: values for name, values in arrays.items() if len(values)}


def energy_target(structures: Sequence[Structure], unit: str, name: str = "energy") -> Target:
    """Return the target of files that no options describe."""
    references = [one.references[name] for one in structures if name in one.references]
    kinds = {
        POSITIONS: any(each.forces is not None for each in references),
        STRAIN: any(each.stress is not None for each in references),
    }
    return Target(name, unit=unit, gradients=tuple(kind for kind, has in kinds.items() if has))


def _doubts(
    sets: Mapping[str, Sequence[Structure]],
    targets: Sequence[Target],
    length_unit: str,
    cutoff: float,
    fixed: Mapping[str, object],
) -> list[str]:
    if "training_set" in sets:
        # Atoms that are too close are told frame by frame.
        return list(doubts(sets, targets, length_unit, cutoff, fixed, close=False))
    # Files that nobody has made sets of: all of them are looked at together.
    every = [structure for own in sets.values() for structure in own]
    # Copies are told by the files that they are in.
    train = {"training_set": every}
    said = doubts(train, targets, length_unit, cutoff, fixed, copies=False, close=False)
    return [
        text.replace(" of training_set", "").replace(
            ", and the options say ", ", and they are read as "
        )
        for text in said
    ]


def _sizes(structures: Sequence[Structure], angstrom: float) -> Figures:
    sizes = np.array([len(structure) for structure in structures])
    types, table = counts(structures)
    names = [
        symbol or str(kind) for kind, symbol in zip(types, symbols(types.tolist()), strict=True)
    ]
    axes = [int(structure.pbc.sum()) for structure in structures]
    volumes = np.array([structure.volume for structure in structures]) * angstrom**3
    bulk = volumes > 0.0
    masses = table @ atomic_masses[np.minimum(types, len(atomic_masses) - 1)]
    result: Figures = {
        "structures": len(structures),
        "atoms": int(sizes.sum()),
        "atoms_each": _range(sizes),
        "atoms_by_type": {
            name: int(number) for name, number in zip(names, table.sum(axis=0), strict=True)
        },
        "structures_by_type": {
            name: int(number) for name, number in zip(names, (table > 0).sum(axis=0), strict=True)
        },
        "compositions": len(np.unique(table, axis=0)),
        "periodic_axes": {str(number): axes.count(number) for number in sorted(set(axes))},
    }
    if bulk.any():
        result["volume_per_atom"] = _range(volumes[bulk] / sizes[bulk])
        result["density"] = _range(masses[bulk] / volumes[bulk] * _AMU_PER_A3)
    return result


def _range(values: NDArray[Any]) -> Figures:
    return {
        "least": float(values.min()),
        "median": float(np.median(values)),
        "most": float(values.max()),
    }


def _distances(
    structures: Sequence[Structure], angstrom: float, unmeasured: list[Figures]
) -> tuple[NDArray[np.float64], list[Figures], list[Figures]]:
    """Return the closest pair of each structure, that of each two types, and what is too close.

    :param unmeasured: gets the structures that have no list of pairs, and why
    """
    shortest: dict[tuple[int, int], tuple[float, str]] = {}
    closest: list[float] = []
    close: list[tuple[float, Figures]] = []
    for structure in structures:
        try:
            pairs = neighbor_list(structure, _REACH / angstrom)
        except UserError as error:
            unmeasured.append({"where": structure.source, "what": error.what})
            continue
        if not len(pairs.centers):
            continue
        lengths = np.linalg.norm(pairs.vectors, axis=1) * angstrom
        one, other = structure.types[pairs.centers], structure.types[pairs.neighbors]
        closest.append(float(lengths.min()))
        codes = np.minimum(one, other).astype(np.int64) * 1000 + np.maximum(one, other)
        order = np.argsort(lengths, kind="stable")
        found, first = np.unique(codes[order], return_index=True)
        for code, row in zip(found.tolist(), order[first].tolist(), strict=True):
            key, length = divmod(code, 1000), float(lengths[row])
            if key not in shortest or length < shortest[key][0]:
                shortest[key] = (length, structure.source)
        ratios = lengths / (radii_of(one) + radii_of(other))
        worst = int(ratios.argmin())
        if ratios[worst] < TOO_CLOSE:
            pair = pair_name((int(one[worst]), int(other[worst])))
            entry = {"where": structure.source, "pair": pair, "distance": float(lengths[worst])}
            close.append((float(ratios[worst]), entry))
    table = [
        {"pair": pair_name(key), "distance": length, "where": source}
        for key, (length, source) in sorted(shortest.items())
    ]
    close.sort(key=lambda each: each[0])
    return np.array(closest), table, [entry for _, entry in close]


def _labels(
    structures: Sequence[Structure], target: Target, angstrom: float
) -> tuple[Figures, dict[str, NDArray[np.float64]]]:
    result: Figures = {"unit": target.unit}
    drawn: dict[str, NDArray[np.float64]] = {}
    own = [one for one in structures if target.name in one.references]
    known = [one for one in own if np.isfinite(one.references[target.name].values[0])]
    if known:
        result["energy"], drawn[f"residual energy / {target.unit} per atom"] = _energies(
            known, target
        )
    force_unit = f"{target.unit}/A"
    with_forces = [
        (one, own_forces * 1.0)
        for one in own
        if (own_forces := one.references[target.name].forces) is not None
    ]
    if with_forces:
        norms = [np.linalg.norm(forces, axis=1) / angstrom for _, forces in with_forces]
        every = np.concatenate(norms)
        largest = np.array([each.max() for each in norms])
        net = np.array(
            [float(np.abs(forces.sum(axis=0)).max()) / angstrom for _, forces in with_forces]
        )
        sources = [one for one, _ in with_forces]
        result["forces"] = {
            "structures": len(norms),
            "unit": force_unit,
            "rms": float(np.sqrt(np.mean(every**2) / 3.0)),
            "norms": _range(every),
            "largest_sum": float(net.max()),
            "unbalanced": _unbalanced(sources, norms, net),
            "largest": _worst(sources, largest),
            # Small forces are those of a relaxed structure, or of one atom.
            "unusual": _unusual(
                [one for one, size in zip(sources, largest, strict=True) if size > 0.0],
                np.log10(largest[largest > 0.0]),
                largest[largest > 0.0],
                _UNUSUAL_POWER,
                float(np.median(largest)),
            ),
        }
        drawn[f"force norm / {force_unit}"] = every
    with_stress = [
        (one, stress) for one in own if (stress := one.references[target.name].stress) is not None
    ]
    if with_stress:
        scale = factor(target.unit, "eV") / angstrom**3 / GPa
        largest = np.array([float(np.abs(stress).max()) * scale for _, stress in with_stress])
        sources = [one for one, _ in with_stress]
        result["stress"] = {
            "structures": len(largest),
            "unit": "GPa",
            "components": _range(largest),
            "largest": _worst(sources, largest),
        }
    return result, drawn


def _values(structures: Sequence[Structure], target: Target) -> Figures:
    parts = [
        {
            "component": part.name,
            "values": part.known,
            "missing": part.missing,
            **{name: getattr(part, name) for name in ("least", "median", "most", "spread")},
            "unusual": [
                {"where": structures[each.row].source, "value": each.value} for each in part.far
            ],
        }
        for part in components(structures, target, _UNUSUAL)
    ]
    return {"unit": target.unit, "components": parts} if parts else {"unit": target.unit}


def _unbalanced(
    structures: Sequence[Structure],
    norms: Sequence[NDArray[np.float64]],
    net: NDArray[np.float64],
) -> list[Figures]:
    """Return the structures whose forces do not nearly add up to zero, by the sum of them.

    Forces that have nothing to do with each other add up to their size times the root of their number.
    """
    typical = float(np.sqrt(np.mean(np.concatenate(norms) ** 2) / 3.0))
    sizes = np.array([len(structure) for structure in structures])
    far = np.flatnonzero((net > _UNBALANCED * typical * np.sqrt(sizes)) & (sizes > 1))
    ordered = far[np.argsort(-net[far], kind="stable")].tolist()
    return [{"where": structures[row].source, "value": float(net[row])} for row in ordered]


def _energies(known: Sequence[Structure], target: Target) -> tuple[Figures, NDArray[np.float64]]:
    types, table = counts(known)
    sizes = table.sum(axis=1)
    values = np.array([one.references[target.name].values[0] for one in known])
    residuals = robust_residuals(table / sizes[:, None], values / sizes)
    figures = {
        "structures": len(known),
        "unit": f"{target.unit}/atom",
        "per_atom": _range(values / sizes),
        "residual_rms": float(np.sqrt(np.mean(residuals**2))),
        "residuals": _range(residuals),
        "largest": _worst(known, np.abs(residuals)),
        "unusual": _unusual(known, residuals, np.abs(residuals)),
    }
    return figures, residuals


def _worst(structures: Sequence[Structure], sizes: NDArray[np.float64]) -> list[Figures]:
    rows = np.argsort(-sizes, kind="stable")[:_SHOWN].tolist()
    return [{"where": structures[row].source, "value": float(sizes[row])} for row in rows]


def _unusual(
    structures: Sequence[Structure],
    judged: NDArray[np.float64],
    sizes: NDArray[np.float64],
    limit: float = _UNUSUAL,
    least: float = 0.0,
) -> list[Figures]:
    """Return those whose numbers ``judged`` are far from the others, with sizes above ``least``."""
    far = np.flatnonzero(far_from_others(judged, limit) & (sizes > least))
    ordered = far[np.argsort(-sizes[far], kind="stable")].tolist()
    return [{"where": structures[row].source, "value": float(sizes[row])} for row in ordered]


def _copies(sets: Mapping[str, Sequence[Structure]]) -> Figures:
    """Return copies, bit by bit, within and across sets."""
    places: dict[int, list[tuple[str, str]]] = defaultdict(list)
    values: dict[int, set[int]] = defaultdict(set)
    for name, structures in sets.items():
        for structure, (geometry, references) in zip(
            structures, fingerprints(structures)[1].tolist(), strict=True
        ):
            places[geometry].append((name, structure.source))
            values[geometry].add(references)
    groups = {key: group for key, group in places.items() if len(group) > 1}
    across: dict[tuple[str, str], int] = defaultdict(int)
    within: dict[str, int] = defaultdict(int)
    where: dict[Any, list[str]] = {}
    for group in groups.values():
        own: dict[str, list[str]] = defaultdict(list)
        for name, source in group:
            own[name].append(source)
        for name, sources in own.items():
            if len(sources) > 1:
                within[name] += len(sources) - 1
                where.setdefault(name, sources[:2])
        for pair in itertools.combinations(own, 2):
            across[pair] += 1
            where.setdefault(pair, [own[name][0] for name in pair])
    return {
        "within": dict(within),
        "within_where": {name: where[name] for name in within},
        "across": [
            {"one": pair[0], "other": pair[1], "structures": number, "where": where[pair]}
            for pair, number in across.items()
        ],
        "with_other_values": sum(len(values[key]) > 1 for key in groups),
        "groups": [[source for _, source in group] for group in groups.values()][:_MOST_COPIES],
        "number_of_groups": len(groups),
    }
