"""Write locked.txt, docs.txt and wheel.txt: exact versions and hashes of all that their direct files need.

Install ``uv``, run ``python requirements/lock.py`` in mtt's environment, then read the difference. uv
resolves once for all supported Pythons; nothing is installed. Only names, versions and hashes are
written, never where a file came from, so the lock works with any mirror.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.markers import Marker, default_environment
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

FOLDER = Path(__file__).parent
PYTHONS = ((3, 11), (3, 12), (3, 13), (3, 14))
# Up to the glibc of Debian 12; the names of older ones are aliases.
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in range(36, 4, -1)]
PLATFORMS += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]
# Installed by name before the lock: which build of torch fits is the machine's business.
UNLOCKED = {"torch"}
# Belongs to CUDA builds of torch, and is not asked for by anything else.
CUDA_PREFIXES = ("nvidia-", "cuda-", "triton")
HEADER = """\
# Made by requirements/lock.py from {source}: do not edit. Python 3.11 to 3.14, Linux x86-64, without torch.
# Install with: pip install --no-deps --require-hashes -r requirements/{lock}
"""
# What is asked for by name, and its lock.
LOCKS = {"direct.txt": "locked.txt", "docs-direct.txt": "docs.txt", "wheel-direct.txt": "wheel.txt"}
# The oldest Python of each lock that does not hold for every 3.11: what it holds asks for more.
OLDEST = {"docs-direct.txt": "3.11.5"}


def resolve(requirements: Path) -> list[dict]:
    """Ask uv which packages the supported Pythons need, with the files of each."""
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder) / "pylock.toml"
        command = ["uv", "pip", "compile", "--quiet", "--universal", "--no-header"]
        oldest = OLDEST.get(requirements.name, version(PYTHONS[0]))
        command += ["--python-version", oldest, "--format", "pylock.toml"]
        subprocess.run([*command, "-o", str(lock), str(requirements)], check=True)
        return list(tomllib.loads(lock.read_text())["packages"])


def version(python: tuple[int, int]) -> str:
    """Return the version of a Python as people write it."""
    return ".".join(map(str, python))


def needed_by(package: dict) -> list[tuple[int, int]]:
    """Return the supported Pythons on Linux that need a package."""
    environment = {**default_environment(), "sys_platform": "linux", "platform_machine": "x86_64"}
    if "marker" not in package:
        return list(PYTHONS)
    marker = Marker(package["marker"])
    return [
        python
        for python in PYTHONS
        if marker.evaluate(
            {
                **environment,
                "python_version": version(python),
                "python_full_version": f"{version(python)}.0",
            }
        )
    ]


def tags(python: tuple[int, int]) -> Iterator[Tag]:
    """Yield the tags of the wheels that a Python can install."""
    yield from cpython_tags(python, platforms=PLATFORMS)
    yield from compatible_tags(python, platforms=PLATFORMS)


def digests(package: dict, pythons: list[tuple[int, int]]) -> list[str]:
    """Return the hashes of the wheels that some Python may choose, or of the source.

    :raises SystemExit: one of the Pythons has no wheel, though others have
    """
    hashes = set()
    without = []
    for python in pythons:
        fitting = set(tags(python))
        wheels = [
            wheel["hashes"]["sha256"]
            for wheel in package.get("wheels", [])
            if parse_wheel_filename(wheel["url"].rpartition("/")[2])[3] & fitting
        ]
        hashes.update(wheels)
        without += [] if wheels else [version(python)]
    if hashes and without:
        sys.exit(f"{package['name']} {package['version']} has no wheel for Python {without}")
    if not hashes:
        print(f"{package['name']}: no wheel, it is built from source", file=sys.stderr)
        hashes.add(package["sdist"]["hashes"]["sha256"])
    return sorted(hashes)


def locked_lines(packages: list[dict]) -> list[str]:
    """Return one line for each package, sorted by name."""
    lines = []
    for package in packages:
        pythons = needed_by(package)
        if not pythons or package["name"] in UNLOCKED or package["name"].startswith(CUDA_PREFIXES):
            continue
        marker = ""
        if pythons != list(PYTHONS):
            marker = " ; " + " or ".join(f"python_version == '{version(one)}'" for one in pythons)
        hashes = " ".join(f"--hash=sha256:{digest}" for digest in digests(package, pythons))
        lines.append(f"{package['name']}=={package['version']}{marker} {hashes}")
    return sorted(lines)


def main() -> None:
    """Resolve the files named on the command line, or all, and replace their locks."""
    for source in sys.argv[1:] or LOCKS:
        lines = locked_lines(resolve(FOLDER / source))
        header = HEADER.format(source=source, lock=LOCKS[source])
        (FOLDER / LOCKS[source]).write_text(header + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
