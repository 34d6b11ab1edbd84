"""File, signature beside it and public key in, yes or an error out: ``model.pt`` and ``model.pt.sig``.

A signature is a DSSE envelope, as in-toto and sigstore use it: a statement that names one file by its
SHA-256, and an ed25519 signature over the statement. docs/how-to/provenance.md has the format.
"""

import base64
import binascii
import hashlib
from pathlib import Path
from typing import Any, Final

from mtt.canonical import strict_json
from mtt.errors import UserError
from mtt.lineage import keys
from mtt.lineage.private_copy import opened
from mtt.lineage.statement import NoStatement, parse

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
_MOST_SIGNATURES: Final = 16
_LENGTH: Final = 64


def signature_path(path: Path) -> Path:
    """Where the signature of a file is: ``model.pt.sig``."""
    return path.with_name(f"{path.name}.sig")


def signed(payload: bytes) -> bytes:
    """What DSSE signs: the payload and its type, each with its length."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def require(path: Path, key: Path, beside: Path | None = None, digest: str | None = None) -> None:
    """Return if the signature beside ``path`` is one of this key over this content, and no other.

    Nothing of the file is used but its hash.

    :param key: file with the public key
    :param beside: the signature, if it is not where :func:`signature_path` says
    :param digest: SHA-256 of the content that will be used, if somebody has taken it already
    :raises UserError: there is no such signature; the key or a file cannot be read
    """
    keys.needs_cryptography()
    public = keys.public_key(key)
    beside = beside or signature_path(path)
    if not beside.exists():
        raise UserError(
            f"there is no signature of {path}, and one is required",
            where=str(beside),
            hint="get it from whoever made the file, beside which it belongs",
        )
    payload, signatures = _envelope(beside)
    own = [sig for keyid, sig in signatures if keyid in ("", keys.key_id(public))]
    if not own:
        raise UserError(
            f"the signature of {path} was made with another key",
            where=str(beside),
            hint=f"the key that is required is {key}: do not use the file unless you trust the other",
        )
    if not any(_fits(public, sig, payload) for sig in own):
        raise UserError(
            f"the signature of {path} is forged or damaged: it does not fit its own statement",
            where=str(beside),
            hint="do not use the file; get both again",
        )
    try:
        statement = parse(payload)
    except NoStatement as error:
        raise UserError(
            f"the signature of {path} is over a statement that is not about this file alone: {error}",
            where=str(beside),
            hint="do not use the file; ask whoever signed it to sign this file, and no other",
        ) from error
    if (_digest(path) if digest is None else digest) != statement.sha256:
        raise UserError(
            f"the signature is of another file than {path}, or the file has changed since",
            where=str(beside),
            hint="do not use the file; get both again",
        )


def _fits(public: Any, sig: bytes, payload: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        public.verify(sig, signed(payload))
    except InvalidSignature:
        return False
    return True


def _envelope(path: Path) -> tuple[bytes, list[tuple[str, bytes]]]:
    """The payload of an envelope, and its signatures with the names of their keys."""
    try:
        parsed = strict_json(keys.read_small(path, "signature"))
        _require(isinstance(parsed, dict))
        # What else an envelope held, somebody else could take for its payload.
        _require(parsed.keys() == {"payload", "payloadType", "signatures"})
        _require(parsed["payloadType"] == PAYLOAD_TYPE)
        payload = _decoded(parsed["payload"])
        listed = parsed["signatures"]
        _require(isinstance(listed, list) and 0 < len(listed) <= _MOST_SIGNATURES)
        signatures = [_signature(entry) for entry in listed]
        names = [keyid for keyid, _ in signatures]
        _require(len(set(names)) == len(names))
    except (ValueError, binascii.Error) as error:
        raise UserError(
            "this is no signature that can be checked: not a DSSE envelope around a statement",
            where=str(path),
            hint="make one with: mtt sign FILE --key KEY",
        ) from error
    return payload, signatures


def _signature(entry: Any) -> tuple[str, bytes]:
    _require(isinstance(entry, dict) and entry.keys() - {"keyid"} == {"sig"})
    keyid, sig = entry.get("keyid", ""), _decoded(entry["sig"])
    _require(isinstance(keyid, str) and len(sig) == _LENGTH)
    return keyid, sig


def _decoded(text: Any) -> bytes:
    """Return the bytes of a base64 text, of which there is only one for the same bytes."""
    _require(isinstance(text, str) and text.isascii())
    content = base64.b64decode(text, validate=True)
    _require(base64.b64encode(content).decode() == text)
    return content


def _require(proper: object) -> None:
    if not proper:
        raise ValueError


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with opened(path) as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()
