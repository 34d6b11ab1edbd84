"""Model file and what it was made from in, verdict on every link between them out.

Data and options -> checkpoint -> image -> export -> report: each names the one before it by a hash. What
the model is made of besides weights, its code above all, is compared with a new export of the checkpoint.
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from mtt.checkpoint import Header, formats
from mtt.checkpoint.safetensors_file import CheckpointFile, open_file
from mtt.checkpoint.upgrade_steps import header_for_today
from mtt.errors import UserError
from mtt.export import provenance
from mtt.files import open_regular, reading, sha256_of
from mtt.filetypes import recognize
from mtt.inspect.describe_model import record_digests
from mtt.lineage import export_again, recorded, signature
from mtt.lineage.statement import NoStatement, disagreements, parse
from mtt.options.reading.problems import OptionsError
from mtt.options.schema.options import hash_of_options

State = Literal["verified", "broken", "not checked"]
DATA: Final = "data -> checkpoint"
OPTIONS: Final = "options -> checkpoint"
CHECKPOINT: Final = "checkpoint -> model"
WEIGHTS: Final = "weights -> model"
EXPORT: Final = "export -> model"
_OF_CHECKPOINT: Final = (DATA, OPTIONS, CHECKPOINT, WEIGHTS, EXPORT)
_SHOWN: Final = 12
_LARGEST: Final = 64 * 2**20


@dataclass(frozen=True)
class Link:
    """One link of the chain: what it ties together, whether it is so, and what that rests on."""

    name: str
    state: State
    why: str


@dataclass(frozen=True)
class Given:
    """The files between which links are checked; all but the model may be missing."""

    model: Path
    checkpoint: Path | None = None
    report: Path | None = None
    data: Sequence[Path] = ()
    key: Path | None = None


def check(files: Given) -> list[Link]:
    """Every link, in the order in which the files were made.

    :raises UserError: a file cannot be read, or is not of the kind that it should be
    """
    kind = recognize.describe(files.model)
    if kind.kind == "checkpoint":
        raise UserError(
            "the chain is followed from a model file, and this is a checkpoint",
            where=str(files.model),
            hint=f"mtt show --chain model.pt --ckpt {files.model}",
        )
    record = provenance.read_record(files.model)
    if record is None:
        raise UserError(
            "the model file does not say where it comes from: mtt did not export it",
            where=str(files.model),
        )
    digest = sha256_of(files.model)
    return [
        *_of_checkpoint(files, record),
        _image(files, record),
        _statement(files.model, digest, record),
        _report(files.report, digest),
        _signature(files),
    ]


# ---- data, options -> checkpoint -> model ----


def _of_checkpoint(files: Given, record: Mapping[str, Any]) -> Iterator[Link]:
    if files.checkpoint is None:
        for name in _OF_CHECKPOINT:
            yield Link(name, "not checked", "give the checkpoint with --ckpt")
        return
    file = open_file(files.checkpoint)
    header = formats.header_of(file)
    fits = formats.content_fits(file, header, file.content())
    yield _data(files, header)
    yield _options(header, record)
    if not fits:
        for name in _OF_CHECKPOINT[2:]:
            yield Link(name, "broken", "the checkpoint does not fit its own hash")
        return
    named = record.get("checkpoint")
    content = named.get("content_hash") if isinstance(named, dict) else None
    # What was upgraded since is the same checkpoint, and says so.
    before = None if header.upgraded_from is None else header.upgraded_from.content_hash
    yield _compared(
        CHECKPOINT,
        content,
        before if before is not None and content == before else header.content_hash,
        "content hash of the checkpoint",
    )
    yield _weights(files.model, file, header, record)
    yield _export(files.model, files.checkpoint, header, record)


def _weights(model: Path, file: CheckpointFile, header: Header, record: Mapping[str, Any]) -> Link:
    """What the model claims is one thing: here its tensors are those of the checkpoint, bit by bit."""
    name = WEIGHTS
    if record.get("architecture") != dataclasses.asdict(header.architecture):
        return Link(name, "not checked", "the checkpoint was upgraded when it was exported")
    prefix = "model/" if record.get("weights") == "last" else "best/"
    wanted = [name for name in file.table if name.startswith(prefix)]
    there = set(record_digests(model).values())
    missing = [
        name for name in wanted if hashlib.sha256(file.tensor(name)).hexdigest() not in there
    ]
    if missing or not wanted:
        what = f"{len(missing)} of {len(wanted)} tensors are not in the model: {missing[:1]}"
        return Link(name, "broken", what if wanted else f"the checkpoint has no tensors {prefix}")
    return Link(name, "verified", f"all {len(wanted)} tensors of the checkpoint are in the model")


def _export(model: Path, checkpoint: Path, header: Header, record: Mapping[str, Any]) -> Link:
    """The code and all else: a model that is the export of the checkpoint is that byte by byte."""
    compared = export_again.compare(model, checkpoint, header, record)
    states: dict[bool | None, State] = {True: "verified", False: "broken", None: "not checked"}
    return Link(EXPORT, states[compared.same], compared.why)


def _data(files: Given, header: Header) -> Link:
    """The data are hashed again only if they are given: that takes as long as reading them."""
    name = DATA
    if not files.data:
        return Link(name, "not checked", "give the data with --data")
    assert files.checkpoint is not None
    record = dataclasses.replace(
        recorded.read(files.checkpoint), options=header_for_today(header).options
    )
    try:
        options = recorded.with_files(record, files.data)
    except OptionsError:
        return Link(
            name, "not checked", f"the options are of {header.architecture}: check it in its image"
        )
    from mtt.training.run_data import check_same

    try:
        check_same(options, record.data())
    except UserError as error:
        return Link(name, "broken", f"{error.what} ({error.where})")
    hashes = ", ".join(f"{key} {_short(value)}" for key, value in header.data_hash.items())
    return Link(name, "verified", f"hash of the structures: {hashes}")


def _options(header: Header, record: Mapping[str, Any]) -> Link:
    """The checkpoint's options have the hash that it says, and the model says the same."""
    name = OPTIONS
    computed = hash_of_options(header.options)
    if computed != header.options_hash:
        why = f"they have the hash {_short(computed)}, the checkpoint says "
        return Link(name, "broken", why + _short(header.options_hash))
    # An export holds them in the version of the mtt that made it.
    today = header_for_today(header).options_hash
    if record.get("options_hash") not in (computed, today):
        why = f"the model says that their hash is {_short(record.get('options_hash'))}, "
        return Link(name, "broken", f"{why}the checkpoint has {_short(computed)}")
    return Link(name, "verified", f"hash of the options {_short(computed)}")


