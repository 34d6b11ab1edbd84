"""Tells CMake where the wheels are that mtt is compiled against, and writes ``_build_info.json``.

Called as ``wheels.py SOURCE_DIR BUILD_INFO``. Nothing is imported: importing torch takes seconds,
and a package can be found without. Prints, one per line: mtt version, torch minor version, folders
of torch, metatensor, metatensor_torch, metatomic/torch, vesin, nlohmann_json.
"""

import importlib.metadata
import importlib.util
import json
import pathlib
import re
import sys


def folder(package: str) -> pathlib.Path:
    """Folder of an importable package; exits with a message that says what to install."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(
            f"mtt is compiled against the Python package '{package}', which {sys.executable} does\n"
            "not have. Install the build requirements of pyproject.toml first, or build with isolation."
        )
    return pathlib.Path(next(iter(spec.submodule_search_locations)))


def main() -> None:
    """Prints what CMake needs and writes the build information."""
    source, build_info = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    match = re.search(
        r'^__version__ = "(.*)"$', (source / "python/mtt/version.py").read_text(), re.MULTILINE
    )
    if match is None:
        sys.exit("python/mtt/version.py does not define __version__")
    packages = ["torch", "metatensor-core", "metatensor-torch", "metatomic-torch", "vesin"]
    folders = [folder(name) for name in ("torch", "metatensor", "metatensor_torch")]
    metatomic = folder("metatomic") / "torch"
    folders += [metatomic, folder("vesin"), folder("nlohmann_json")]
    # "2.13.0+cpu" and "2.13.0" have the same interface; the part after the plus names the hardware.
    versions = {name: importlib.metadata.version(name).split("+")[0] for name in packages}
    torch_minor = ".".join(versions["torch"].split(".")[:2])
    if not (metatomic / f"torch-{torch_minor}").is_dir():
        version = versions["metatomic-torch"]
        sys.exit(f"metatomic-torch {version} has no build for torch {torch_minor}")
    build_info.parent.mkdir(parents=True, exist_ok=True)
    build_info.write_text(json.dumps(versions, indent=2, sort_keys=True) + "\n")
    print(match.group(1), torch_minor, *folders, sep="\n")


if __name__ == "__main__":
    main()
