"""Model file and metadata in, the same file with that metadata out: ``mtt export model.pt -m ...``.

Metadata is in an export twice: as a record for whoever unzips the file, and as the text that
metatomic's object is pickled as. Both get the new text, and every other record stays what it was.
Torch is not needed, and nothing is unpickled.
"""

import json
import pickletools
import struct
import warnings
from pathlib import Path
from typing import Any, Final

from mtt.canonical import json_or_none, strict_json
from mtt.errors import UserError
from mtt.export import provenance
from mtt.export.archive_edit import NotAnArchive, with_record
from mtt.export.run import QUICK_FAMILIES, Verify
from mtt.files import (
    LARGEST_MODEL,
    check_keeps,
    check_writable,
    read_regular,
    reading,
    replacing,
    sha256_of,
)
from mtt.filetypes import bounded_zip, inert_pickle
from mtt.options import load_metadata
from mtt.options.schema.metadata import Metadata, merged_references
from mtt.verify import operators
from mtt.verify import run as verification

_RECORD: Final = "extra/model-metadata"
_PICKLE: Final = "data.pkl"
_CLASS: Final = "ModelMetadata"
_LONGEST: Final = 2**20


def run(
    model: Path,
    metadata: Path,
    output: Path,
    verify: Verify = "quick",
    extensions: Path | None = None,
) -> Path:
    """Write ``output``: ``model`` with this metadata over what it had; all else stays as it was.

    What is not given stays; references and extra keys are added to those that are there.

    :param model: exported model, of any program that writes metatomic files
    :param output: may not be ``model`` itself
    :param extensions: folder of the compiled extensions that the model needs to be verified
    :raises UserError: a file that cannot be read, is no export, or cannot be written
    :raises VerificationFailed: a check failed; nothing was written
    """
    beside = provenance.statement_path(output)
    for path in (output, beside):
        check_keeps([model, metadata], path)
    new = load_metadata(metadata)
    check_writable(beside)
    date = provenance.date()
    changed = with_metadata(model, new)
    with replacing(output) as temporary:
        temporary.write_bytes(changed)
        report = None
        if verify == "none":
            # Without a run of the model; what is written may be handed on.
            operators.require_known(temporary, extensions, display=str(model))
            warnings.warn(f"{output} is written without verification", stacklevel=1)
        else:
            only = QUICK_FAMILIES if verify == "quick" else None
            settings = verification.Settings(only=only, extensions=extensions)
            report = verification.run(temporary, settings=settings, display=str(output))
        digest = sha256_of(temporary)
    made = provenance.Made(output.name, digest, report, date)
    old, plain = sha256_of(model), new.model_dump(mode="json")
    provenance.write_statement(beside, provenance.of_metadata(made, model.name, old, plain))
    return output


def with_metadata(model: Path, metadata: Metadata) -> bytes:
    """Return the content of ``model`` with other metadata.

    :raises UserError: it cannot be read, or is no export of metatomic
    """
    try:
        old = strict_json(text_of(model))
    except ValueError as error:
        raise UserError(f"its metadata cannot be read: {error}", where=str(model)) from error
    # As metatomic lays it out.
    text = json.dumps(merged(old, metadata), sort_keys=True, indent=4, ensure_ascii=False)
    return with_text(model, text)


def text_of(model: Path) -> str:
    """Return the JSON of a model's metadata, as metatomic's object holds it.

    :raises UserError: as :func:`with_metadata`
    """
    return _place(model, _pickle(model))[2]


def with_text(model: Path, text: str) -> bytes:
    """Return the content of ``model`` with this JSON as its metadata.

    :raises UserError: as :func:`with_metadata`
    """
    pickled = _pickle(model)
    start, end, _ = _place(model, pickled)
    raw = text.encode()
    opcode = b"X" + struct.pack("<I", len(raw)) + raw
    try:
        with reading(model, "model file"):
            whole = read_regular(model, LARGEST_MODEL)
        content = with_record(whole, _PICKLE, pickled[:start] + opcode + pickled[end:])
        return with_record(content, _RECORD, raw)
    except NotAnArchive as error:
        raise _refused(model, str(error)) from error


def _place(model: Path, pickled: bytes) -> tuple[int, int, str]:
    """Return where among the opcodes the text begins and ends, and the text."""
    texts = _texts(pickled)
    if len(texts) != 1:
        raise _refused(model, "its metadata is not where metatomic puts it")
    return texts[0]


def merged(old: dict[str, Any], metadata: Metadata) -> dict[str, Any]:
    """Return the metadata of a file with other metadata over it, or added to it."""
    new = metadata.model_dump(mode="json", exclude_unset=True)
    kept = old.get("references")
    references = kept if isinstance(kept, dict) else {}
    extra = old.get("extra")
    return {
        **old,
        **new,
        "references": {**references, **merged_references(new.get("references", {}), references)},
        "extra": {**(extra if isinstance(extra, dict) else {}), **new.get("extra", {})},
    }


def _pickle(model: Path) -> bytes:
    """Return the part of the archive that says what the model's attributes are."""
    try:
        with bounded_zip.opened(model) as archive:
            for name in archive.namelist():
                if name.partition("/")[2] == _PICKLE:
                    return bounded_zip.read(archive, name, inert_pickle.MAX_BYTES)
    except bounded_zip.ZipProblem as error:
        raise _refused(model, str(error)) from error
    raise _refused(model, "it is not written by TorchScript")


def _texts(pickled: bytes) -> list[tuple[int, int, str]]:
    """Return where the texts of metadata begin and end among the opcodes, and the texts."""
    texts: list[tuple[int, int, str]] = []
    start, text = 0, None
    try:
        for opcode, argument, place in pickletools.genops(pickled):
            assert place is not None
            if text is not None and _is_metadata(text):
                texts.append((start, place, text))
            text = argument if opcode.name == "BINUNICODE" else None
            start = place
    except (ValueError, struct.error, OverflowError):
        return []
    return texts


def _is_metadata(text: str) -> bool:
    if not text.startswith("{") or len(text) > _LONGEST:
        return False
    metadata = json_or_none(text)
    return isinstance(metadata, dict) and _CLASS in (metadata.get("class"), metadata.get("type"))


def _refused(model: Path, why: str) -> UserError:
    return UserError(
        f"the metadata of the model file cannot be changed: {why}",
        where=str(model),
        hint=f"'mtt verify {model}' says more",
    )
