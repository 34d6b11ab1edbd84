"""Decides whether a command must run in an image, and runs it there.

A checkpoint names the version of its architecture in its header. Where no exact upgrade leads from
it to the installed version, the very same command is run in the image that has that version.
"""

import json
import os
import shlex
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mtt import architecture_registry
from mtt import checkpoint as checkpoints
from mtt.canonical import canonical_json
from mtt.checkpoint import Header
from mtt.errors import UserError
from mtt.images import catalogue, own_place, storage, store, trusted
from mtt.images.catalogue import Image
from mtt.images.mounts import content_of, mounts_for, options_of
from mtt.images.runtimes import Runnable, has_gpu, run, stored, try_out

RECORD = "extra/mtt/image.json"
_WHEN = ("auto", "never", "always")
_INSTALLED = 0
_OF_SIF = ("apptainer", "singularity")


@dataclass(frozen=True)
class Asked:
    """The architecture that options ask for; its version is 0 if they name none."""

    where: str
    name: str | None
    version: int

    def differs(self) -> bool:
        """Whether this is a version of a known architecture that is not the installed one."""
        if self.name is None or self.name not in architecture_registry.names():
            return False
        return self.version not in (_INSTALLED, architecture_registry.get(self.name).version)


@dataclass(frozen=True)
class Need:
    """Why an image is needed, and which."""

    image: Image | None
    version: str
    why: str


def in_image(
    arguments: Namespace,
    checkpoint: Path | None,
    outputs: Sequence[Path],
    elsewhere: str | None = None,
    copied: Path | None = None,
) -> bool:
    """Run the command in an image if it has to be; whether it has been.

    :param checkpoint: what the command reads; None if it starts from nothing
    :param outputs: files that it writes; the first is the model file, if there is one
    :param elsewhere: where the checkpoint was downloaded from, as users call it
    :param copied: what the command is to see in the place of the checkpoint, whose signature it has
    :raises UserError: it has to be, and cannot
    :raises SystemExit: with the exit code of the command, if it failed
    """
    if arguments.image == "never":
        return False
    need = what_is_needed(checkpoint, arguments.image, _asked_for(arguments), copied)
    if need is None:
        return False
    if elsewhere is not None:
        raise UserError(
            f"{need.why}: the image has no network, so the checkpoint must be here",
            where=elsewhere,
            hint="download it, and give its path",
        )
    mounts = mounts_for(arguments, outputs, checkpoint)
    if copied is not None and checkpoint is not None:
        mounts = replace(mounts, instead={Path(os.path.abspath(checkpoint)): copied})
    words = handed_on(arguments.command_line, arguments.only_here)
    runnable, notes = find(need, arguments.image, words, mounts.folder)
    named = name_of(runnable)
    digest = runnable.digest or "digest not checked"
    print(
        f"{need.why}: running in the image {named} ({digest}) with {runnable.program}",
        file=sys.stderr,
    )
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)
    if runnable.digest is not None:
        mounts.environment["MTT_IMAGE_DIGEST"] = runnable.digest
    before = _state(outputs[0])
    with tempfile.TemporaryDirectory() as empty:
        code = run(runnable.command(words, replace(mounts, empty=Path(empty))))
    if code != 0:
        raise SystemExit(code)
    if _state(outputs[0]) != before:
        record(outputs[0], need, runnable, words)
    elif arguments.command != "train":  # which has nothing to do if it was done before
        raise UserError(
            f"the image {named} ended without an error, and has not written {outputs[0]}",
            hint=f"what was run: {shlex.join(runnable.command(words, mounts))}",
        )
    return True


def name_of(runnable: Runnable) -> str:
    """What the catalogue calls an image of that digest, or where an image of the user's is."""
    for image in catalogue.load():
        if runnable.digest is not None and image.digest == runnable.digest:
            return image.tag
    return runnable.image


