"""Locked inputs of an image: fetched once, checked by their hashes each time that they are used."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from mtt.errors import UserError
from mtt.files import sha256_of
from mtt.images import tools

_APT_HELPER = "/usr/lib/apt/apt-helper"
_AS_ROOT = ["-o", "APT::Sandbox::User=root"]


@dataclass(frozen=True)
class Deb:
    """A Debian package of a lock."""

    name: str
    version: str
    sha256: str


def read_debs(lock: Path) -> list[Deb]:
    """The Debian packages of a lock, whose lines are ``NAME VERSION sha256:HASH``."""
    debs = []
    for line in _lines(lock):
        name, version, digest = line.split()
        debs.append(Deb(name, version, digest.removeprefix("sha256:")))
    return debs


def read_wheels(lock: Path) -> dict[str, str]:
    """Hash by requirement, of a lock whose lines are ``NAME==VERSION --hash=sha256:HASH``."""
    pairs = [line.partition(" --hash=sha256:") for line in _lines(lock)]
    return {requirement: digest for requirement, _, digest in pairs}


def debs(wanted: list[Deb], cache: Path) -> dict[str, Path]:
    """The packages' files by name, fetched by apt from wherever it is set up to.

    :raises UserError: apt no longer has one at the version of the lock, or has another file for it
    """
    folder = cache / "debs"
    folder.mkdir(parents=True, exist_ok=True)
    missing = [deb for deb in wanted if not _is(folder / f"{deb.sha256}.deb", deb.sha256)]
    if missing:
        tools.need("apt-get")
        with tempfile.TemporaryDirectory(dir=cache) as place:
            replaced = [deb for deb, known in _offered(missing) if deb.version not in known]
            found = [deb for deb in replaced if _beside_its_successor(deb, Path(place))]
            command = ["apt-get", "-qq", *_AS_ROOT, "download"]
            command += [f"{deb.name}={deb.version}" for deb in missing if deb not in found]
            try:
                if len(found) < len(missing):
                    tools.run(command, "fetching Debian packages", Path(place))
            except UserError as error:
                gone = ("Can't find a source", "was not found", "Unable to locate package")
                if not any(text in str(error) for text in gone):
                    raise
                raise UserError(
                    "apt finds no source for the Debian packages that the image is locked to",
                    hint="run 'apt-get update' first; if they are no longer in the suite, set apt "
                    "up for a snapshot of Debian of the image's time",
                ) from error
            for path in Path(place).glob("*.deb"):
                path.rename(folder / f"{sha256_of(path)}.deb")
        for deb in missing:
            if not (folder / f"{deb.sha256}.deb").is_file():
                raise UserError(
                    f"the Debian package {deb.name} {deb.version} is not the one that was locked",
                    hint="set apt up for a mirror of the time of the image; snapshots of Debian "
                    "have all of them",
                )
    return {deb.name: folder / f"{deb.sha256}.deb" for deb in wanted}


def _offered(wanted: Iterable[Deb]) -> list[tuple[Deb, list[str]]]:
    """Packages with the versions that apt's lists have."""
    lines = tools.run(["apt-cache", "madison", *(deb.name for deb in wanted)], "asking apt")
    pairs = [[word.strip() for word in line.split("|")[:2]] for line in lines.splitlines()]
    return [(deb, [pair[1] for pair in pairs if pair[0] == deb.name]) for deb in wanted]


def _beside_its_successor(deb: Deb, folder: Path) -> bool:
    """Fetch what the lists have a newer version of: the pool keeps old ones, for security for years."""
    ((_, versions),) = _offered([deb])
    for version in dict.fromkeys(versions):
        asked = ["apt-get", "-qq", "download", "--print-uris", f"{deb.name}={version}"]
        place, _, name = tools.run(asked, "asking apt").split("'")[1].rpartition("/")
        # Names of files have no epoch.
        file = f"{deb.name}_{deb.version.rpartition(':')[2]}_{name.rpartition('_')[2]}"
        fetch = [_APT_HELPER, *_AS_ROOT, "download-file", f"{place}/{quote(file)}"]
        try:
            tools.run([*fetch, folder / file, f"SHA256:{deb.sha256}"], "fetching a Debian package")
            return True
        except UserError:
            continue
    return False


def wheels(lock: Path, cache: Path) -> list[Path]:
    """The wheels of a lock, fetched by pip as the user has set it up.

    :raises UserError: pip cannot find one with the locked hash
    """
    folder = cache / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = read_wheels(lock)
    missing = [name for name, digest in wanted.items() if _wheel(folder, digest) is None]
    if missing:
        if sys.version_info[:2] != (3, 11):
            raise UserError("wheels of an image are fetched with Python 3.11, and this is another")
        with tempfile.TemporaryDirectory(dir=cache) as place:
            listed = Path(place) / "lock.txt"
            lines = [f"{name} --hash=sha256:{wanted[name]}\n" for name in missing]
            listed.write_text("".join(lines))
            command = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps"]
            command += [
                "--require-hashes",
                "--only-binary",
                ":all:",
                "-d",
                place,
                "-r",
                str(listed),
            ]
            tools.run(command, "fetching wheels")
            for path in Path(place).glob("*.whl"):
                home = folder / sha256_of(path)
                home.mkdir(exist_ok=True)
                path.rename(home / path.name)
    paths = [(name, _wheel(folder, digest)) for name, digest in wanted.items()]
    lost = [name for name, path in paths if path is None]
    if lost:
        raise UserError(f"pip did not bring the locked wheels of {', '.join(lost)}")
    return [path for _, path in paths if path is not None]


def put(path: Path, folder: Path, name: str | None = None) -> None:
    """Place a file of the cache in a folder, without a copy where the disk allows that."""
    target = folder / (name or path.name)
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)


def _wheel(folder: Path, digest: str) -> Path | None:
    wheel = next((folder / digest).glob("*.whl"), None)
    return wheel if wheel is not None and _is(wheel, digest) else None


def _is(path: Path, digest: str) -> bool:
    """Whether the file is there and whole; a damaged one is fetched again."""
    return path.is_file() and sha256_of(path) == digest


def _lines(lock: Path) -> list[str]:
    text = lock.read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]