def _image(files: Given, record: Mapping[str, Any]) -> Link:
    name, claimed = "image -> checkpoint", record.get("image_digest")
    if files.checkpoint is None:
        return Link(name, "not checked", "give the checkpoint with --ckpt")
    own = formats.header_of(open_file(files.checkpoint)).image_digest
    if own is None and claimed is None:
        return Link(name, "verified", "both say that it was trained in no image")
    return _compared(name, claimed, own, "digest of the image")


# ---- model -> statement, report, signature ----


def _statement(model: Path, digest: str, record: Mapping[str, Any]) -> Link:
    """The statement is about this file alone, and says what the file says of itself."""
    name, path = "model -> statement", provenance.statement_path(model)
    if not path.exists():
        return Link(name, "not checked", f"there is no {path}")
    try:
        statement = parse(_text(path))
    except NoStatement as error:
        return Link(name, "broken", f"{path} is no statement about this file alone: {error}")
    differences = disagreements(statement, record) if statement.sha256 == digest else []
    if differences:
        return Link(name, "broken", f"{path}: {differences[0]}")
    return _compared(name, statement.sha256, digest, f"SHA-256 of the model in {path}")


def _report(path: Path | None, digest: str) -> Link:
    name = "model -> report"
    if path is None:
        return Link(name, "not checked", "give one with --report (mtt verify --json FILE)")
    from mtt.verify.report import Report
    from mtt.verify.report.report import NoReport

    try:
        report = Report.from_json(_text(path))
    except NoReport as error:
        raise UserError(f"this is no report of a verification: {error}", where=str(path)) from error
    if not report.passed:
        return Link(name, "broken", f"{path} says that the model failed")
    return _compared(name, report.sha256, digest, f"SHA-256 of the model in {path}")


def _signature(files: Given) -> Link:
    name = "model -> signature"
    if files.key is None:
        return Link(name, "not checked", "give a public key with --require-signature")
    try:
        signature.require(files.model, files.key)
    except UserError as error:
        return Link(name, "broken", error.what)
    return Link(name, "verified", f"{signature.signature_path(files.model)}, of {files.key}")


# ---- pieces ----


def _compared(name: str, claimed: Any, actual: Any, what: str) -> Link:
    if claimed == actual:
        return Link(name, "verified", f"{what} {_short(actual)}")
    return Link(name, "broken", f"{what}: {_short(claimed)} is named, {_short(actual)} found")


def _short(value: Any) -> str:
    if not isinstance(value, str):
        return "nothing"
    kind, colon, number = value.rpartition(":")
    return f"{kind}{colon}{number[:_SHOWN]}"


def _text(path: Path) -> str:
    with reading(path), open_regular(path) as file:
        return file.read(_LARGEST).decode("utf-8", "replace")
