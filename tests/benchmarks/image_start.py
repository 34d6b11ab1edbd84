"""How long a training takes to start in an image and outside it, in turns, on the quickstart.

    python tests/benchmarks/image_start.py pet-2.sif --times 3

Run it as an ordinary user, where Apptainer is installed. Prints seconds from the command to the first
line about the run's folder, and the difference of the shortest ones.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "ethanol"


def seconds(command: list[str]) -> float:
    """From the start of the program until it says where results go; then it is stopped."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("ethanol.xyz", "options.yaml"):
            shutil.copyfile(EXAMPLE / name, Path(folder) / name)
        began = time.monotonic()
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if "results go to" in line:
                    break
            passed = time.monotonic() - began
            process.terminate()
            process.communicate()
    return passed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sif", type=Path)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--apptainer", default="apptainer")
    args = parser.parse_args()
    inside = [args.apptainer, "-q", "run", str(args.sif.resolve()), "train", "options.yaml"]
    bare = [sys.executable, "-m", "mtt", "train", "options.yaml"]
    rows = [(seconds(inside), seconds(bare)) for _ in range(args.times)]
    for image, outside in rows:
        print(f"image {image:6.2f} s   bare {outside:6.2f} s")
    difference = min(one for one, _ in rows) - min(one for _, one in rows)
    print(f"shortest in the image - shortest bare: {difference:+.2f} s")


if __name__ == "__main__":
    main()
