"""`mtt data show`: data files, or the data sets of an options file, and what they are like."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mtt import architecture_registry
from mtt.data.ase_targets import described
from mtt.data.frames import listed
from mtt.data.read_files import read_structures
from mtt.data.same_units import Units
from mtt.data.structure import Structure
from mtt.data.target import Target
from mtt.files import replacing
from mtt.inspect.data_figures import Figures, energy_target, figures
from mtt.inspect.data_reading import DataFile, Key, all_structures, read
from mtt.options import Options
from mtt.options.schema.datasets import DatasetOptions
from mtt.printable import print_machine, printable_json

REPORT_VERSION: Final = 1
Arrays = Mapping[str, NDArray[np.float64]]


def of_files(
    paths: Sequence[Path], keys: Mapping[str, str], length_unit: str, energy_unit: str
) -> tuple[Figures, Arrays]:
    """Return what files are like, and the arrays of which pictures are drawn.

    :param keys: of labels whose key is not to be guessed
    :raises UserError: a file cannot be read
    """
    files = [file for path in paths for file in read(path, keys)]
    sets = {str(file.path): file.structures for file in files}
    target = energy_target(all_structures(files), energy_unit)
    found, arrays = figures(sets, [target], length_unit)
    found["doubts"] += [f"{file.path}: {text}" for file in files for text in file.doubts]
    report = {
        "version": REPORT_VERSION,
        "units": {"length": length_unit, "energy": energy_unit},
        "files": [_file(file) for file in files],
        **found,
    }
    return report, arrays


def of_options(options: Options) -> tuple[Figures, Arrays]:
    """Return the same for the data sets of an options file.

    :raises UserError: as training does of data that it cannot take
    """
    units = Units.of(options.training_set[0])
    rooms = options.architecture.training.loss.rooms(options.training_set[0].targets)
    sets = {"training_set": _structures(options.training_set, units, rooms)}
    for name in ("validation_set", "test_set"):
        own = getattr(options, name).datasets
        if own:
            sets[name] = _structures(own, units, rooms)
    targets = _with_gradients(options.training_set[0], sets["training_set"])
    hypers = options.architecture
    found, arrays = figures(
        sets,
        targets,
        options.training_set[0].systems.length_unit,
        _cutoff(options, targets, sets["training_set"]),
        hypers.training.atomic_baseline,
    )
    report = {
        "version": REPORT_VERSION,
        "units": {"length": options.training_set[0].systems.length_unit},
        "sets": {name: len(structures) for name, structures in sets.items()},
        "masks": _known(sets, options),
        **found,
    }
    return report, arrays


def _cutoff(
    options: Options, targets: Sequence[Target], structures: Sequence[Structure]
) -> float | None:
    """Return the cutoff of the model, which only the model tells; None if there can be none."""
    import torch

    chosen = options.architecture
    architecture = architecture_registry.get(chosen.name)
    types = sorted({int(kind) for structure in structures for kind in np.unique(structure.types)})
    if not types or any(architecture.refuses(chosen.model, target) for target in targets):
        return None
    with torch.random.fork_rng(devices=[]):
        return float(architecture.build_core(chosen.model, types, targets).cutoff)


def _structures(
    entries: Sequence[DatasetOptions], units: Units, rooms: Mapping[str, int]
) -> list[Structure]:
    return [s for entry in entries for s in read_structures(entry, False, units, rooms)]


def _file(file: DataFile) -> dict[str, Any]:
    return {
        "path": str(file.path),
        "frames": file.frames,
        "usable": len(file.structures),
        "keys": [
            {
                "key": name,
                "of": key.place,
                "frames": key.frames,
                "shapes": dict(key.kinds),
                "could_be": sorted(key.could_be),
                "without": file.frames - key.frames,
                "not_finite": key.not_finite,
                "frames_not_finite": len(key.spoilt),
                "where_not_finite": listed(key.spoilt) if key.spoilt else "",
                **_mask(key),
            }
            for name, key in sorted(file.keys.items())
        ],
        "taken": file.taken,
        "missing": {
            label: {"frames": len(places), "where": listed(places)}
            for label, places in file.missing.items()
            if places
        },
        "faults": [{"where": where, "what": what} for where, what in file.faults],
    }


def _mask(key: Key) -> dict[str, Any]:
    """Return what a mask leaves out; nothing of other keys."""
    if not key.mask_of:
        return {}
    return {"mask": {"of": key.mask_of, "values": key.numbers, "left_out": key.zeros}}


def _known(sets: Mapping[str, Sequence[Structure]], options: Options) -> list[dict[str, Any]]:
    """Return how many values the masks of targets leave, in each set."""
    found = []
    for name, target in options.training_set[0].targets.items():
        for place, structures in sets.items() if target.mask else ():
            values = [s.references[name].values for s in structures if name in s.references]
            known = [int(np.isfinite(own).sum()) for own in values]
            found.append(
                {
                    "set": place,
                    "target": name,
                    "key": target.mask,
                    "values": sum(own.size for own in values),
                    "known": sum(known),
                    "structures": len(structures),
                    "structures_without": len(structures) - sum(map(bool, known)),
                }
            )
    return found


def write(report: Figures, name: str) -> None:
    """Write a report as JSON to a file, or to standard output (``-``)."""
    as_json = printable_json(json.dumps(report, indent=2, allow_nan=False)) + "\n"
    if name == "-":
        print_machine(as_json)
        return
    with replacing(Path(name)) as temporary:
        temporary.write_text(as_json, encoding="utf-8")


def draw(arrays: Arrays, path: Path) -> None:
    """Draw histograms as PNG or SVG, as the name says."""
    from mtt.report.data_plots import histograms
    from mtt.report.plots import save, svg_of

    figure = histograms(arrays)
    if path.suffix == ".png":
        save(figure, path)
        return
    with replacing(path) as temporary:
        temporary.write_bytes(svg_of(figure))


def _with_gradients(entry: DatasetOptions, structures: Sequence[Structure]) -> list[Target]:
    """Return the targets of a data set, each with the gradients that any structure has."""
    targets = []
    for name, own in entry.targets.items():
        target = described(name, own)
        kinds = energy_target(structures, target.unit, name).gradients if target.is_energy else ()
        targets.append(replace(target, gradients=kinds))
    return targets
