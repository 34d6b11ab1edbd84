"""The structures of a run: read, hashed, and divided into training, validation and test sets."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.readers import read_datasets
from ..data.splits import split
from ..data.structure import Structure, content_hash
from ..errors import UserError
from ..options import DatasetOptions, Options

_log = logging.getLogger(__name__)
_SETS = ("validation_set", "test_set")
# Structures kept in checkpoints, for the reference systems of an export.
_MAX_CHECK, _MAX_CHECK_ATOMS = 4, 100


@dataclass(frozen=True)
class RunData:
    """Structures of the three sets, in the units of the data.

    - ``split``: indices into the structures of ``training_set``, as in the checkpoint;
    - ``data_hash``: SHA-256 of what was read, and ``sizes``: its number of structures, by the
      option that names it.
    """

    train: list[Structure]
    validation: list[Structure]
    test: list[Structure]
    split: dict[str, list[int]]
    data_hash: dict[str, str]
    sizes: dict[str, int]


def read_run_data(options: Options, checkpoint: Mapping[str, Any] | None = None) -> RunData:
    """Read all data of a run.

    :param checkpoint: header of the checkpoint to go on from: its split is kept, and the data must
        be what they were
    :raises UserError: unusable data, or data that have changed since the checkpoint
    """
    sources = {"training_set": read_datasets(options.training_set)}
    for name in _SETS:
        datasets: Sequence[DatasetOptions] | None = getattr(options, name).datasets
        if datasets is not None:
            sources[name] = read_datasets(datasets)
    hashes = {name: content_hash(structures) for name, structures in sources.items()}
    sizes = {name: len(structures) for name, structures in sources.items()}
    if checkpoint is None:
        indices = _new_split(options, sources)
    else:
        _check_unchanged(options, checkpoint, hashes, sizes)
        indices = {name: list(found) for name, found in checkpoint["split"].items()}

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
        sizes=sizes,
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
    hashes: Mapping[str, str],
    sizes: Mapping[str, int],
) -> None:
    before = checkpoint["data_hash"]
    for name in sorted({*before, *hashes}):
        if before.get(name) == hashes.get(name):
            continue
        datasets = options.training_set
        if name != "training_set":
            datasets = getattr(options, name).datasets or []
        old, new = checkpoint.get("data_size", {}).get(name), sizes.get(name)
        if old != new:
            change = f"it had {old} structures and now has {new}"
        else:
            change = f"of its {new} structures, some have other positions, cells or targets"
        raise UserError(
            f"the data of {name} have changed since the checkpoint was written: {change}",
            where=", ".join(str(one.systems.read_from) for one in datasets) or name,
            hint="bring the data back to go on, or train anew without --continue",
        )
