"""The images of this machine: layouts and ``.sif`` files in one folder, checked before they are used."""

import json
from pathlib import Path

from mtt.canonical import parse_json
from mtt.errors import UserError
from mtt.files import LARGEST_TEXT, read_regular, sha256_of, write_atomic
from mtt.images import layout
from mtt.images.catalogue import Image

# What is written beside a .sif file: its own hash, and the digest of the image that it was made of.
_RECORD = ".json"


def layout_of(image: Image, folder: Path) -> Path:
    """Where the image's layout is, or would be."""
    return folder / image.stem


def sif_of(image: Image, folder: Path) -> Path:
    """Where the image's ``.sif`` is, or would be."""
    return folder / f"{image.stem}.sif"


def record_sif(sif: Path, digest: str) -> None:
    """Write down what a new ``.sif`` was made of; its own bytes differ from build to build."""
    content = {"manifest": digest, "sha256": sha256_of(sif)}
    write_atomic(_record(sif), (json.dumps(content, indent=1) + "\n").encode())


def checked_layout(path: Path, digest: str | None) -> layout.Layout:
    """The layout at ``path``, whole, for this machine, and with the digest expected.

    :raises UserError: it is not
    """
    content = layout.read(path)
    if digest is not None and content.digest != digest:
        raise wrong_digest(path, content.digest, digest)
    layout.check_platform(content)
    return content


def checked_sif(path: Path, digest: str | None) -> str:
    """The manifest digest of a ``.sif``, once its bytes are found to be those written down.

    :raises UserError: nothing was written down, or something else
    """
    try:
        record = parse_json(read_regular(_record(path), LARGEST_TEXT))
        manifest, content = str(record["manifest"]), str(record["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            "nothing says which image this .sif file was made of",
            where=str(_record(path)),
            hint="make it again with 'mtt image build --sif' or 'mtt image pull --sif', "
            "or name it with --image if you trust it",
        ) from error
    if sha256_of(path) != content:
        raise UserError(
            "the .sif file is damaged or has been tampered with: its content is another",
            where=str(path),
            hint="move it away, and build or pull it again",
        )
    if digest is not None and manifest != digest:
        raise wrong_digest(path, manifest, digest)
    return manifest


def wrong_digest(path: Path, digest: str, expected: str) -> UserError:
    """The error for an image that is whole, but not the one of the catalogue."""
    return UserError(
        "the image is not the one of the catalogue",
        where=str(path),
        hint=f"its digest is {digest}, and the catalogue has {expected}; move it away, and build or "
        "pull it again",
    )


def _record(sif: Path) -> Path:
    return sif.with_name(sif.name + _RECORD)
