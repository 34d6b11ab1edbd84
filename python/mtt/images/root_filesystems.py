"""Debian packages in, the base of an image out: one tar file, the same bytes on any machine."""

import hashlib
import tempfile
from pathlib import Path
from urllib.parse import quote

from mtt.files import sha256_of
from mtt.images import packages, tools

_HOOKS = "/usr/share/mmdebstrap/hooks/merged-usr"
# Lock -> how much of it runs, a system with its maintainers' scripts or files only, and when the hook
# of the recipe is called.
VARIANTS = {
    "base": ("essential", "customize"),
    "builder": ("essential", "customize"),
    "verify": ("extract", "extract"),
}


def make(
    name: str, locks: Path, recipe: Path, suite: str, epoch: int, cache: Path, fresh: bool = False
) -> Path:
    """The tar file of the root ``name`` (base, builder or verify), made unless it is there.

    :param fresh: make it even so
    :raises UserError: a package cannot be had, or a program is missing or fails
    """
    lock, hook = locks / f"{name}.lock", recipe / "root.sh"
    key = hashlib.sha256(lock.read_bytes() + hook.read_bytes() + f"{suite} {epoch}".encode())
    made = cache / "roots" / f"{name}-{key.hexdigest()}.tar"
    if made.is_file() and not fresh:
        return made
    made.parent.mkdir(parents=True, exist_ok=True)
    tools.need("mmdebstrap", "dpkg-deb", "unshare")
    debs = packages.read_debs(lock)
    files = packages.debs(debs, cache)
    with tempfile.TemporaryDirectory(dir=cache) as place:
        folder = Path(place)
        folder.chmod(0o755)
        mirror = _mirror(debs, files, suite, folder / "mirror")
        command = ["unshare", "--net", "mmdebstrap", "--quiet", "--mode=root"]
        variant, when = VARIANTS[name]
        command += [f"--variant={variant}", f"--{when}-hook=sh '{hook}' \"$1\""]
        if variant == "essential":
            command.append(f"--hook-dir={_HOOKS}")
        command += [f"--include={','.join(files)}", suite, str(folder / "root.tar")]
        command.append(f"deb [trusted=yes] copy:{quote(str(mirror))} {suite} main")
        # Nothing of who builds it: variables have changed what packages' scripts and Python write.
        environment = {"SOURCE_DATE_EPOCH": str(epoch), "LC_ALL": "C.UTF-8"}
        tools.run(command, f"making the root '{name}'", environment=environment)
        (folder / "root.tar").rename(made)
    return made


def _mirror(debs: list[packages.Deb], files: dict[str, Path], suite: str, folder: Path) -> Path:
    """A repository of just these packages, from which a root is made without the network."""
    index = folder / "dists" / suite / "main" / "binary-amd64" / "Packages"
    index.parent.mkdir(parents=True)
    paragraphs = []
    for deb in debs:
        path = files[deb.name]
        packages.put(path, folder, f"{deb.name}.deb")
        control = tools.run(["dpkg-deb", "-f", path], "reading a Debian package").rstrip()
        size = path.stat().st_size
        paragraphs.append(
            f"{control}\nFilename: {deb.name}.deb\nSize: {size}\nSHA256: {deb.sha256}\n"
        )
    index.write_text("\n".join(paragraphs), encoding="utf-8")
    digest, size = sha256_of(index), index.stat().st_size
    release = (
        f"Suite: {suite}\nCodename: {suite}\nComponents: main\nArchitectures: amd64\nSHA256:\n"
    )
    release += f" {digest} {size} main/binary-amd64/Packages\n"
    (folder / "dists" / suite / "Release").write_text(release)
    return folder
