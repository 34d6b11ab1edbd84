"""Where a model file comes from: the record inside it, and the statement beside it.

Everything is plain JSON, and torch is not needed. The record has no date and no path of this machine,
so that the same checkpoint gives the same file. The statement is an in-toto Statement with a
predicate in the form of SLSA Provenance, and has a date.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import Any, Final

from mtt import checkpoint as checkpoints
from mtt.canonical import json_or_none
from mtt.checkpoint import Header
from mtt.errors import UserError
from mtt.files import LARGEST_TEXT, read_regular, reading, write_atomic
from mtt.filetypes import bounded_zip
from mtt.filetypes.model_file import damaged
from mtt.tokens import redacted_json
from mtt.verify.report import Report
from mtt.version import __version__

FORMAT: Final = 2
RECORD: Final = "extra/mtt/provenance.json"
STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://slsa.dev/provenance/v1"
EXPORT: Final = "urn:mtt:export:1"
_EPOCH: Final = "SOURCE_DATE_EPOCH"
# The options of ten thousand data sets are far smaller.
_LARGEST: Final = 64 * 2**20
_DIGITS: Final = 8


# ---- inside ----


def record(
    header: Header,
    digest: str,
    weights: str,
    metadata: dict[str, Any] | None,
    verified: bool,
) -> dict[str, Any]:
    """What a model file says of its origin.

    :param header: of the checkpoint
    :param digest: SHA-256 of the checkpoint's file
    :param metadata: what the user wrote at export
    """
    position = header.best if weights == "best" else header.position
    stored = {
        "format": FORMAT,
        "mtt": __version__,
        "architecture": asdict(header.architecture),
        "checkpoint": {"content_hash": header.content_hash, "sha256": digest},
        "weights": weights,
        "epoch": position.epoch,
        "data_hash": header.data_hash,
        "data_size": header.data_size,
        "options": without_folders(header.options),
        "options_hash": header.options_hash,
        "history": [row_digest(row) for row in header.history],
        "origin": None if header.origin is None else header.origin.to_dict(),
        "image_digest": header.image_digest,
        "trained_with": header.packages,
        "conditions": [conditions.to_dict() for conditions in header.conditions],
        "exported_in": os.environ.get("MTT_IMAGE_DIGEST"),
        "packages": checkpoints.package_versions(header.architecture.name),
        "metadata": metadata,
        "verification": "passed" if verified else "skipped by --no-verify",
    }
    # They were measured with the best weights; older checkpoints have none.
    if weights == "best" and header.test_errors:
        stored["test_errors"] = [asdict(error) for error in header.test_errors]
    return dict(redacted_json(stored))


def row_digest(row: Mapping[str, Any]) -> str:
    """What tells a row of the history from any other, in eight characters."""
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()[:_DIGITS]


def without_folders(options: Any) -> Any:
    """Options in which absolute paths are file names: the rest is nobody's business."""
    if isinstance(options, list):
        return [without_folders(option) for option in options]
    if not isinstance(options, dict):
        return options
    return {
        key: _name(option)
        if key == "read_from" and isinstance(option, str)
        else without_folders(option)
        for key, option in options.items()
    }


def _name(path: str) -> str:
    return PurePath(path).name if PurePath(path).is_absolute() else path


def read_record(model: Path) -> dict[str, Any] | None:
    """The record in a model file; None if there is none, as in the files of other programs.

    :raises UserError: the file is damaged, or cannot be read
    """
    try:
        with reading(model), bounded_zip.opened(model) as archive:
            names = [name for name in archive.namelist() if name.partition("/")[2] == RECORD]
            if not names:
                return None
            stored = json_or_none(bounded_zip.read(archive, names[0], _LARGEST))
    except bounded_zip.ZipProblem as error:
        raise damaged(model, str(error)) from error
    if not isinstance(stored, dict):
        raise damaged(model, "its provenance is not a JSON object")
    return stored


# ---- beside ----


@dataclass(frozen=True)
class Made:
    """A file that has been made: its name, SHA-256, the report on it, and when that was."""

    name: str
    sha256: str
    report: Report | None
    date: str


def statement_path(model: Path) -> Path:
    """Where the statement about a file is: ``model.pt.intoto.json``."""
    return model.with_name(f"{model.name}.intoto.json")


