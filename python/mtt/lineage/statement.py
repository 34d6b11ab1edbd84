"""In-toto statements read strictly: one file, one digest, one way to understand each.

A statement that is signed, or that a signature is over, speaks for whoever signs. So it has to be about
exactly one file, and has no part that nobody has looked at.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mtt.canonical import strict_json
from mtt.export import provenance

# What mtt sign writes: its predicate holds what was checked, and nothing else.
SIGNATURE: Final = "urn:mtt:signature:1"
_PREDICATES: Final = (SIGNATURE, provenance.PREDICATE)
_KEYS: Final = {"_type", "subject", "predicateType", "predicate"}
_HEX: Final = set("0123456789abcdef")


class NoStatement(ValueError):
    """The text is no statement about one file; the message says why, in the middle of a sentence."""


@dataclass(frozen=True)
class Statement:
    """A statement about one file: its name and SHA-256, and what is said of it."""

    name: str
    sha256: str
    predicate_type: str
    predicate: Mapping[str, Any]


def parse(content: bytes | str) -> Statement:
    """Return the statement that a text holds.

    :raises NoStatement: it could be understood in another way too, or is about anything but one file
    """
    try:
        plain = strict_json(content)
    except ValueError as error:
        raise NoStatement(f"it is not JSON that can be read in one way only: {error}") from error
    if not isinstance(plain, dict) or plain.keys() != _KEYS:
        raise NoStatement(f"it is no object with {', '.join(sorted(_KEYS))} and nothing else")
    if plain["_type"] != provenance.STATEMENT:
        raise NoStatement("it is of another type or version")
    kind, predicate = plain["predicateType"], plain["predicate"]
    if kind not in _PREDICATES or not isinstance(predicate, dict):
        raise NoStatement("its predicate is of a type that mtt does not know")
    name, digest = _subject(plain["subject"])
    return Statement(name, digest, kind, predicate)


def _subject(subjects: Any) -> tuple[str, str]:
    if not isinstance(subjects, list) or len(subjects) != 1:
        count = len(subjects) if isinstance(subjects, list) else 0
        raise NoStatement(f"it is about {count} files, not about one")
    (subject,) = subjects
    if not isinstance(subject, dict) or subject.keys() != {"name", "digest"}:
        raise NoStatement("its subject is not a name with a digest and nothing else")
    name, digests = subject["name"], subject["digest"]
    if not isinstance(digests, dict) or digests.keys() != {"sha256"}:
        raise NoStatement("its subject has other digests than one SHA-256")
    digest = digests["sha256"]
    if not (isinstance(digest, str) and len(digest) == 64 and set(digest) <= _HEX):
        raise NoStatement("its subject's SHA-256 is not 64 hexadecimal digits in small letters")
    if not isinstance(name, str):
        raise NoStatement("its subject has no name")
    return name, digest


# ---- what a statement says against what the file says of itself ----


def disagreements(statement: Statement, record: Mapping[str, Any] | None) -> list[str]:
    """Return where a statement about an export says other things than the record inside the file."""
    definition = statement.predicate.get("buildDefinition")
    if statement.predicate_type != provenance.PREDICATE or record is None:
        return []
    if not isinstance(definition, dict):
        return ["it does not say how the file was made"]
    if definition.get("buildType") != provenance.EXPORT:
        return []  # of a file with other metadata: the record is that of the export before it
    try:
        return list(_differences(definition, record))
    except (KeyError, TypeError, AttributeError):
        return ["it names what the file was made from in a form that mtt does not write"]


def _differences(definition: Mapping[str, Any], record: Mapping[str, Any]) -> Iterator[str]:
    for key, value in definition.get("externalParameters", {}).items():
        if key not in ("weights", "metadata") or value != record.get(key):
            yield f"its parameter {key!r} is another than in the file"
    inner = definition.get("internalParameters", {})
    if inner not in ({}, {"trained_under": record.get("conditions")}):
        yield "the conditions of the training are others than in the file"
    known = {(part["name"], _claim(part)) for part in provenance.materials(record, "", None)}
    for part in definition.get("resolvedDependencies", []):
        name, claim = str(part["name"]), _claim(part)
        # The checkpoint's name is that of a file, which anybody may change.
        if (name, claim) not in known and ("", claim) not in known:
            yield f"what it says of {name!r} is not what the file says"


def _claim(part: Mapping[str, Any]) -> str:
    """Return what is said of a material, without where it was fetched from, which no file holds."""
    notes = {key: note for key, note in part.get("annotations", {}).items() if key != "source"}
    other = sorted(part.keys() - {"name", "digest", "annotations"})
    return repr((sorted(part.get("digest", {}).items()), sorted(notes.items()), other))
