"""File and key in, detached signature out: ``model.pt`` -> ``model.pt.sig``.

Who signs vouches for what is signed. So mtt signs the name and the SHA-256 of the file, and of its origin
only what it has checked itself a moment ago. The statement beside the file is compared with the file,
and refused if it says something else; it is not signed, as nobody can check all that it says.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mtt.checkpoint import formats
from mtt.checkpoint.safetensors_file import open_file
from mtt.errors import UserError
from mtt.export import provenance
from mtt.files import check_writable, write_atomic
from mtt.filetypes import recognize
from mtt.lineage import chain, keys, signature, statement
from mtt.lineage.private_copy import Copy, private_copy
from mtt.printable import printable

# Links of the chain that a checkpoint, or data too, can prove; and what then is said of the model.
_CHECKED: Final = (
    chain.DATA,
    chain.OPTIONS,
    chain.CHECKPOINT,
    chain.WEIGHTS,
    chain.EXPORT,
)


@dataclass(frozen=True)
class Signed:
    """The signature that was written, and what it vouches for and what not, a line each."""

    path: Path
    lines: list[str]


def run(path: Path, key: Path, checkpoint: Path | None = None, data: Sequence[Path] = ()) -> Signed:
    """Write the signature of a file beside it.

    :param checkpoint: what the model file was exported from, to be checked and then vouched for
    :param data: what that was trained with, to be checked as well
    :raises UserError: a file that cannot be read or written, or a key that is none; a statement
        beside the file that is not about this file alone; a link of the chain that is broken
    """
    keys.needs_cryptography()
    private = keys.private_key(key)
    output = signature.signature_path(path)
    check_writable(output)
    with ExitStack() as copies:
        copied = copies.enter_context(private_copy(path))
        beside = _check_statement(path, copied)
        predicate: dict[str, Any] = {}
        links: list[chain.Link] = []
        if checkpoint is not None:
            source = copies.enter_context(private_copy(checkpoint))
            links = _checked_links(path, copied, source, data)
            predicate = {"checked": _checked(links, source)}
    payload = _payload(path.name, copied.sha256, predicate)
    write_atomic(output, _envelope(private, payload))
    return Signed(output, _lines(path, beside, links))


def _envelope(private: Any, payload: bytes) -> bytes:
    sig = private.sign(signature.signed(payload))
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": signature.PAYLOAD_TYPE,
        "signatures": [
            {"keyid": keys.key_id(private.public_key()), "sig": base64.b64encode(sig).decode()}
        ],
    }
    return (json.dumps(envelope, indent=2) + "\n").encode()


def _payload(name: str, digest: str, predicate: Mapping[str, Any]) -> bytes:
    content = {
        "_type": provenance.STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": digest}}],
        "predicateType": statement.SIGNATURE,
        "predicate": predicate,
    }
    return json.dumps(content, sort_keys=True).encode()


# ---- what is checked before ----


def _check_statement(path: Path, copied: Copy) -> Path | None:
    """Return the statement beside the file, if there is one; it must be about this file alone."""
    beside = provenance.statement_path(path)
    if not beside.exists() and not beside.is_symlink():
        return None
    try:
        found = statement.parse(keys.read_small(beside, "statement"))
    except statement.NoStatement as error:
        raise _refused(path, beside, str(error)) from error
    if found.sha256 != copied.sha256:
        raise _refused(path, beside, "it is about another file, or the file has changed since")
    if found.name != path.name:
        raise _refused(path, beside, f"it calls the file {found.name!r}")
    differences = statement.disagreements(found, _record(copied.path))
    if differences:
        raise _refused(path, beside, differences[0])
    return beside


def _record(model: Path) -> dict[str, Any] | None:
    """Return what a model file says of itself; other files may be signed too, and say nothing."""
    if recognize.container(model) != "zip":
        return None
    return provenance.read_record(model)


def _refused(path: Path, beside: Path, why: str) -> UserError:
    return UserError(
        f"{path} is not signed: the statement beside it is not one about this file alone: {why}",
        where=str(beside),
        hint="find out who wrote it; without it, moved elsewhere, the file alone can be signed",
    )


def _checked_links(
    path: Path, copied: Copy, source: Copy, data: Sequence[Path]
) -> list[chain.Link]:
    files = chain.Given(copied.path, source.path, data=data)
    links = [link for link in chain.check(files) if link.name in _CHECKED]
    for link in links:
        if link.state == "broken":
            raise UserError(
                printable(f"{path} is not signed: {link.name} is broken: {link.why}"),
                where=str(path),
                hint=f"mtt show --chain {path} --ckpt CKPT shows every link",
            )
    return links


def _checked(links: Sequence[chain.Link], source: Copy) -> dict[str, Any]:
    """Return what has been found true of the file, with the hashes that say of what."""
    verified = {link.name for link in links if link.state == "verified"}
    header = formats.header_of(open_file(source.path))
    checked: dict[str, Any] = {}
    if chain.CHECKPOINT in verified and chain.WEIGHTS in verified:
        checked["weights_of"] = {"sha256": source.sha256, "content_hash": header.content_hash}
    if chain.EXPORT in verified:
        checked["export_of"] = {"sha256": source.sha256, "content_hash": header.content_hash}
    if chain.OPTIONS in verified:
        checked["options"] = header.options_hash
    if chain.DATA in verified:
        checked["data"] = header.data_hash
    return checked


def _lines(path: Path, beside: Path | None, links: Sequence[chain.Link]) -> list[str]:
    verified = [link.name for link in links if link.state == "verified"]
    others = [f"{link.name} ({link.why})" for link in links if link.state != "verified"]
    lines = []
    if links:
        lines.append(f"  signed: {', '.join([f'name and SHA-256 of {path.name}', *verified])}")
    if beside is not None:
        more = "" if links else "; --ckpt CKPT and --data FILE let mtt check where it comes from"
        others.append(f"what {beside.name} says beyond that{more}")
    return lines + [f"  not checked, and not signed: {other}" for other in others]
