"""The catalogue ``containers/versions.json``: which image has which version of an architecture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtt.canonical import parse_json
from mtt.errors import UserError
from mtt.files import LARGEST_TEXT, read_regular

FORMAT = 1
_INSTALLED = Path(__file__).with_name("versions.json")
# Set by an installation that is used where its sources are.
_SOURCES = Path(__file__).parents[3]


@dataclass(frozen=True)
class Image:
    """One entry: what is inside, what it is made of, and the digest it must have.

    ``architecture`` is None for an image that is not numbered by the versions of one: the verifier
    alone, and mtt with all architectures. ``serves`` has the versions of all architectures that it is
    kept for, by their names: of one commit and its libraries one image is enough, whatever number of
    architectures had their versions then. ``lane`` is "cpu" or "cuda". ``digest`` is its manifest
    digest, ``sha256:...``, and None before the first build; ``reference`` is where a registry has it,
    if one does. ``recipe`` and ``locks`` are folders below the sources, and ``libraries`` is the lock
    of the wheels that are inside; ``extra`` is that of what ``mtt[mace]`` or the like brings beyond
    them, in a layer of its own. ``gpu`` has the CUDA version of its torch, and the oldest and newest
    compute capability that it has kernels for.
    """

    name: str
    version: int
    architecture: str | None
    serves: dict[str, int]
    description: str
    commit: str
    epoch: int
    recipe: str
    locks: str
    libraries: str
    extra: str | None
    lane: str
    suite: str
    platform: str
    digest: str | None
    reference: str | None
    gpu: dict[str, str] | None

    @property
    def tag(self) -> str:
        """How people write it: ``pet@1``, or ``pet@1-cuda``."""
        return f"{self.name}@{self.version}" + ("" if self.lane == "cpu" else f"-{self.lane}")

    @property
    def stem(self) -> str:
        """How its files are called: ``pet-1``; container tools give '@' a meaning of its own."""
        return self.tag.replace("@", "-")


def load(path: Path | None = None) -> list[Image]:
    """All images of the catalogue, which by default is the one that belongs to this mtt.

    :raises UserError: it is missing, or not a catalogue that this mtt can read
    """
    path = path or _path()
    try:
        content = parse_json(read_regular(path, LARGEST_TEXT))
        if content["format"] != FORMAT:
            raise UserError(
                f"the catalogue of images is of format {content['format']}, and this mtt knows "
                f"{FORMAT}",
                where=str(path),
                hint="update mtt",
            )
        images = [
            _image(entry, lane, value)
            for entry in content["images"]
            for lane, value in entry["lanes"].items()
            if value is not None
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"the catalogue of images cannot be read: {type(error).__name__}: {error}",
            where=str(path),
            hint="install mtt again",
        ) from error
    return images


def find(tag: str, images: list[Image]) -> Image:
    """The image that is written ``tag``, as ``pet@1``.

    :raises UserError: there is none
    """
    for image in images:
        if image.tag == tag:
            return image
    raise UserError(
        f"the catalogue has no image '{tag}'",
        hint=f"it has {', '.join(image.tag for image in images)}; see mtt image list",
    )


def for_version(
    architecture: str, version: int, images: list[Image], digest: str | None = None
) -> Image | None:
    """The image for CPUs that has this version of an architecture, if there is one.

    Of several it is the last of the catalogue, which is of the latest commit: it knows the most options,
    and takes up what the ones before have written. But what was begun in an image is that one's, since a
    later commit may round otherwise.

    :param digest: of the image that something was begun in
    """
    begun = [image for image in images if digest is not None and image.digest == digest]
    for image in [*begun, *reversed(images)]:
        if image.lane == "cpu" and image.serves.get(architecture) == version:
            return image
    return None


def sources() -> Path:
    """The clone of the repository that this mtt is used from; images are built from one.

    :raises UserError: this mtt was installed without its sources
    """
    if (_SOURCES / "containers" / "versions.json").is_file():
        return _SOURCES
    raise UserError(
        "an image is built from a clone of mtt's repository, and this mtt was installed without",
        hint="install it from a clone with 'pip install --editable .', and build there",
    )


def _path() -> Path:
    return _INSTALLED if _INSTALLED.is_file() else _SOURCES / "containers" / "versions.json"


def _image(entry: dict[str, Any], lane: str, values: dict[str, Any]) -> Image:
    locks = str(entry["locks"])
    own = {} if entry["architecture"] is None else {entry["architecture"]: entry["version"]}
    return Image(
        name=str(entry["name"]),
        version=int(entry["version"]),
        architecture=entry["architecture"],
        serves={
            str(name): int(number) for name, number in {**own, **entry.get("also", {})}.items()
        },
        description=str(entry["description"]),
        commit=str(entry["commit"]),
        epoch=int(entry["epoch"]),
        recipe=str(values.get("recipe", entry["recipe"])),
        locks=locks,
        libraries=str(values.get("libraries", f"{locks}/python.lock")),
        extra=entry.get("extra"),
        lane=lane,
        suite=str(entry["suite"]),
        platform=str(entry["platform"]),
        digest=values["digest"],
        reference=values["reference"],
        gpu=values.get("gpu"),
    )
