"""The compiled parts of this installation: where they are, and whether they fit the installed libraries.

The command line comes here at every start, so this imports little.
"""

import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path

from mtt.errors import UserError

# The variable that names another mtt-verify.
PROGRAM = "MTT_VERIFY"
# Patch releases of torch keep their interface; those of metatensor and metatomic add to it.
_CLASHES = {"torch": 2, "metatensor-torch": 2, "metatomic-torch": 2}


def installed_file(*parts: str) -> Path:
    """Return the path of a built file; editable installations keep these in site-packages."""
    # Not by an import of mtt: that package imports this one.
    package = importlib.util.find_spec("mtt")
    assert package is not None
    paths = [Path(root, *parts) for root in package.submodule_search_locations or []]
    return next((path for path in paths if path.exists()), paths[-1])


def check_installed() -> None:
    """Check the compiled parts if there are any, and if they are the ones that will be used.

    :raises UserError: they were built against other versions
    """
    built = installed_file("_build_info.json")
    if built.is_file() and not os.environ.get(PROGRAM):
        check_versions(json.loads(built.read_text()))


def check_versions(built: Mapping[str, str]) -> None:
    """Compare what the compiled parts were built against with what is installed, without importing.

    :param built: version by package name
    :raises UserError: naming each clash, both versions, and how to rebuild
    """
    import importlib.metadata  # 10 ms

    clashes = []
    for package, digits in _CLASHES.items():
        try:
            installed = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            clashes.append(f"{package} {built[package]} is not installed any more")
            continue
        if _leading(installed, digits) != _leading(built[package], digits):
            clashes.append(f"{package} {built[package]}, but {installed} is installed")
    if clashes:
        raise UserError(
            "the compiled parts of mtt were built against " + "; ".join(clashes),
            hint=rebuild_hint(),
        )


def rebuild_hint() -> str:
    """What to do when compiled parts and libraries do not fit."""
    return (
        "install the versions named first, or build again: "
        "pip install --no-build-isolation --no-deps --force-reinstall . in the source folder"
    )


def _leading(version: str, digits: int) -> list[str]:
    return version.split("+")[0].split(".")[:digits]