def _state(path: Path) -> tuple[int, int] | None:
    """What tells a new file from the one that was there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def what_is_needed(
    checkpoint: Path | None, when: str, options: Asked | None, copied: Path | None = None
) -> Need | None:
    """The image for a command, or None if the installed mtt will do, or will say what is wrong.

    The version of the options counts, if they name one, and that of the checkpoint otherwise.

    :param copied: what is read in the place of the checkpoint
    """
    asked = None if when == "auto" else f"asked for with --image {when}"
    begun_in = None
    if options is not None and options.differs():
        name, version, loads = str(options.name), options.version, False
        who = f"{options.where} asks for"
    elif checkpoint is not None:
        try:
            header = checkpoints.read_header(copied or checkpoint)
        except UserError:
            if asked is not None:
                raise
            return None  # not a checkpoint, or damaged: the command itself says it best
        name, version = header.architecture.name, header.architecture.version
        begun_in = header.image_digest
        # Options that name the installed version are for here, and so is what is said of the checkpoint.
        here = options is not None and options.version != _INSTALLED
        who, loads = f"{checkpoint} needs", here or _loads_here(header)
    elif asked is not None:
        if options is None or options.name is None:
            where = None if options is None else options.where
            raise UserError("the options name no architecture", where=where)
        name, who, loads = options.name, "", True
        version = architecture_registry.get(name).version
    else:
        return None
    image = catalogue.for_version(name, version, catalogue.load(), begun_in)
    if asked is not None:
        return Need(image, f"{name}@{version}", asked)
    if loads or image is None:
        return None
    installed = (
        f"{name}@{architecture_registry.get(name).version}"
        if name in architecture_registry.names()
        else f"no {name}"
    )
    return Need(image, f"{name}@{version}", f"{who} {name}@{version}, and {installed} is installed")


def _loads_here(header: Header) -> bool:
    try:
        checkpoints.check_architecture(header)
    except UserError:
        return False
    return True


def find(need: Need, when: str, words: Sequence[str], folder: Path) -> tuple[Runnable, list[str]]:
    """An image in a form that runs here, its digest checked; and what the user should know of it.

    :raises UserError: there is none; with the commands that bring one
    """
    notes: list[str] = []
    candidates: Iterable[Runnable | UserError]
    if when not in _WHEN:
        candidates, notes = _given(Path(when), None if need.image is None else need.image.digest)
    elif need.image is not None:
        candidates = _forms_of(need.image)
    else:
        raise UserError(
            f"the catalogue has no image for {need.version}",
            hint=f"images there are: {', '.join(image.tag for image in catalogue.load())}",
        )
    failures: list[tuple[Runnable, str]] = []
    wrong: list[UserError] = []
    for candidate in candidates:
        if isinstance(candidate, UserError):
            wrong.append(candidate)
            notes.append(f"{candidate.where} is left out: {candidate.what}")
            continue
        why_not = try_out(candidate, folder)
        if why_not is None:
            return candidate, notes
        failures.append(
            (candidate, f"{candidate.program} with {Path(candidate.image).name}: {why_not}")
        )
    raise wrong[0] if wrong else _nothing_runs(need, failures, words)


def _forms_of(image: Image) -> Iterator[Runnable | UserError]:
    """The ways to run an image of the catalogue, the quickest first, or what is wrong with a form.

    One by one: to check the content of a form takes as long as reading it.
    """
    place = storage.images_folder()
    for lane in _lanes(image):
        for forms in (
            lambda lane=lane: _forms(store.sif_of(lane, place), lane.digest),
            lambda lane=lane: [] if lane.digest is None else stored(lane.digest),
            lambda lane=lane: _forms(store.layout_of(lane, place), lane.digest),
        ):
            try:
                yield from forms()
            except UserError as error:
                yield error


def _lanes(image: Image) -> list[Image]:
    """Where there is a GPU, the image for it comes before the one for CPUs."""
    others = [lane for lane in catalogue.load() if lane.lane != "cpu"] if has_gpu() else []
    return [
        *(lane for lane in others if (lane.name, lane.version) == (image.name, image.version)),
        image,
    ]


def _forms(path: Path, digest: str | None) -> list[Runnable]:
    """The ways to run what is at ``path``, if anything is, once its content has been checked."""
    if path.is_file():
        usable, checked = store.checked_sif(path, digest)
        return [Runnable(program, str(usable), checked) for program in _OF_SIF]
    if path.is_dir():
        layout = store.checked_layout(path, digest)
        programs = ("apptainer", "singularity", "podman")
        start = tuple(layout.entrypoint)
        image = f"oci:{layout.path}"
        return [Runnable(program, image, layout.digest, start) for program in programs]
    return []


def _given(path: Path, digest: str | None) -> tuple[list[Runnable], list[str]]:
    """The image that the user names: another than the catalogue's is theirs to choose."""
    if not path.exists():
        raise UserError(
            f"there is no image at {path}",
            hint="--image takes auto, never, always, a .sif file or the folder of an OCI layout",
        )
    path = path.absolute()
    if path.is_file() and trusted.image_of(own_place.sha256_once(path)) is None:
        note = f"nothing that you trust says what {path.name} is: its digest is not checked"
        return [Runnable(program, str(path), None) for program in _OF_SIF], [note]
    forms = _forms(path, None)
    if not forms:
        raise UserError(
            "this is no image: neither a file nor a folder",
            where=str(path),
            hint="--image takes auto, never, always, a .sif file or the folder of an OCI layout",
        )
    other = digest is not None and forms[0].digest != digest
    return forms, [f"{path.name} is not the image of the catalogue, {digest}"] if other else []


