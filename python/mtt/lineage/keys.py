"""Pairs of ed25519 keys in PEM files: made, and read for what they are.

The package ``cryptography`` does the arithmetic; it is imported only when a key is made or used.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mtt.errors import UserError
from mtt.files import unwritable
from mtt.lineage.private_copy import opened

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

# A statement of an export is a few kilobytes.
_LARGEST: Final = 2**20


def new_key(name: Path) -> tuple[Path, Path]:
    """Make ``NAME.key``, which only its owner can read, and ``NAME.pub``, which is for everybody.

    :raises UserError: one of them is there already, or cannot be written
    """
    needs_cryptography()
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


def private_key(path: Path) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    """Return the key to sign with.

    :raises UserError: the file cannot be read, or holds anything but one unencrypted private key
    """
    content = read_small(path, "key")
    if b"PUBLIC KEY" in content:
        raise UserError(
            "this is a public key, which cannot sign",
            where=str(path),
            hint="give the private one, whose name ends in .key",
        )
    if b"ENCRYPTED" in content:
        raise UserError("the key is encrypted, which is not supported", where=str(path))
    _one_block(path, content, "private")
    key = _loaded(path, "private", lambda: load_pem_private_key(content, None))
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path, "private")
    return key


def public_key(path: Path) -> "Ed25519PublicKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    """Return the key to check signatures with.

    :raises UserError: the file cannot be read, or holds anything but one public key
    """
    content = read_small(path, "key")
    if b"PRIVATE KEY" in content:
        raise UserError(
            "this is a private key, and signatures are checked with the public one",
            where=str(path),
            hint="give the file whose name ends in .pub, and keep this one to yourself",
        )
    _one_block(path, content, "public")
    key = _loaded(path, "public", lambda: load_pem_public_key(content))
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(path, "public")
    return key


def _one_block(path: Path, content: bytes, kind: str) -> None:
    """Of several keys in one file, which one counts would depend on who reads it."""
    if content.count(b"-----BEGIN") != 1:
        raise _no_key(path, kind)


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


def read_small(path: Path, what: str) -> bytes:
    """Return the content of a file that cannot be large: a key, a signature, a statement.

    :raises UserError: it cannot be read, is no regular file, or is large all the same
    """
    with opened(path, what) as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise UserError(f"this is too large to be a {what}", where=str(path))
    return content


def needs_cryptography() -> None:
    """Raise UserError unless the package is installed."""
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise UserError(
            "signatures need the package 'cryptography', which is not installed",
            hint="install it: pip install 'mtt[sign]', or pip install cryptography",
        ) from error
