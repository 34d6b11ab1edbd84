"""The structures of a run: read, hashed, and divided into training, validation and test sets."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mtt.data.changes import Rows, describe, to_keep
from mtt.data.readers import read_datasets
from mtt.data.splits import split
from mtt.data.structure import Structure, fingerprints
from mtt.errors import UserError
from mtt.options import DatasetOptions, Options
from mtt.training.runs.option_changes import ON_PURPOSE

_log = logging.getLogger(__name__)
_SETS = ("validation_set", "test_set")
# Structures kept in checkpoints, for the reference systems of an export.
_MAX_CHECK, _MAX_CHECK_ATOMS = 4, 100


@dataclass(frozen=True)
class RunData:
    """Structures of the three sets, in the units of the data.

    - ``split``: indices into the structures of ``training_set``, as in the checkpoint;
    - by the option that names what was read, ``data_hash``: its SHA-256, ``sizes``: its number of
      structures, ``fingerprints``: from which to tell later what has changed in it.
    """

    train: list[Structure]
    validation: list[Structure]
    test: list[Structure]
    split: dict[str, list[int]]
    data_hash: dict[str, str]
    sizes: dict[str, int]
    fingerprints: dict[str, Rows]


def read_run_data(
    options: Options,
    checkpoint: Mapping[str, Any] | None = None,
    kept: Mapping[str, Rows] | None = None,
) -> RunData:
    """Read all data of a run.

    :param checkpoint: header of the checkpoint to go on from: its split is kept, and the data must
        be what they were
    :param kept: the fingerprints in that checkpoint; old ones have none
    :raises UserError: unusable data, or data that have changed since the checkpoint
    """
    sources = _sources(options)
    found = {name: fingerprints(structures) for name, structures in sources.items()}
    hashes = {name: content_hash for name, (content_hash, _) in found.items()}
    if checkpoint is None:
        indices = _new_split(options, sources)
    else:
        _check_unchanged(options, checkpoint, kept or {}, sources, found)
        indices = {name: list(part) for name, part in checkpoint["split"].items()}

    def chosen(part: str, name: str) -> list[Structure]:
        if name in sources and part != "train":
            return sources[name]
        return [sources["training_set"][index] for index in indices[part]]

    data = RunData(
        train=chosen("train", "training_set"),
        validation=chosen("validation", "validation_set"),
        test=chosen("test", "test_set"),
        split=indices,
        data_hash=hashes,
        sizes={name: len(structures) for name, structures in sources.items()},
        fingerprints={name: to_keep(rows) for name, (_, rows) in found.items()},
    )
    if not data.validation:
        raise UserError(
            "the validation set is empty",
            where="validation_set",
            hint="the best epoch is chosen by it: give it a larger fraction",
        )
    _log.info(
        "structures: %d for training, %d for validation, %d for testing",
        len(data.train),
        len(data.validation),
        len(data.test),
    )
    return data


def check_same(
    options: Options, recorded: Mapping[str, Any], kept: Mapping[str, Rows] | None = None
) -> None:
    """Read all data of a run, and compare their hashes with recorded ones.

    :param recorded: ``data_hash``, and perhaps ``data_size``, of a checkpoint or a model file
    :param kept: the fingerprints in the checkpoint, from which to say what has changed
    :raises UserError: unusable data, or data that are not those that were recorded
    """
    sources = _sources(options)
    found = {name: fingerprints(structures) for name, structures in sources.items()}
    _check_unchanged(options, recorded, kept or {}, sources, found)


def _sources(options: Options) -> dict[str, list[Structure]]:
    """The structures by the option that names where they are read from."""
    sources = {"training_set": read_datasets(options.training_set)}
    for name in _SETS:
        datasets: Sequence[DatasetOptions] | None = getattr(options, name).datasets
        if datasets is not None:
            sources[name] = read_datasets(datasets)
    return sources


def check_structures(train: Sequence[Structure]) -> list[Structure]:
    """Up to four training structures of at most 100 atoms, evenly spaced (or the smallest one)."""
    small = [one for one in train if len(one) <= _MAX_CHECK_ATOMS]
    if not small:
        small = [min(train, key=len)]
    count = min(_MAX_CHECK, len(small))
    return [small[index * len(small) // count] for index in range(count)]


def _new_split(
    options: Options, sources: Mapping[str, Sequence[Structure]]
) -> dict[str, list[int]]:
    found = split(
        len(sources["training_set"]),
        options.validation_set.part,
        options.test_set.part,
        options.seed,
    )
    parts = {"train": found.train, "validation": found.validation, "test": found.test}
    return {name: np.asarray(part).tolist() for name, part in parts.items()}


def _check_unchanged(
    options: Options,
    checkpoint: Mapping[str, Any],
    kept: Mapping[str, Rows],
    sources: Mapping[str, Sequence[Structure]],
    found: Mapping[str, tuple[str, Rows]],
) -> None:
    """Refuse data that are no longer those of the checkpoint, and say what has changed in them."""
    changes: list[str] = []
    files: list[str] = []
    for name, structures in sources.items():
        content_hash, rows = found[name]
        if checkpoint["data_hash"].get(name) == content_hash:
            continue
        size = checkpoint.get("data_size", {}).get(name)
        change = _change(size, kept.get(name), structures, rows)
        since = "" if changes else " have changed since the checkpoint was written"
        changes.append(f"{'those' if changes else 'the data'} of {name}{since}: {change}")
        datasets = options.training_set
        if name != "training_set":
            datasets = getattr(options, name).datasets
        files += [str(one.systems.read_from) for one in datasets]
    if changes:
        raise UserError(
            "; ".join(changes),
            where=", ".join(dict.fromkeys(files)),
            hint=f"bring the data back to go on, train anew without --continue, {ON_PURPOSE}",
        )


def _change(
    size: int | None, kept: Rows | None, structures: Sequence[Structure], rows: Rows
) -> str:
    """What has changed, as exactly as the checkpoint lets us tell."""
    if size is not None and kept is not None:
        change = describe(kept, size, structures, rows)
        if change is not None:
            return change
    if size is not None and size != len(structures):
        return f"it had {size} structures and now has {len(structures)}"
    return f"of its {len(structures)} structures, some have other positions, cells or targets"
