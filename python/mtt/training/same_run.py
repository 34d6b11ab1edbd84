"""Whether options still describe the run that a checkpoint is of, and what differs if not."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..options import Options

Header = dict[str, Any]

# May change between two parts of a run: they decide where and how fast it runs, and what is told.
_FREE = {
    "device",
    "architecture.training.num_workers",
    "architecture.training.log_interval",
    "architecture.training.checkpoint_interval",
    "architecture.training.checkpoint_every",
    "architecture.training.max_time",
    "architecture.training.keep_last",
    "architecture.training.keep_best",
    "architecture.training.keep_every",
}
_NUM_EPOCHS = "architecture.training.num_epochs"
_ABSENT = "nothing"


def check_options(header: Header, options: Options, path: Path) -> str | None:
    """Refuse options under which the run would not be the one of the checkpoint.

    :return: what a larger number of epochs means for the schedule, or None if it is the same
    :raises UserError: naming all options that differ
    """
    found = refused(header, options)
    if found:
        lines = "".join(
            f"\n    {key}: {old} in the checkpoint, now {new}" for key, old, new in found
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


def refused(header: Header, options: Options) -> list[tuple[str, str, str]]:
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
