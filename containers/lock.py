"""Write the locks of a recipe: exact versions and hashes of Debian packages and wheels.

Run ``python containers/lock.py containers/pet/1`` on Debian of the suite below, x86-64, with Python
3.11; then read the difference. apt and pip resolve, as they are set up here; nothing is installed,
and nothing is written about where a file came from, so that the locks work with any mirror. With
names of locks behind the folder it writes just these: ``... containers/pet/2-cuda python`` where
pip takes torch for GPUs.
``... containers/mace/1 --extra mace --beyond containers/pet/1/python.lock`` writes ``extra.lock``, of
what ``mtt[mace]`` brings beyond the wheels of that lock, for a layer on top of theirs.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

SUITE = "bookworm"
ROOT = Path(__file__).parents[1]
# Name of a lock -> what is asked for.
DEBIAN = {
    "base": ["usr-is-merged", "python3.11", "libstdc++6"],
    "builder": ["usr-is-merged", "python3.11", "python3.11-dev", "g++"],
}
# Of the base: what a program in C++ needs.
VERIFY = ("gcc-12-base", "libc6", "libgcc-s1", "libstdc++6")
# The parts of direct.txt that run, and that build; pip itself installs both.
PYTHON = {"python": "run", "build": "build"}
HEADER = "# Made by containers/lock.py: do not edit."


def direct(part: str) -> list[str]:
    """The requirements under comments that begin with ``part`` in requirements/direct.txt."""
    found: list[str] = []
    section = ""
    for line in (ROOT / "requirements" / "direct.txt").read_text().splitlines():
        if line.startswith("# "):
            section = line.removeprefix("# ").partition(",")[0]
        elif line and section == part:
            found.append(line)
    return found


def extra(name: str) -> list[str]:
    """The requirements of an extra in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: list[str] = project["optional-dependencies"][name]
    return found


def debian_lines(wanted: list[str]) -> list[str]:
    """One line for each package in a new system that has these: name, version, hash."""
    with tempfile.TemporaryDirectory() as folder:
        status = Path(folder) / "status"
        command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=essential", "--format=null"]
        command += ["--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"]
        command += [f"--include={','.join(wanted)}", SUITE, "/dev/null"]
        command += [f'--customize-hook=cp "$1/var/lib/dpkg/status" {status}']
        subprocess.run(command, check=True)
        text = status.read_text()
    lines = []
    for paragraph in text.split("\n\n"):
        fields = dict(re.findall(r"^(\w+): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            name, version = fields["Package"], fields["Version"]
            lines.append(f"{name} {version} sha256:{deb_hash(name, version)}")
    return sorted(lines)


def deb_hash(name: str, version: str) -> str:
    """SHA-256 of a package, as the mirror's signed list has it."""
    command = ["apt-cache", "show", f"{name}={version}"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    match = re.search(r"^SHA256: ([0-9a-f]{64})$", shown, re.MULTILINE)
    assert match is not None, f"{name} {version} has no SHA256"
    return match[1]


def python_lines(wanted: list[str], versions: Path) -> list[str]:
    """One line for each wheel that pip would install, at the versions of another lock where it has them."""
    locked = versions.read_text().splitlines()
    with tempfile.TemporaryDirectory() as folder:
        report, limits = Path(folder) / "report.json", Path(folder) / "limits.txt"
        limits.write_text("\n".join(line.split(" --hash")[0] for line in locked))
        command = [sys.executable, "-m", "pip", "install", "-qq", "--dry-run", "--ignore-installed"]
        command += ["--report", str(report), "-c", str(limits), *wanted]
        subprocess.run(command, check=True)
        packages = json.loads(report.read_text())["install"]
    lines = []
    for package in packages:
        name = package["metadata"]["name"].lower().replace("_", "-")
        if not package["download_info"]["url"].endswith(".whl"):
            # What it would be built with is not locked.
            print(f"{name} is left out: it has no wheel. See that the image works without.")
            continue
        digest = package["download_info"]["archive_info"]["hashes"]["sha256"]
        lines.append(f"{name}=={package['metadata']['version']} --hash=sha256:{digest}")
    return sorted(lines)


def write(path: Path, lines: list[str]) -> None:
    """Write a lock."""
    path.write_text("\n".join([HEADER, *lines, ""]))


def main() -> None:
    """Write the locks of the recipe in the folder given, all or those named."""
    parser = argparse.ArgumentParser(description="Write the locks of a recipe.")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("only", nargs="*", metavar="LOCK")
    parser.add_argument("--extra", help="of mtt, such as mace: write only what it brings")
    parser.add_argument("--beyond", type=Path, help="the lock of the wheels that are there already")
    args = parser.parse_args()
    recipe, only = args.recipe, args.only
    recipe.mkdir(parents=True, exist_ok=True)
    if args.extra is not None:
        there = set(args.beyond.read_text().splitlines())
        lines = python_lines([*direct("run"), *extra(args.extra)], args.beyond)
        write(recipe / "extra.lock", [line for line in lines if line not in there])
        return
    for name, wanted in DEBIAN.items():
        if only and name not in only:
            continue
        lines = debian_lines(wanted)
        write(recipe / f"{name}.lock", lines)
        if name == "base":
            write(recipe / "verify.lock", [one for one in lines if one.split()[0] in VERIFY])
    for name, part in PYTHON.items():
        if only and name not in only:
            continue
        more = ["pip", "setuptools"] if name == "build" else []
        locked = ROOT / "requirements" / "locked.txt"
        write(recipe / f"{name}.lock", python_lines([*direct(part), *more], locked))


if __name__ == "__main__":
    main()
