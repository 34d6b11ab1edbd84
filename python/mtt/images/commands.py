"""Recipe in, image out; and what else can be done with images: list, check, push, pull."""

import shlex
import time
from collections.abc import Callable
from pathlib import Path

from mtt import checkpoint as checkpoints
from mtt.errors import UserError, VerificationFailed
from mtt.images import build as builder
from mtt.images import catalogue, layout, own_place, registry, sif, storage, store, trusted
from mtt.images.catalogue import Image

Tell = Callable[[str], None]
_MB = 1e6


def list_images(tell: Tell) -> None:
    """Say which images there are, and which are in the folder of images."""
    folder = storage.images_folder()
    for image in catalogue.load():
        tell(f"{image.tag}  {image.description}")
        tell(f"  digest {image.digest or 'not yet built'}")
        here = [
            p for p in (store.sif_of(image, folder), store.layout_of(image, folder)) if p.exists()
        ]
        for path in here:
            tell(f"  here, not checked: {path}")
        if not here:
            tell(f"  not here; {how_to_get(image)}")


def image_for(checkpoint: Path, tell: Tell) -> None:
    """Say which image a checkpoint needs.

    :raises UserError: not a checkpoint, or the catalogue has no image for it
    """
    header = checkpoints.read_header(checkpoint)
    name, version = header.architecture.name, header.architecture.version
    image = catalogue.for_version(name, version, catalogue.load())
    if image is None:
        raise UserError(
            f"the catalogue has no image for version {version} of the architecture '{name}'",
            where=str(checkpoint),
            hint=f"a later mtt may have one; images there are: "
            f"{', '.join(known.tag for known in catalogue.load())}",
        )
    folder = storage.images_folder()
    tell(f"{checkpoint} is of {name}@{version}: the image is {image.tag}")
    try:
        checkpoints.check_architecture(header)
    except UserError as error:
        tell(f"  needed: {error.what}")
    else:
        tell("  not needed: the installed version takes the checkpoint up, exactly")
    tell(f"  digest {image.digest or 'not yet built'}")
    path = store.sif_of(image, folder)
    if path.exists():
        path, _ = store.checked_sif(path, image.digest)
        tell(f"  {shlex.join(['apptainer', 'run', str(path), 'export', str(checkpoint)])}")
    else:
        tell(f"  not here; {how_to_get(image)}")


def how_to_get(image: Image) -> str:
    """The commands that bring an image here."""
    pull = f"mtt image pull {image.tag}" + ("" if image.reference else " REGISTRY/NAME:TAG")
    return f"get it with: {pull} --sif, or mtt image build {image.tag} --sif"


def build(tag: str, with_sif: bool, fresh: bool, tell: Tell) -> None:
    """Build an image into the folder of images, and say how large it is.

    :raises UserError: something that it takes is missing, or the disk is full
    :raises VerificationFailed: the result is not what the catalogue has
    """
    image = catalogue.find(tag, catalogue.load())
    if with_sif:
        sif.program()
    folder = storage.images_folder()
    built = None if fresh else _already_here(image, folder)
    if built is not None:
        tell(f"{built.path} is there already: {built.digest}")
    else:
        began = time.monotonic()
        built = builder.build(image, folder, tell, fresh)
        seconds = time.monotonic() - began
        tell(
            f"wrote {built.path}: {built.digest}, {built.size / _MB:.0f} MB, "
            f"{built.unpacked / _MB:.0f} MB unpacked ({seconds:.0f} s)"
        )
        if image.digest is not None and built.digest != image.digest:
            raise _differs(image, built)
    if with_sif:
        _make_sif(image, built, folder, tell)


def check(tag: str, tell: Tell) -> None:
    """Build an image from nothing but fetched packages, and compare it with the catalogue.

    :raises UserError: the catalogue has no digest to compare with
    :raises VerificationFailed: the digest is another
    """
    image = catalogue.find(tag, catalogue.load())
    if image.digest is None:
        raise UserError(f"the catalogue has no digest of {tag} yet: nothing to compare with")
    folder = storage.cache_folder() / "checked"
    built = builder.build(image, folder, tell, fresh=True)
    if built.digest != image.digest:
        raise _differs(image, built)
    tell(f"the same: {built.digest}")


def push(tag: str, reference: str, plain: bool, tell: Tell) -> None:
    """Copy an image to a registry."""
    image = catalogue.find(tag, catalogue.load())
    tell(f"pushed {registry.push(image, reference, storage.images_folder(), plain)}")


def pull(tag: str, reference: str | None, plain: bool, with_sif: bool, tell: Tell) -> None:
    """Copy an image from a registry, by default from where the catalogue says."""
    image = catalogue.find(tag, catalogue.load())
    folder = storage.images_folder()
    if with_sif:
        sif.program()
    wanted = reference or registry.default_reference(image)
    pulled = registry.pull(image, wanted, folder, plain)
    tell(f"{pulled.path}: {pulled.digest}")
    if with_sif:
        _make_sif(image, pulled, folder, tell)


def trust(tag: str, path: Path | None, sha256: str, tell: Tell) -> None:
    """Take a ``.sif`` file for an image of the catalogue, as the user knows its hash from its maker.

    :param path: by default the one in the folder of images
    :raises UserError: there is no such file, it has another hash, or the catalogue has no digest
    """
    image = catalogue.find(tag, catalogue.load())
    if image.digest is None:
        raise UserError(
            f"the catalogue has no digest of {tag} yet: there is nothing to take it for"
        )
    path = path or store.sif_of(image, storage.images_folder())
    content = own_place.sha256_once(path)
    if content != sha256:
        raise UserError(
            "the .sif file has another sha256 than the one that you gave",
            where=f"{path}: {content}",
            hint="do not use it before you know why; ask whoever made it",
        )
    trusted.add(content, image.digest)
    tell(f"{path} is taken for {tag} from now on ({image.digest}); see {trusted.record_path()}")


def _already_here(image: Image, folder: Path) -> layout.Layout | None:
    """The image of the catalogue, if it is here and whole."""
    if image.digest is None:
        return None
    try:
        return store.checked_layout(store.layout_of(image, folder), image.digest)
    except UserError:
        return None


def _make_sif(image: Image, built: layout.Layout, folder: Path, tell: Tell) -> None:
    target = store.sif_of(image, folder)
    if target.exists():
        try:
            store.checked_sif(target, built.digest)
        except UserError:
            aside = target.with_name(f"{target.name}.{own_place.sha256_once(target)[:12]}")
            target.rename(aside)
            tell(f"{target} was not one that you trust: it is {aside} now")
        else:
            tell(f"{target} is there already")
            return
    began = time.monotonic()
    # Apptainer reads the layout once more: nobody may change it before that.
    sif.make(store.checked_layout(built.path, built.digest), target)
    size = target.stat().st_size / _MB
    tell(f"wrote {target}: {size:.0f} MB ({time.monotonic() - began:.0f} s)")
    tell(
        f"  others can use it after: mtt image trust {image.tag} --sha256 "
        f"{own_place.sha256_once(target)}"
    )


def _differs(image: Image, built: layout.Layout) -> VerificationFailed:
    return VerificationFailed(
        f"{image.tag} came out as another image: the digest of {built.path} is {built.digest}, and the "
        f"catalogue has {image.digest}"
    )
