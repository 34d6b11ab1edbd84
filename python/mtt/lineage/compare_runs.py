"""A run and its repetition in; whether they gave the same bits, and where they first differ, out."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mtt.checkpoint import Conditions, Header
from mtt.checkpoint.formats import HASH, header_of
from mtt.checkpoint.safetensors_file import CheckpointFile, open_file
from mtt.export import provenance
from mtt.files import sha256_of
from mtt.inspect.describe_model import record_digests
from mtt.lineage.recorded import Recorded
from mtt.options.schema.options import hash_of_options
from mtt.training.runs.conditions import differences

Row = Mapping[str, Any]
# Set from the data before the first step.
_BASELINE: Final = "model/baselines."
# What a header says of a run besides what it gave.
_CIRCUMSTANCES: Final = (
    "packages",
    "conditions",
    "image_digest",
    "options",
    "architecture",
    "origin",
    "test_errors",
)
# Entries of a model's provenance that follow from them.
_CLAIMS: Final = {
    "checkpoint",
    "conditions",
    "trained_with",
    "packages",
    "image_digest",
    "test_errors",
}
_NO_REASON: Final = "threads, a processor or a device, which older files do not record"
_NO_REASON_KNOWN: Final = "none that the files record"
_MOST: Final = 3


@dataclass(frozen=True)
class Result:
    """Whether the new file is the old one, and lines that say so, or where they first differ."""

    identical: bool
    lines: list[str]


# ---- checkpoints ----


def checkpoints(old: Recorded, made: Path, changed: Sequence[str]) -> Result:
    """Compare a checkpoint with ``MADE.ckpt``: every byte, or else split, history and tensors."""
    path = made.with_name(f"{made.name}.ckpt")
    if sha256_of(old.path) == sha256_of(path):
        return _same_bytes(old.path, path)
    first, second = open_file(old.path), open_file(path)
    before, after = header_of(first), header_of(second)
    tensors = _different_tensors(first, second)
    places = [*_before_step_1(before, after, tensors), *_epochs(before, after)]
    if not tensors and not places:
        told = [key for key in _CIRCUMSTANCES if getattr(before, key) != getattr(after, key)]
        lines = [f"bit-identical: all tensors of {old.path} and {path}"]
        return Result(True, lines + [f"  what they record differs: {', '.join(told)}"] * bool(told))
    places = places or ["after the last epoch"]
    lines = [f"  first difference: {places[0]}", *(f"  then: {place}" for place in places[1:])]
    if tensors:
        lines.append(f"  {len(tensors)} of {len(first.table)} tensors differ: {_some(tensors)}")
    reasons = _reasons((before.packages, before.conditions), (after.packages, after.conditions))
    return _different(old.path, path, lines + _listed(reasons, changed, before.conditions))


def _different_tensors(first: CheckpointFile, second: CheckpointFile) -> list[str]:
    """Names of tensors that are not the same bits, or only in one of the files."""
    return [
        name
        for name in sorted(first.table.keys() | second.table.keys())
        if name != HASH
        and (
            name not in first.table
            or name not in second.table
            or first.table[name][:2] != second.table[name][:2]
            or first.tensor(name) != second.tensor(name)
        )
    ]


def _before_step_1(before: Header, after: Header, tensors: Sequence[str]) -> list[str]:
    places = []
    if before.split != after.split:
        places.append("before step 1, in which structures are trained on")
    if any(name.startswith(_BASELINE) for name in tensors):
        places.append("before step 1, in the energies of single atoms and the scale")
    return places


def _epochs(before: Header, after: Header) -> list[str]:
    """The first epoch whose errors differ, and between which steps that was."""
    rows, others = before.history, after.history
    for epoch, (row, other) in enumerate(zip(rows, others, strict=False)):
        names = [key for key in {**row, **other} if row.get(key) != other.get(key)]
        if names:
            names.sort(key=lambda name: not name.startswith("train_"))
            values = ", ".join(
                f"{name} {row.get(name)!r} and now {other.get(name)!r}" for name in names[:_MOST]
            )
            return [f"epoch {epoch + 1}, {_steps(rows, epoch)}: {values}"]
    if len(rows) != len(others):
        return [f"after epoch {min(len(rows), len(others))}, where one of the runs ends"]
    return []


def _steps(rows: Sequence[Row], epoch: int) -> str:
    first = int(rows[epoch - 1]["step"]) + 1 if epoch else 1
    last = int(rows[epoch]["step"])
    return f"step {first}" if first == last else f"steps {first} to {last}"


# ---- model files ----


def models(old: Recorded, made: Path, changed: Sequence[str]) -> Result:
    """Compare a model file with ``MADE.pt``: every byte, or else record by record."""
    path = made.with_name(f"{made.name}.pt")
    if sha256_of(old.path) == sha256_of(path):
        return _same_bytes(old.path, path)
    after = provenance.read_record(path) or {}
    told = sorted(key for key in {**old.record, **after} if old.record.get(key) != after.get(key))
    first, second = record_digests(old.path), record_digests(path)
    records = [
        name
        for name in sorted(first.keys() | second.keys())
        # A number that torch makes of all others.
        if first.get(name) != second.get(name) and name != ".data/serialization_id"
    ]
    if records == [provenance.RECORD] and _only_folders(old, told):
        return Result(
            True,
            [
                f"bit-identical: all of the models in {old.path} and {path}",
                "  only hashes of options with absolute paths differ, which model files do not hold",
            ],
        )
    if records == [provenance.RECORD] and set(told) <= _CLAIMS:
        return Result(
            True,
            [
                f"bit-identical: all of the models in {old.path} and {path}",
                f"  what they record differs: {', '.join(told)}",
            ],
        )
    lines = [f"  first difference: {_place(old, after, path)}"]
    lines.append(f"  {len(records)} records differ: {_some(records)}")
    if told:
        lines.append(f"  in the provenance: {', '.join(told)}")
    now = header_of(open_file(path.with_suffix(".ckpt")))
    reasons = _reasons((old.packages, old.conditions), (now.packages, now.conditions))
    return _different(old.path, path, lines + _listed(reasons, changed, old.conditions))


def _only_folders(old: Recorded, told: Sequence[str]) -> bool:
    """Whether nothing is another but what follows from paths that were left out of the file."""
    left_out = hash_of_options(old.stored_options) != old.options_hash
    return left_out and set(told) <= {"checkpoint", "options_hash"}


def _place(old: Recorded, after: Row, path: Path) -> str:
    rows = header_of(open_file(path.with_suffix(".ckpt"))).history
    digests = zip(old.record["history"], after["history"], strict=False)
    for epoch, (digest, other) in enumerate(digests):
        if digest != other:
            more = "its checkpoint has the numbers, and more about the time before"
            return f"epoch {epoch + 1}, {_steps(rows, epoch)}; {more}"
    return "after training, which went the same way in all epochs"


# ---- both ----


def _same_bytes(old: Path, new: Path) -> Result:
    return Result(True, [f"bit-identical: {old} and {new} are the same bytes"])


def _different(old: Path, new: Path, lines: list[str]) -> Result:
    return Result(False, [f"different: {new} is not {old}", *lines])


_Made = tuple[Mapping[str, str], Sequence[Conditions]]


def _reasons(before: _Made, now: _Made) -> list[str]:
    """What may have made the difference: versions, threads, processor, or a change on the way."""
    (packages, parts), (packages_now, parts_now) = before, now
    reasons = [
        f"{name} was {packages.get(name)}, and is {packages_now.get(name)} now"
        for name in sorted({**packages, **packages_now})
        if packages.get(name) != packages_now.get(name)
    ]
    if parts and parts_now:
        first, today = parts[0].values, parts_now[0].values
        changes = differences({**today, **first}, {**first, **today})
        reasons += [change for change in changes if change not in reasons]
    return reasons + changed_on_the_way(parts)


def changed_on_the_way(parts: Sequence[Conditions]) -> list[str]:
    """What was another in a later part of a run; a run that is made again has one part."""
    return [
        f"from step {later.step} on: {change}"
        for earlier, later in itertools.pairwise(parts)
        for change in differences(earlier.values, later.values)
    ]


def _listed(
    reasons: Sequence[str], changed: Sequence[str], recorded: Sequence[Conditions]
) -> list[str]:
    """Lines of the reasons, with what was changed on purpose first."""
    nothing = _NO_REASON_KNOWN if recorded else _NO_REASON
    return [f"  possible reason: {reason}" for reason in [*changed, *reasons] or [nothing]]


def _some(names: Sequence[str]) -> str:
    more = f", and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more
