"""Locked inputs in, image out: an OCI layout whose manifest digest is the same wherever it is built.

apt and pip fetch, mmdebstrap makes the roots, and buildah does the rest without a network.
"""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mtt.errors import UserError
from mtt.images import layout, packages, root_filesystems, sbom, storage, tools
from mtt.images.catalogue import Image, sources

# What the templates leave in a recipe's folder, beside the Containerfile.
_SCRIPTS = ("libraries.sh", "mtt.sh", "prune.py", "prune.sh")
_LOCKS = ("python.lock", "build.lock")
_LIBRARIES = "libraries.lock"
_EXTRA = ("extra.lock", "extra.sh")
SBOM = "sbom.cdx.json"

Tell = Callable[[str], None]


def build(image: Image, folder: Path, tell: Tell, fresh: bool = False) -> layout.Layout:
    """Build an image into ``folder``, as the layout ``NAME-VERSION`` with its SBOM beside it.

    The layout appears under its name only when it is whole. If one is there already that is the
    same, it stays; another one is moved aside.

    :param fresh: make roots and layers anew, instead of taking those of an earlier build
    :raises UserError: a program or an input is missing, or the disk is full
    """
    tools.need("apt-get", "buildah", "dpkg-deb", "git", "mmdebstrap", "unshare")
    if os.geteuid() != 0:
        raise UserError(
            "images are built by root: their files belong to several users",
            hint="run the command with sudo; a finished image runs as any user",
        )
    cache = storage.cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with storage.building(cache), _public_files():
        clear_leftovers(cache, folder)
        with tempfile.TemporaryDirectory(dir=cache, prefix="building-") as place:
            context = Path(place)
            context.chmod(0o755)
            _fill(image, context, cache, tell, fresh)
            tell("building the image, without network")
            with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as result:
                made = Path(result) / "layout"
                _buildah(image, context, made, cache, fresh)
                built = layout.read(made)
                _publish(made, folder / image.stem, built.digest)
                shutil.copyfile(context / SBOM, folder / f"{image.stem}.{SBOM}")
    return layout.read(folder / image.stem)


@contextlib.contextmanager
def _public_files() -> Iterator[None]:
    """Everybody may read what is in an image, whatever the umask of who builds it."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def clear_leftovers(cache: Path, folder: Path) -> None:
    """Remove what a build that was killed has left; nobody else builds now."""
    for place, prefix in ((cache, "building-*"), (folder, ".building-*")):
        for path in place.glob(prefix):
            if time.time() - path.stat().st_mtime > 1:
                shutil.rmtree(path, ignore_errors=True)


def _fill(image: Image, context: Path, cache: Path, tell: Tell, fresh: bool) -> None:
    """All that the Containerfile names, in one folder."""
    top = sources()
    recipe, locks = top / image.recipe, top / image.locks
    if not (recipe / "Containerfile").is_file():
        raise UserError(f"the recipe of {image.tag} is missing", where=str(recipe))
    tell("Debian packages and base roots")
    containerfile = (recipe / "Containerfile").read_text()
    base = "verify" if "/out/verify" in containerfile else "base"
    for name, target in (("builder", "builder.tar"), (base, "base.tar")):
        root = root_filesystems.make(name, locks, recipe, image.suite, image.epoch, cache, fresh)
        packages.put(root, context, target)
    tell("wheels")
    used = {name: locks / name for name in _LOCKS} | {_LIBRARIES: top / image.libraries}
    for name, lock in used.items():
        shutil.copyfile(lock, context / name)
    # Apart, as pip could not tell the torch that mtt is compiled with from that for GPUs.
    for folder, names in (("wheels", _LOCKS), ("libraries", ("build.lock", _LIBRARIES))):
        (context / folder).mkdir()
        wheels = {
            wheel.name: wheel for name in names for wheel in packages.wheels(used[name], cache)
        }
        for wheel in wheels.values():
            packages.put(wheel, context / folder)
    for name in ("Containerfile", *_SCRIPTS):
        shutil.copyfile(recipe / name, context / name)
    roots_used = [locks / f"{base}.lock"]
    wheels_used = [top / image.libraries]
    if image.extra is not None:
        extra_lock, script = _EXTRA
        shutil.copyfile(top / image.extra, context / extra_lock)
        shutil.copyfile(recipe / script, context / script)
        (context / "extra").mkdir()
        for wheel in packages.wheels(top / image.extra, cache):
            packages.put(wheel, context / "extra")
        wheels_used.append(top / image.extra)
    (context / SBOM).write_text(sbom.text(image, roots_used, wheels_used), encoding="utf-8")
    archive: list[str | Path] = [
        "git",
        "-C",
        top,
        "archive",
        "--format=tar",
        "-o",
        context / "source.tar",
    ]
    try:
        tools.run([*archive, image.commit], "taking the sources")
    except UserError as error:
        raise UserError(
            f"the sources of {image.tag} are not in this clone: commit {image.commit}",
            where=str(top),
            hint="fetch the whole history: git fetch --unshallow",
        ) from error


def _buildah(image: Image, context: Path, made: Path, cache: Path, fresh: bool) -> None:
    storage: list[str | Path] = ["--root", cache / "storage", "--runroot", cache / "run"]
    name = f"mtt/{image.name}:{image.version}"
    command: list[str | Path] = [
        "unshare",
        "--net",
        "buildah",
        *storage,
        "bud",
        "--isolation=chroot",
        "--layers",
    ]
    command += ["--no-cache"] if fresh else []
    command += [f"--timestamp={image.epoch}", "--identity-label=false", "--format=oci"]
    command += ["--pull-never", "--tag", name, context]
    tools.run(command, f"building {image.tag}")
    # The name in the layout is for people; the digest does not depend on it.
    push: list[str | Path] = [
        "buildah",
        *storage,
        "push",
        "--quiet",
        name,
        f"oci:{made}:{image.stem}",
    ]
    tools.run(push, f"writing {image.tag}")


def _publish(made: Path, target: Path, digest: str) -> None:
    """Give the new image its name; what has that name is moved aside, unless it is the same."""
    if target.exists():
        before = _digest(target)
        if before == digest:
            return
        ending = "damaged" if before is None else before.removeprefix("sha256:")[:12]
        aside = target.with_name(f"{target.name}.{ending}")
        if before is not None and before == _digest(aside):
            # It is there twice: this one goes with the folder that the new one was made in.
            aside = made.with_name("before")
        if aside.exists():
            raise UserError(
                "an earlier image is in the way, and so is the place to move it to",
                where=str(aside),
                hint="move it away",
            )
        target.rename(aside)
    made.rename(target)


def _digest(path: Path) -> str | None:
    """Of a whole image, or None."""
    try:
        return layout.read(path).digest
    except UserError:
        return None
