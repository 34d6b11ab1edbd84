"""The images of this machine: layouts and ``.sif`` files in one folder, checked before they are used.

The folder itself is not trusted: a layout must have the digest of the catalogue down to each byte, and
the content of a ``.sif`` must be one that this user's own record knows.
"""

import re
from pathlib import Path
from typing import Final

from mtt.errors import UserError
from mtt.images import layout, own_place, trusted
from mtt.images.catalogue import Image

# As :attr:`Image.stem` makes it of a tag.
_NAMED: Final = re.compile(r"([\w.-]+)-(\d+(?:-\w+)?)")


def layout_of(image: Image, folder: Path) -> Path:
    """Where the image's layout is, or would be."""
    return folder / image.stem


def sif_of(image: Image, folder: Path) -> Path:
    """Where the image's ``.sif`` is, or would be."""
    return folder / f"{image.stem}.sif"


def checked_layout(path: Path, digest: str | None) -> layout.Layout:
    """The layout at ``path``, whole, for this machine, and with the digest expected.

    Where somebody else could change it after the check, it is a copy in a place of this user's.

    :raises UserError: it is not
    """
    path = path.resolve()  # a link could lead elsewhere after the check
    content = layout.read(path)
    if digest is not None and content.digest != digest:
        raise wrong_digest(path, content.digest, digest)
    layout.check_platform(content)
    if own_place.only_ours(path):
        return content
    expected = content.digest
    copied = layout.read(own_place.own_copy(path, expected.removeprefix("sha256:")))
    if copied.digest != expected:
        raise wrong_digest(path, copied.digest, expected)
    return copied


def checked_sif(path: Path, digest: str | None) -> tuple[Path, str]:
    """The file to run, and the manifest digest of its image, once its content is found to be trusted.

    The file is ``path``, or a copy in a place of this user's where somebody else could change it.

    :raises UserError: this user's record does not know the content, or knows it as another image
    """
    path = path.resolve()
    content = own_place.sha256_once(path)
    manifest = trusted.image_of(content)
    if manifest is None:
        raise _unknown(path, content)
    if digest is not None and manifest != digest:
        raise wrong_digest(path, manifest, digest)
    if own_place.only_ours(path):
        return path, manifest
    copied = own_place.own_copy(path, content)
    if own_place.sha256_once(copied) != content:
        raise UserError(
            "the .sif file has changed while it was checked",
            where=str(path),
            hint=f"others can write there; if that was nobody, remove {copied} and try again",
        )
    return copied, manifest


def _unknown(path: Path, content: str) -> UserError:
    match = _NAMED.fullmatch(path.stem)
    tag = "NAME@VERSION" if match is None else f"{match[1]}@{match[2]}"
    return UserError(
        "nothing that you trust says which image this .sif file is: it was not made here, or has changed",
        where=f"{path} (sha256 {content})",
        hint=f"make it again with 'mtt image build {tag} --sif' or 'mtt image pull {tag} --sif'; or, if you "
        f"have its sha256 from whoever made it: mtt image trust {tag} --sha256 HEX",
    )


def wrong_digest(path: Path, digest: str, expected: str) -> UserError:
    """The error for an image that is whole, but not the one of the catalogue."""
    return UserError(
        "the image is not the one of the catalogue",
        where=str(path),
        hint=f"its digest is {digest}, and the catalogue has {expected}; move it away, and build or "
        "pull it again",
    )
