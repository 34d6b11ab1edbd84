"""Which checkpoint to go on from, and whether the options still describe the same run."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..options import Options
from ..stages import checkpoint as checkpoints

_log = logging.getLogger(__name__)
Header = dict[str, Any]

# May change between two parts of a run: they decide where and how fast it runs, and what is told.
_FREE = {
    "device",
    "architecture.training.num_workers",
    "architecture.training.log_interval",
    "architecture.training.checkpoint_interval",
}
_NUM_EPOCHS = "architecture.training.num_epochs"
_ABSENT = "nothing"


def newest_checkpoint(outputs: Path, options: Options) -> Path:
    """The newest whole checkpoint under ``outputs`` that a run with these options wrote.

    Newest is the one with most steps in the latest run's folder. Damaged files are left out with a
    message.

    :raises UserError: if there is none
    """
    others = damaged = 0
    for path, header in _candidates(outputs):
        if header is None:
            damaged += 1
        elif _refused(header, options):
            others += 1
        elif _is_whole(path):
            return path
        else:
            damaged += 1
    found = [
        f"{count} {what}"
        for count, what in ((others, "of runs with other options"), (damaged, "damaged"))
        if count
    ]
    raise UserError(
        "there is no checkpoint of this run to go on from"
        + (f"; found: {', '.join(found)}" if found else ""),
        where=str(outputs),
        hint="name a checkpoint, as in --continue model.ckpt, or train anew without --continue",
    )


def check_options(header: Header, options: Options, path: Path) -> str | None:
    """Refuse options under which the run would not be the one of the checkpoint.

    :return: what a larger number of epochs means for the schedule, or None if it is the same
    :raises UserError: naming all options that differ
    """
    refused = _refused(header, options)
    if refused:
        lines = "".join(
            f"\n    {key}: {old} in the checkpoint, now {new}" for key, old, new in refused
        )
        raise UserError(
            f"the options differ from those that the checkpoint was trained with:{lines}",
            where=str(path),
            hint="undo these changes to go on (num_epochs may be made larger), or train anew "
            "without --continue",
        )
    before = header["options"]["architecture"]["training"]["num_epochs"]
    after = options.architecture.training.num_epochs
    if after == before:
        return None
    return (
        f"num_epochs is {after}, was {before}: from here on the learning rate follows the schedule "
        f"of {after} epochs"
    )


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Options that differ, as (dotted key, old, new), whatever they mean."""
    before, after = dict(_flat(old)), dict(_flat(new))
    keys = [*before, *(key for key in after if key not in before)]
    return [
        (key, repr(before[key]) if key in before else _ABSENT, _shown(after, key))
        for key in keys
        if key not in before or key not in after or before[key] != after[key]
    ]


def _shown(values: Mapping[str, Any], key: str) -> str:
    return repr(values[key]) if key in values else _ABSENT


def _refused(header: Header, options: Options) -> list[tuple[str, str, str]]:
    new = options.to_dict()
    found = differences(header["options"], new)
    before = header["options"].get("architecture", {}).get("training", {}).get("num_epochs", 0)
    extended = options.architecture.training.num_epochs > before
    return [
        one
        for one in found
        if one[0] not in _FREE
        # Where the data lie does not matter: they are compared by their content.
        and one[0].rpartition(".")[2] != "read_from"
        and not (one[0] == _NUM_EPOCHS and extended)
    ]


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, one in value.items():
            yield from _flat(one, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for index, one in enumerate(value):
            yield from _flat(one, f"{prefix}[{index}]")
    else:
        yield prefix, value


def _candidates(outputs: Path) -> Iterator[tuple[Path, Header | None]]:
    """Checkpoints in the folders of all runs, newest first; None for the header of damaged ones."""
    for folder in sorted(outputs.glob("*/*/"), reverse=True):
        readable: list[tuple[int, Path, Header]] = []
        # A name with a dot in front is that of a file whose writing was cut off.
        for path in sorted(folder.glob("[!.]*.ckpt")):
            try:
                header = checkpoints.read_header(path)
            except UserError as error:
                _log.warning("left out %s: %s", path, error.what)
                yield path, None
            else:
                readable.append((header["position"]["step"], path, header))
        for _, path, header in sorted(readable, key=lambda one: one[:2], reverse=True):
            yield path, header


def _is_whole(path: Path) -> bool:
    try:
        checkpoints.read(path)
    except UserError as error:
        _log.warning("left out %s: %s", path, error.what)
        return False
    return True
