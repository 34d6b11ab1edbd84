"""Copies images to and from OCI registries, through skopeo, so that their digest stays the same."""

import tempfile
from pathlib import Path

from mtt.errors import UserError
from mtt.images import layout, store, tools
from mtt.images.catalogue import Image


def push(image: Image, reference: str, folder: Path, plain: bool) -> str:
    """Copy an image to a registry; the reference with digest under which it can be had there.

    :param reference: ``REGISTRY/NAME:TAG``
    :param plain: without TLS
    :raises UserError: the image is not here or not whole, or the registry does not take it
    """
    tools.need("skopeo")
    content = store.checked_layout(store.layout_of(image, folder), image.digest)
    command = ["skopeo", "copy", "--quiet", "--preserve-digests"]
    command += [f"--dest-tls-verify={'false' if plain else 'true'}"]
    command += [f"oci:{content.path}", f"docker://{reference}"]
    tools.run(command, f"pushing {image.tag}")
    name = reference.rpartition(":")[0] if ":" in reference.rpartition("/")[2] else reference
    return f"{name}@{content.digest}"


def pull(image: Image, reference: str, folder: Path, plain: bool) -> layout.Layout:
    """Copy an image from a registry into ``folder``, where it appears once its digest is right.

    :raises UserError: the registry has another image, or none; or the copy is not whole
    """
    tools.need("skopeo")
    target = store.layout_of(image, folder)
    if target.exists():
        return store.checked_layout(target, image.digest)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".pulling-") as place:
        made = Path(place) / "layout"
        command = ["skopeo", "copy", "--quiet", "--preserve-digests"]
        command += [f"--src-tls-verify={'false' if plain else 'true'}"]
        command += [f"docker://{reference}", f"oci:{made}:{image.stem}"]
        tools.run(command, f"pulling {image.tag}")
        content = layout.read(made)
        if image.digest is not None and content.digest != image.digest:
            raise store.wrong_digest(Path(reference), content.digest, image.digest)
        made.rename(target)
    return store.checked_layout(target, image.digest)


def default_reference(image: Image) -> str:
    """Where the catalogue says that a registry has the image.

    :raises UserError: nowhere
    """
    if image.reference is None:
        raise UserError(
            f"the catalogue names no registry for {image.tag}",
            hint=f"name one: mtt image pull {image.tag} REGISTRY/NAME:TAG",
        )
    return image.reference
