"""OCI layouts: the digest of the image in one, checked down to each byte of its layers."""

import gzip
import hashlib
import platform
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtt.canonical import strict_json
from mtt.errors import UserError
from mtt.files import open_regular, read_regular, sha256_of

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
# Manifest, configuration and index are texts of some kilobytes.
_LARGEST = 2**24
_OF_INDEX = frozenset({"schemaVersion", "mediaType", "manifests", "annotations"})
_OF_ENTRY = frozenset({"mediaType", "digest", "size", "annotations", "platform"})
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Layout:
    """An image on the disk, whose content has been found to be what its digest says."""

    path: Path
    digest: str
    architecture: str
    labels: dict[str, str]
    entrypoint: list[str]
    layers: list[str]
    size: int
    """Bytes of all blobs, as they are stored and sent."""

    @property
    def unpacked(self) -> int:
        """Bytes of the layers once unpacked, by the archives that they are."""
        return sum(_unpacked(blob(self.path, layer)) for layer in self.layers)

    def has_shell(self) -> bool:
        """Whether ``sh`` is inside, which scripts need."""
        for layer in self.layers:
            with open_regular(blob(self.path, layer)) as raw, tarfile.open(fileobj=raw) as archive:
                if any(entry.name.endswith("bin/sh") for entry in archive):
                    return True
        return False


def read(path: Path) -> Layout:
    """The one image of a layout, with every blob compared with its digest.

    :raises UserError: it is no layout, or not whole, or has been tampered with
    """
    manifest_digest = digest_of(path)
    manifest = _parsed(path, manifest_digest)
    try:
        config_digest = manifest["config"]["digest"]
        layers = [layer["digest"] for layer in manifest["layers"]]
    except (KeyError, TypeError) as error:
        raise _damaged(path, "its manifest names no layers") from error
    config = _parsed(path, config_digest)
    for layer in layers:
        _check(path, layer)
    everything = [manifest_digest, config_digest, *layers]
    return Layout(
        path=path,
        digest=manifest_digest,
        architecture=str(config.get("architecture")),
        labels=config.get("config", {}).get("Labels") or {},
        entrypoint=config.get("config", {}).get("Entrypoint") or [],
        layers=layers,
        size=sum(blob(path, digest).stat().st_size for digest in everything),
    )


def digest_of(path: Path) -> str:
    """The manifest digest that a layout's index names; nothing else is read.

    :raises UserError: it is no layout of one image
    """
    try:
        index = strict_json(read_regular(path / "index.json", _LARGEST))
        (entry,) = index["manifests"]
        digest = entry["digest"]
        _refuse_more(index, _OF_INDEX)
        _refuse_more(entry, _OF_ENTRY)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            "not an OCI layout of one image",
            where=str(path),
            hint=f"its index.json: {type(error).__name__}: {error}",
        ) from error
    if entry.get("mediaType", _MANIFEST) != _MANIFEST or not _is_digest(digest):
        raise UserError("the layout's index names no image manifest", where=str(path))
    return str(digest)


def _refuse_more(part: dict[str, Any], known: frozenset[str]) -> None:
    """Refuse other keys: to programs that run images 'Manifests' is 'manifests', and the last counts."""
    for key in part.keys() - known:
        raise ValueError(f"it has an entry '{key}', which is none of an index")


def check_platform(content: Layout) -> None:
    """Make sure that programs of the image run on this processor.

    :raises UserError: it is for another one
    """
    machine = platform.machine()
    here = _MACHINES.get(machine, machine)
    if content.architecture != here:
        raise UserError(
            f"the image is for processors of type {content.architecture}, and this machine's is "
            f"{here}",
            where=str(content.path),
            hint=f"run it on another machine, or build the image on a machine of type {here}",
        )


def blob(path: Path, digest: str) -> Path:
    """The file of a blob."""
    return path / "blobs" / "sha256" / digest.removeprefix("sha256:")


def _check(path: Path, digest: str) -> None:
    file = _file_of(path, digest)
    _compare(path, digest, sha256_of(file))


def _checked(path: Path, digest: str) -> bytes:
    """The content of a small blob, read once: what was checked is what is used."""
    with open_regular(_file_of(path, digest)) as stream:
        content = stream.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise _damaged(path, f"the part {digest} is far too large for a description")
    _compare(path, digest, hashlib.sha256(content).hexdigest())
    return content


def _parsed(path: Path, digest: str) -> dict[str, Any]:
    try:
        parsed = strict_json(_checked(path, digest))
    except ValueError as error:
        raise _damaged(path, f"the part {digest} cannot be read: {error}") from error
    if not isinstance(parsed, dict):
        raise _damaged(path, f"the part {digest} is not a JSON object")
    return parsed


def _file_of(path: Path, digest: str) -> Path:
    if not _is_digest(digest):
        raise _damaged(path, f"'{digest}' is no digest")
    file = blob(path, digest)
    if not file.is_file():
        raise _damaged(path, f"the part {digest} is missing")
    return file


def _compare(path: Path, digest: str, content: str) -> None:
    if content != digest.removeprefix("sha256:"):
        raise _damaged(path, f"the content of the part {digest} is another")


def _damaged(path: Path, why: str) -> UserError:
    return UserError(
        f"the image is damaged or has been tampered with: {why}",
        where=str(path),
        hint="move it away, and build or pull it again",
    )


def _is_digest(text: Any) -> bool:
    rest = text.removeprefix("sha256:") if isinstance(text, str) else ""
    return len(rest) == 64 and set(rest) <= set("0123456789abcdef") and rest != text


def _unpacked(layer: Path) -> int:
    total = 0
    with open_regular(layer) as raw, gzip.open(raw) as stream:
        while chunk := stream.read(2**22):
            total += len(chunk)
    return total