def date() -> str:
    """Now, in UTC, or the moment that SOURCE_DATE_EPOCH names.

    :raises UserError: that variable is no whole number of seconds
    """
    text = os.environ.get(_EPOCH)
    if text is not None and not (text.isascii() and text.isdigit() and len(text) <= 11):
        raise UserError(
            f"{_EPOCH} is not a number of seconds: '{text}'",
            where="the environment",
            hint=f"unset it, or set it to what 'date +%s' prints, for instance {_EPOCH}=0",
        )
    seconds = time.time() if text is None else int(text)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def of_export(
    made: Made, model: Path, checkpoint: str, source: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The statement about an export: its materials are what the record in the file names.

    :param checkpoint: name of the checkpoint's file
    :param source: where it was fetched from
    """
    stored = read_record(model) or {}
    parameters = {"weights": stored["weights"], "metadata": stored["metadata"]}
    inner = {"trained_under": stored["conditions"]}
    return _statement("export", parameters, materials(stored, checkpoint, source), made, inner)


def materials(
    stored: Mapping[str, Any], checkpoint: str, source: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """Return what an export was made from, by the record in it."""
    return [
        {
            "name": checkpoint,
            "digest": {"sha256": stored["checkpoint"]["sha256"]},
            "annotations": {
                "content_hash": stored["checkpoint"]["content_hash"],
                **({"source": dict(source)} if source else {}),
            },
        },
        {"name": "options", "digest": {"sha256": stored["options_hash"]}},
        # Hashes of the structures read, which no change of the file's layout changes.
        *(
            {"name": name, "digest": {"mtt-structures": digest}}
            for name, digest in sorted(stored["data_hash"].items())
        ),
        *_images(stored),
        *(
            {"name": name, "annotations": {"version": version}}
            for name, version in sorted(stored["packages"].items())
        ),
    ]


def of_metadata(made: Made, model: str, digest: str, metadata: dict[str, Any]) -> dict[str, Any]:
    """The statement about a model file that got other metadata; its material is the old file."""
    materials = [{"name": model, "digest": {"sha256": digest}}]
    return _statement("metadata", {"metadata": metadata}, materials, made)


def _images(stored: Mapping[str, Any]) -> list[dict[str, Any]]:
    images = []
    for name, key in (("training image", "image_digest"), ("export image", "exported_in")):
        kind, colon, digest = str(stored.get(key) or "").partition(":")
        if digest:
            images.append({"name": name, "digest": {kind: digest}})
        elif kind:
            images.append({"name": name, "annotations": {"digest": kind}})
    return images


def _statement(
    kind: str,
    parameters: dict[str, Any],
    materials: Sequence[dict[str, Any]],
    made: Made,
    inner: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    builder = {"id": f"urn:mtt:{__version__}", "version": checkpoints.package_versions()}
    return {
        "_type": STATEMENT,
        "subject": [{"name": made.name, "digest": {"sha256": made.sha256}}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": f"urn:mtt:{kind}:1",
                "externalParameters": parameters,
                **({"internalParameters": dict(inner)} if inner else {}),
                "resolvedDependencies": list(materials),
            },
            "runDetails": {
                "builder": builder,
                "metadata": {"finishedOn": made.date},
                "byproducts": [] if made.report is None else [_summary(made.report)],
            },
        },
    }


def _summary(report: Report) -> dict[str, Any]:
    """What was checked, and how it went."""
    counts = {
        family: {status: n for status in ("pass", "fail", "skip") if (n := _count(checks, status))}
        for family, checks in report.families().items()
    }
    return {
        "name": "verification report",
        "digest": {"sha256": hashlib.sha256(report.text.encode()).hexdigest()},
        "annotations": {"verdict": report.verdict, "level": report.level, "checks": counts},
    }


def _count(checks: Sequence[Any], status: str) -> int:
    return sum(check.status == status for check in checks)


def restate(model: Path, before: str, after: str) -> None:
    """Let the statement about a file, if there is one, name its new SHA-256 in the place of the old."""
    path = statement_path(model)
    if path.is_file():
        with reading(path, "statement"):
            text = read_regular(path, LARGEST_TEXT).decode(errors="surrogateescape")
        write_atomic(path, text.replace(before, after).encode(errors="surrogateescape"))


def write_statement(path: Path, statement: dict[str, Any]) -> None:
    """Write a statement, without secrets, so that a crash leaves the old file or the new one, whole.

    :raises UserError: it cannot be written
    """
    harmless = redacted_json(statement)
    write_atomic(path, (json.dumps(harmless, indent=2, sort_keys=True) + "\n").encode())