def _nothing_runs(
    need: Need, failures: Sequence[tuple[Runnable, str]], words: Sequence[str]
) -> UserError:
    tag = need.version if need.image is None else need.image.tag
    if failures:
        there = "install Apptainer or podman, or run it where they are"
        if not any(runnable.image.endswith(".sif") for runnable, _ in failures):
            there = f"make the form that runs most widely, mtt image build {tag} --sif; or {there}"
        return UserError(
            f"{need.why}, but nothing here can run the image",
            where="; ".join(text for _, text in failures),
            hint=f"{there}: apptainer run {tag.replace('@', '-')}.sif {shlex.join(words)}",
        )
    reference = "" if need.image is not None and need.image.reference else " REGISTRY/NAME:TAG"
    return UserError(
        f"{need.why}, but the image is not here",
        where=str(storage.images_folder()),
        hint=f"get it with 'mtt image pull {tag}{reference} --sif' or 'mtt image build {tag} "
        "--sif', and give the same command again",
    )


def handed_on(words: Sequence[str], only_here: Mapping[str, bool]) -> list[str]:
    """Return the command without what has been done before the image runs, and old ones do not know.

    :param only_here: flags to leave out, and whether a value follows; see
        :func:`mtt.cli.arguments.flags_only_here`
    """
    kept: list[str] = []
    is_value = False
    for number, word in enumerate(words):
        if word == "--":  # what follows are no flags, whatever they look like
            return [*kept, *words[number:]]
        if not is_value and word.partition("=")[0] not in only_here:
            kept.append(word)
        is_value = not is_value and only_here.get(word, False)
    return kept


def record(output: Path, need: Need, runnable: Runnable, words: Sequence[str]) -> None:
    """Write into the model file, or beside predictions into their errors, where they were made.

    The statement about the model file, which the image wrote, names the new content.
    """
    from mtt.export.archive_edit import with_record
    from mtt.export.provenance import restate
    from mtt.files import (
        LARGEST_MODEL,
        LARGEST_TEXT,
        read_regular,
        sha256_of,
        write_atomic,
    )

    content = {
        "image": name_of(runnable),
        "digest": runnable.digest,
        "runtime": runnable.program,
        "command": ["mtt", *words],
        "why": need.why,
    }
    errors = output.with_suffix(".json")
    if output.suffix == ".pt" and output.is_file():
        before = sha256_of(output)
        write_atomic(
            output,
            with_record(
                read_regular(output, LARGEST_MODEL), RECORD, canonical_json(content).encode()
            ),
        )
        restate(output, before, sha256_of(output))
    elif output.suffix != ".pt" and errors.is_file():
        report = {**json.loads(read_regular(errors, LARGEST_TEXT)), "made_in": content}
        write_atomic(errors, (json.dumps(report, indent=2) + "\n").encode())


def _asked_for(arguments: Namespace) -> Asked | None:
    """What the options of a training say, without a check: those of an old version are unknown here."""
    options = options_of(arguments)
    if options is None or arguments.command != "train":
        return None
    content = content_of(options)
    architecture = content.get("architecture") if isinstance(content, dict) else None
    section = architecture if isinstance(architecture, dict) else {"name": architecture}
    name, version = section.get("name"), section.get("version")
    for key, _, value in (override.partition("=") for override in arguments.overrides):
        if key.strip() == "architecture.version" and value.strip().isdecimal():
            version = int(value)
    return Asked(
        str(options),
        name if isinstance(name, str) else None,
        version if type(version) is int else _INSTALLED,
    )
