"""The structures of a run: read, hashed, and divided into training, validation and test sets."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from mtt.data.ase_targets import describe_targets
from mtt.data.changes import Rows, describe, to_keep
from mtt.data.read_files import read_datasets
from mtt.data.reader import InMemory, Reader, Selection
from mtt.data.same_units import Units, converted
from mtt.data.splits import split
from mtt.data.structure import Structure
from mtt.data.target import Target
from mtt.errors import DATA_CHANGED, UserError
from mtt.options import DatasetOptions, Options
from mtt.training.runs.option_changes import ON_PURPOSE

_log = logging.getLogger(__name__)
_SETS = ("validation_set", "test_set")
# What is said of a run without one.
WITHOUT_VALIDATION: Final = (
    "there is no validation set: the best epoch is chosen by the errors of the training set, which keep "
    "falling when the model overfits, and nothing shows how well it predicts other structures"
)
# Structures kept in checkpoints, for the reference systems of an export.
_MAX_CHECK, _MAX_CHECK_ATOMS = 4, 100


@dataclass(frozen=True)
class RecordedData:
    """What a checkpoint or a model file says about the data of its run.

    - ``split``: indices into the structures of ``training_set``, of train, validation and test;
    - by the option that names what was read, ``data_hash``: its SHA-256, ``data_size``: its number
      of structures, ``fingerprints``: what :func:`mtt.data.changes.to_keep` gave of it. Old files
      lack the last two.
    """

    split: Mapping[str, Sequence[int]] = field(default_factory=dict)
    data_hash: Mapping[str, str] = field(default_factory=dict)
    data_size: Mapping[str, int] = field(default_factory=dict)
    fingerprints: Mapping[str, Rows] = field(default_factory=dict)


@dataclass(frozen=True)
class RunData:
    """Structures of the three sets, in the units of the model.

    - ``targets``: what the model is to predict, with the gradients that training structures have;
    - ``split``: indices into the structures of ``training_set``, as in the checkpoint;
    - by the option that names what was read, ``data_hash``: its SHA-256, ``sizes``: its number of
      structures, ``fingerprints``: from which to tell later what has changed in it.
    """

    targets: list[Target]
    train: Reader
    validation: Reader
    test: Reader
    split: dict[str, list[int]]
    data_hash: dict[str, str]
    sizes: dict[str, int]
    fingerprints: dict[str, Rows]


def read_run_data(
    options: Options, recorded: RecordedData | None = None, units: Units | None = None
) -> RunData:
    """Read all data of a run.

    :param units: of the model; those of the first training set if None
    :param recorded: what the checkpoint to resume from says: its split is kept, and the data must
        be what they were
    :raises UserError: unusable data, or data that have changed since the checkpoint
    """
    sources = _sources(options)
    # Before they are in the units of a base, so that the hash depends on the data alone.
    prints = {name: reader.fingerprints() for name, reader in sources.items()}
    own = Units.of(options.training_set[0])
    units = units or own
    if not own.fits(units):
        _log.info("all data: converted from %s to %s", own, units)
        sources = {
            name: InMemory(converted(reader, own, units)) for name, reader in sources.items()
        }
    if recorded is None:
        indices = _new_split(options, sources)
    else:
        _check_unchanged(options, recorded, sources, prints)
        indices = {name: list(part) for name, part in recorded.split.items()}

    def chosen(part: str, name: str) -> Reader:
        if name in sources and part != "train":
            return sources[name]
        return Selection(sources["training_set"], indices[part])

    train = chosen("train", "training_set")
    described = describe_targets(options.training_set[0].targets, train, units.targets)
    loss = options.architecture.training.loss
    data = RunData(
        targets=[
            replace(target, shift=loss.extra_points(target.name, target.properties))
            for target in described
        ],
        train=train,
        validation=chosen("validation", "validation_set"),
        test=chosen("test", "test_set"),
        split=indices,
        data_hash={name: content_hash for name, (content_hash, _) in prints.items()},
        sizes={name: len(reader) for name, reader in sources.items()},
        fingerprints={name: to_keep(rows) for name, (_, rows) in prints.items()},
    )
    if not data.validation and not options.validation_set.is_empty():
        raise UserError(
            "the validation set is empty",
            where="validation_set",
            hint="the best epoch is chosen by it: give it a larger fraction, or 0 to go without it",
        )
    _log.info(
        "structures: %d for training, %d for validation, %d for testing",
        len(data.train),
        len(data.validation),
        len(data.test),
    )
    return data


def check_same(
    options: Options, recorded: RecordedData, since: str = "the checkpoint was written"
) -> None:
    """Read all data of a run, and compare their hashes with recorded ones.

    :param recorded: of a checkpoint or a model file; its split does not matter
    :param since: what the data belong to, for the message
    :raises UserError: unusable data; with the code ``DATA_CHANGED``, other data than the recorded
    """
    sources = _sources(options)
    prints = {name: reader.fingerprints() for name, reader in sources.items()}
    _check_unchanged(options, recorded, sources, prints, since)


def _sources(options: Options) -> dict[str, Reader]:
    """Return the structures by the option that names where they are read from, in the same units."""
    units = Units.of(options.training_set[0])
    rooms = options.architecture.training.loss.rooms(options.training_set[0].targets)
    sources = {"training_set": read_datasets(options.training_set, units, rooms)}
    for name in _SETS:
        datasets: Sequence[DatasetOptions] | None = getattr(options, name).datasets
        if datasets is not None:
            sources[name] = read_datasets(datasets, units, rooms)
    return sources


def check_structures(train: Sequence[Structure]) -> list[Structure]:
    """Return up to four training structures of at most 100 atoms, evenly spaced (or the smallest one)."""
    small = [structure for structure in train if len(structure) <= _MAX_CHECK_ATOMS]
    if not small:
        small = [min(train, key=len)]
    count = min(_MAX_CHECK, len(small))
    return [small[index * len(small) // count] for index in range(count)]


def _new_split(
    options: Options, sources: Mapping[str, Sequence[Structure]]
) -> dict[str, list[int]]:
    new = split(
        len(sources["training_set"]),
        options.validation_set.part,
        options.test_set.part,
        options.seeds[0],
    )
    parts = {"train": new.train, "validation": new.validation, "test": new.test}
    return {name: np.asarray(part).tolist() for name, part in parts.items()}


def _check_unchanged(
    options: Options,
    recorded: RecordedData,
    sources: Mapping[str, Sequence[Structure]],
    prints: Mapping[str, tuple[str, Rows]],
    since: str = "the checkpoint was written",
) -> None:
    """Refuse data that are no longer those of the checkpoint, and say what has changed in them."""
    changes: list[str] = []
    files: list[str] = []
    for name, structures in sources.items():
        content_hash, rows = prints[name]
        if recorded.data_hash.get(name) == content_hash:
            continue
        size, kept = recorded.data_size.get(name), recorded.fingerprints.get(name)
        change = _change(size, kept, structures, rows)
        subject = (
            f"those of {name}" if changes else f"the data of {name} have changed since {since}"
        )
        changes.append(f"{subject}: {change}")
        datasets = options.training_set
        if name != "training_set":
            datasets = getattr(options, name).datasets
        files += [str(entry.systems.read_from) for entry in datasets]
    if changes:
        raise UserError(
            "; ".join(changes),
            where=", ".join(dict.fromkeys(files)),
            hint=f"bring the data back to resume, train anew without --continue, {ON_PURPOSE}",
            code=DATA_CHANGED,
        )


def _change(
    size: int | None, kept: Rows | None, structures: Sequence[Structure], rows: Rows
) -> str:
    """Return what has changed, as exactly as the checkpoint lets us tell."""
    if size is not None and kept is not None:
        change = describe(kept, size, structures, rows)
        if change is not None:
            return change
    if size is not None and size != len(structures):
        return f"it had {size} structures and now has {len(structures)}"
    return f"of its {len(structures)} structures, some have other positions, cells or targets"
