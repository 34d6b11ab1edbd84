"""Judge one model file with ``mtt-verify`` built for several libtorch versions. Run by hand:

``python tests/benchmarks/libtorch_matrix.py MODEL FOLDER PYTHON PYTHON ...``

Each PYTHON is that of an environment with another torch, in which mtt is installed: ``make TORCH=2.11.0 wheel`` in
a clone of its own, and ``pip install`` of the wheel there. FOLDER gets the reports and the records. Each version gives
its verdict and records what it computes (``--record``); then each compares itself with the record of each
(``--against``). The table has the largest difference of each pair, as a part of what the check tolerates. How it came
out is in docs/develop/versions.md.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_ASK = (
    "import importlib.metadata as m, platform; print(m.version('torch'), platform.python_version())"
)


def ask(python: str) -> str:
    """Return the versions of an environment, as the name of its row."""
    done = subprocess.run([python, "-c", _ASK], capture_output=True, text=True, check=True)
    torch, version = done.stdout.split()
    return f"torch {torch}, Python {version}"


def verify(python: str, model: Path, report: Path, *words: str | Path) -> dict[str, Any]:
    """Return the report of one run; a verdict of any kind will do."""
    command = [python, "-m", "mtt", "verify", model, "--json", report, *words]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        sys.exit(f"{python}: {done.stderr}")
    return dict(json.loads(report.read_text()))


def against(report: dict[str, Any]) -> str:
    """Return the comparison with the record: what share of the tolerance its largest difference takes."""
    checks = [one for one in report["checks"] if one["name"].startswith("recorded ")]
    shares = [one["measured"] / one["tolerance"] for one in checks if one.get("tolerance")]
    verdicts = sorted({one["status"] for one in checks if one["status"] != "skip"})
    return f"{'/'.join(verdicts)} {max(shares):.1e}" if shares else f"none of {len(checks)}"


def main() -> int:
    """Print the verdicts and the table; the exit code is 1 if any of them is not a pass."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("pythons", nargs="+")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    names = {python: ask(python) for python in given.pythons}
    records = {python: given.folder / f"{row}.record.json" for row, python in enumerate(names)}
    passed = True
    for row, (python, name) in enumerate(names.items()):
        report = given.folder / f"{row}.json"
        found = verify(python, given.model, report, "--record", records[python])
        print(f"{row}: {name}: {found['verdict']}, {len(found['checks'])} checks", flush=True)
        passed &= found["verdict"] == "pass"
    for row, python in enumerate(names):
        cells = []
        for column, other in enumerate(names):
            report = given.folder / f"{row}-{column}.json"
            found = verify(
                python, given.model, report, "--against", records[other], "--only", "PARITY"
            )
            cells.append(against(found))
            passed &= found["verdict"] == "pass"
        print(f"{row} | " + " | ".join(cells), flush=True)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
