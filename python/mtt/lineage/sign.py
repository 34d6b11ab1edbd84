"""File and key in, detached signature out: ``model.pt`` -> ``model.pt.sig``.

A signature is a DSSE envelope, as in-toto and sigstore use it: a statement that names the file by its
SHA-256, and an ed25519 signature over the statement. docs/how-to/provenance.md has the format. The
package ``cryptography`` does the arithmetic; it is imported only when a signature is made or asked for.
"""

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mtt.canonical import json_or_none
from mtt.errors import UserError
from mtt.export import provenance
from mtt.files import (
    check_regular,
    check_writable,
    open_regular,
    reading,
    sha256_of,
    unwritable,
    write_atomic,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
PREDICATE: Final = "urn:mtt:signature:1"
# A statement of an export is a few kilobytes.
_LARGEST: Final = 2**20


def signature_path(path: Path) -> Path:
    """Where the signature of a file is: ``model.pt.sig``."""
    return path.with_name(f"{path.name}.sig")


# ---- keys ----


def new_key(name: Path) -> tuple[Path, Path]:
    """Make ``NAME.key``, which only its owner can read, and ``NAME.pub``, which is for everybody.

    :raises UserError: one of them is there already, or cannot be written
    """
    _needs_cryptography()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private, public = (name.with_name(f"{name.name}.{kind}") for kind in ("key", "pub"))
    for path in (private, public):
        if path.exists() or path.is_symlink():
            raise UserError(
                "there is a key of this name already, and keys are never overwritten",
                where=str(path),
                hint="choose another name",
            )
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    shown = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    _write_new(private, secret, 0o600)
    try:
        _write_new(public, shown, 0o644)
    except UserError:
        private.unlink()  # made by this call a moment ago
        raise
    return private, public


def _write_new(path: Path, content: bytes, mode: int) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise unwritable(path, error) from error


def _private_key(path: Path) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _read(path, "key")
    if b"PUBLIC KEY" in content:
        raise UserError(
            "this is a public key, which cannot sign",
            where=str(path),
            hint="give the private one, whose name ends in .key",
        )
    if b"ENCRYPTED" in content:
        raise UserError("the key is encrypted, which is not supported", where=str(path))
    key = _loaded(path, "private", lambda: load_pem_private_key(content, None))
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path, "private")
    return key


def _public_key(path: Path) -> "Ed25519PublicKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content = _read(path, "key")
    if b"PRIVATE KEY" in content:
        raise UserError(
            "this is a private key, and signatures are checked with the public one",
            where=str(path),
            hint="give the file whose name ends in .pub, and keep this one to yourself",
        )
    key = _loaded(path, "public", lambda: load_pem_public_key(content))
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(path, "public")
    return key


def _loaded(path: Path, which: str, load: Callable[[], object]) -> object:
    try:
        return load()
    except Exception as error:  # the package has many kinds
        raise _no_key(path, which) from error


def _no_key(path: Path, kind: str) -> UserError:
    return UserError(
        f"this is no {kind} ed25519 key in PEM format",
        where=str(path),
        hint="make a pair with: mtt sign --new-key NAME",
    )


def key_id(key: "Ed25519PublicKey") -> str:
    """What an envelope names a key by: SHA-256 of its DER form, in hex."""
    from cryptography.hazmat.primitives import serialization

    raw = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(raw).hexdigest()


# ---- signing ----


def run(path: Path, key: Path) -> Path:
    """Write the signature of a file beside it, and return its name.

    The statement signed is that of the export, if the one beside the file is about it.

    :raises UserError: a file that cannot be read or written, or a key that is none
    """
    _needs_cryptography()
    private = _private_key(key)
    output = signature_path(path)
    check_writable(output)
    payload = _statement(path)
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [
            {
                "keyid": key_id(private.public_key()),
                "sig": base64.b64encode(private.sign(_signed(payload))).decode(),
            }
        ],
    }
    write_atomic(output, (json.dumps(envelope, indent=2) + "\n").encode())
    return output


def _statement(path: Path) -> bytes:
    digest = _digest(path)
    beside = provenance.statement_path(path)
    if beside.is_file():
        content = _read(beside, "statement")
        if digest in _subjects(json_or_none(content)):
            return content
    statement = {
        "_type": provenance.STATEMENT,
        "subject": [{"name": path.name, "digest": {"sha256": digest}}],
        "predicateType": PREDICATE,
        "predicate": {},
    }
    return json.dumps(statement, sort_keys=True).encode()


def _signed(payload: bytes) -> bytes:
    """What DSSE signs: the payload and its type, each with its length."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


# ---- checking ----


def require(path: Path, key: Path, beside: Path | None = None) -> None:
    """Return if the signature beside ``path`` is one of this key over this content.

    Nothing of the file is used but its hash.

    :param key: file with the public key
    :param beside: the signature, if it is not where :func:`signature_path` says
    :raises UserError: there is no such signature; the key or a file cannot be read
    """
    _needs_cryptography()
    from cryptography.exceptions import InvalidSignature

    public = _public_key(key)
    beside = beside or signature_path(path)
    if not beside.exists():
        raise UserError(
            f"there is no signature of {path}, and one is required",
            where=str(beside),
            hint="get it from whoever made the file, beside which it belongs",
        )
    payload, signatures = _envelope(beside)
    own = [sig for keyid, sig in signatures if keyid in ("", key_id(public))]
    if not own:
        raise UserError(
            f"the signature of {path} was made with another key",
            where=str(beside),
            hint=f"the key that is required is {key}: do not use the file unless you trust the other",
        )
    for sig in own:
        try:
            public.verify(sig, _signed(payload))
            break
        except InvalidSignature:
            continue
    else:
        raise UserError(
            f"the signature of {path} is forged or damaged: it does not fit its own statement",
            where=str(beside),
            hint="do not use the file; get both again",
        )
    if _digest(path) not in _subjects(json_or_none(payload)):
        raise UserError(
            f"the signature is of another file than {path}, or the file has changed since",
            where=str(beside),
            hint="do not use the file; get both again",
        )


def _envelope(path: Path) -> tuple[bytes, list[tuple[str, bytes]]]:
    """The payload of an envelope, and its signatures with the names of their keys."""
    parsed = json_or_none(_read(path, "signature"))
    try:
        if parsed["payloadType"] != PAYLOAD_TYPE:
            raise ValueError
        payload = base64.b64decode(parsed["payload"], validate=True)
        signatures = [
            (str(signature.get("keyid", "")), base64.b64decode(signature["sig"], validate=True))
            for signature in parsed["signatures"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise UserError(
            "this is no signature that can be checked: not a DSSE envelope around a statement",
            where=str(path),
            hint="make one with: mtt sign FILE --key KEY",
        ) from error
    return payload, signatures


def _subjects(statement: Any) -> list[str]:
    """SHA-256 of the files that a statement is about."""
    try:
        return [str(subject["digest"]["sha256"]) for subject in statement["subject"]]
    except (KeyError, TypeError):
        return []


def _read(path: Path, what: str) -> bytes:
    with reading(path, what):
        check_regular(path, f"the {what}")
        with open_regular(path) as file:
            content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise UserError(f"this is too large to be a {what}", where=str(path))
    return content


def _digest(path: Path) -> str:
    with reading(path):
        check_regular(path)
        return sha256_of(path)


def _needs_cryptography() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise UserError(
            "signatures need the package 'cryptography', which is not installed",
            hint="install it: pip install 'mtt[sign]', or pip install cryptography",
        ) from error
