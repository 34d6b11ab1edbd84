"""What a checkpoint or a model file has recorded about its training; and the files it was made from.

Torch is not needed. Files are known by their content, so they may lie elsewhere now.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mtt.checkpoint import ArchitectureRecord, Conditions
from mtt.checkpoint.header import conditions_of
from mtt.data.changes import Rows
from mtt.errors import UserError
from mtt.export import provenance
from mtt.filetypes import recognize
from mtt.options import Options, load_recorded
from mtt.options.schema.data_paths import data_files
from mtt.options.stored import upgrade_options

if TYPE_CHECKING:
    from mtt.training.run_data import RecordedData

_SETS: Final = ("training_set", "validation_set", "test_set")


# What a model file must say, which those of format 1 do not.
_NEEDED: Final = {
    "options": dict,
    "options_hash": str,
    "data_hash": dict,
    "data_size": dict,
    "history": list,
    "trained_with": dict,
    "verification": str,
}


@dataclass(frozen=True)
class Recorded:
    """What a file says about the run that made it.

    - ``options``: in today's version; ``stored_options`` and ``options_hash``: as they were written;
    - ``epochs``: how many are done;
    - ``base_hash``: content hash of the checkpoint that a fine-tuning began with;
    - ``conditions``: what each part of the run was computed with, if that was recorded;
    - ``fingerprints``: of the data, in checkpoints only;
    - ``record``: the provenance of a model file; empty for a checkpoint.
    """

    path: Path
    kind: str
    options: dict[str, Any]
    stored_options: dict[str, Any]
    options_hash: str
    data_hash: dict[str, str]
    data_size: dict[str, int]
    packages: dict[str, str]
    epochs: int
    architecture: ArchitectureRecord | None = None
    image_digest: str | None = None
    base_hash: str | None = None
    conditions: Sequence[Conditions] = ()
    fingerprints: Mapping[str, Rows] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)

    def data(self) -> "RecordedData":
        """Return what data are compared with, to be the same as those of the run."""
        from mtt.training.run_data import RecordedData

        return RecordedData({}, self.data_hash, self.data_size, self.fingerprints)


def read(path: Path) -> Recorded:
    """Return what a file has recorded.

    :raises UserError: it cannot be read, or has no record of its options
    """
    if recognize.require_own(path, "a checkpoint or a model file") == "checkpoint":
        return _of_checkpoint(path)
    record = provenance.read_record(path)
    if record is None:
        raise UserError(
            "the model file does not say what it was made from: mtt did not export it",
            where=str(path),
        )
    if not all(isinstance(record.get(key), kind) for key, kind in _NEEDED.items()):
        raise UserError(
            "the model file does not say which options it was trained with: an older mtt made it",
            where=str(path),
            hint="give its checkpoint instead",
        )
    return _of_model(path, record)


def _of_model(path: Path, record: dict[str, Any]) -> Recorded:
    origin, image = record.get("origin"), record.get("image_digest")
    base = origin.get("content_hash") if isinstance(origin, dict) else None
    return Recorded(
        path,
        "model",
        options=upgrade_options(record["options"]),
        stored_options=record["options"],
        options_hash=record["options_hash"],
        data_hash=record["data_hash"],
        data_size=record["data_size"],
        packages=record["trained_with"],
        epochs=len(record["history"]),
        architecture=_architecture(record.get("architecture")),
        image_digest=image if isinstance(image, str) else None,
        base_hash=base if isinstance(base, str) else None,
        conditions=_conditions(path, record.get("conditions", [])),
        record=record,
    )


def _conditions(path: Path, value: Any) -> list[Conditions]:
    try:
        return conditions_of(value)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            "the model file says improperly what it was trained with", where=str(path)
        ) from error


def _architecture(value: Any) -> ArchitectureRecord | None:
    name, version = (value.get("name"), value.get("version")) if isinstance(value, dict) else (0, 0)
    if isinstance(name, str) and isinstance(version, int):
        return ArchitectureRecord(name, version)
    return None


def _of_checkpoint(path: Path) -> Recorded:
    import numpy as np

    from mtt.checkpoint.formats import header_of
    from mtt.checkpoint.safetensors_file import open_file

    file = open_file(path)
    header = header_of(file)
    return Recorded(
        path,
        "checkpoint",
        options=upgrade_options(dict(header.options)),
        stored_options=header.options,
        options_hash=header.options_hash,
        data_hash=header.data_hash,
        data_size=header.data_size,
        packages=header.packages,
        epochs=len(header.history),
        architecture=header.architecture,
        image_digest=header.image_digest,
        base_hash=None if header.origin is None else header.origin.content_hash,
        conditions=header.conditions,
        fingerprints={
            name.removeprefix("data/"): np.frombuffer(file.tensor(name), "<i8").reshape(entry.shape)
            for name, entry in file.table.items()
            if name.startswith("data/") and entry.dtype == "I64"
        },
    )


# ---- files that the options name ----


def with_files(
    recorded: Recorded,
    files: Sequence[Path],
    overrides: Sequence[str] = (),
    base: Path | None = None,
) -> Options:
    """The recorded options, with the names of the files as they are here.

    A given file stands for the one of the same name, or for the only one that there is. Others are
    looked for where they were.

    :param base: where the checkpoint is that a fine-tuning began with
    :raises UserError: a file is not here, or a given one is not of the run
    """
    options = copy.deepcopy(recorded.options)
    named = sorted({part["read_from"] for part in _naming(options)})
    paths = _matched(recorded.path, named, files)
    for part in _naming(options):
        part["read_from"] = paths[part["read_from"]]
    if base is not None:
        chosen = options["architecture"]["training"]["fine_tune"]
        if chosen.get("read_from") is not None:
            chosen["read_from"] = str(base)
    return load_recorded(options, overrides)


def _naming(options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All parts of options that name a file of data."""
    left: list[Any] = [options.get(name) for name in _SETS]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            if isinstance(part.get("read_from"), str):
                yield part
            left += part.values()
        elif isinstance(part, list):
            left += part


def _matched(path: Path, named: Sequence[str], files: Sequence[Path]) -> dict[str, str]:
    paths: dict[str, str] = {}
    for file in files:
        fitting = [name for name in named if Path(name).name == file.name]
        fitting = fitting or (list(named) if len(named) == 1 else [])
        if len(fitting) != 1 or fitting[0] in paths:
            raise UserError(
                f"it is not clear which file of the run this is: {file}",
                where=str(path),
                hint=f"the run read {', '.join(named)}: give each file, once, by the name it had",
            )
        paths[fitting[0]] = str(file.absolute())
    for name in named:
        if name not in paths:
            if not any(file.exists() for file in data_files(Path(name))):
                raise UserError(
                    f"the data of the run are not here: {name}",
                    where=str(path),
                    hint="give them with --data FILE, where they are now",
                )
            paths[name] = str(Path(name).absolute())
    return paths
