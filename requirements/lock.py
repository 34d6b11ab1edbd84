"""Write locked.txt and docs.txt: the exact version and hash of all that direct.txt and docs-direct.txt need.

Run ``python requirements/lock.py`` with Python 3.11 on Linux x86-64, then read the difference.
pip itself resolves and reports; nothing is installed. Only names, versions and hashes are
written, never where a file came from, so the lock works with any mirror.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
# Installed by name before the lock: which build of torch fits is the machine's business.
UNLOCKED = {"torch"}
# Belongs to CUDA builds of torch, and is not asked for by anything else.
CUDA_PREFIXES = ("nvidia-", "cuda-", "triton")
HEADER = """\
# Made by requirements/lock.py from {source}: do not edit. Python 3.11, Linux x86-64, without torch.
# Install with: pip install --no-deps --require-hashes -r requirements/{lock}
"""
# What is asked for by name, and its lock.
LOCKS = {"direct.txt": "locked.txt", "docs-direct.txt": "docs.txt"}


def resolve(requirements: Path) -> list[dict]:
    """Ask pip which files it would install into an empty environment."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "-qq", "--dry-run"]
        command += ["--ignore-installed", "--report", str(report), "-r", str(requirements)]
        subprocess.run(command, check=True)
        return list(json.loads(report.read_text())["install"])


def locked_lines(packages: list[dict]) -> list[str]:
    """Return one line for each package, sorted by name."""
    lines = []
    for package in packages:
        name = package["metadata"]["name"].lower().replace("_", "-")
        if name in UNLOCKED or name.startswith(CUDA_PREFIXES):
            continue
        if not package["download_info"]["url"].endswith(".whl"):
            print(f"{name}: no wheel, it is built from source", file=sys.stderr)
        digest = package["download_info"]["archive_info"]["hashes"]["sha256"]
        lines.append(f"{name}=={package['metadata']['version']} --hash=sha256:{digest}")
    return sorted(lines)


def main() -> None:
    """Resolve the files named on the command line, or all, and replace their locks."""
    for source in sys.argv[1:] or LOCKS:
        lines = locked_lines(resolve(FOLDER / source))
        header = HEADER.format(source=source, lock=LOCKS[source])
        (FOLDER / LOCKS[source]).write_text(header + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
