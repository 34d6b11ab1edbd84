"""Locks in, bill of materials out: CycloneDX 1.5, in JSON, the same bytes for the same locks."""

import json
from pathlib import Path
from typing import Any

from mtt.images import packages
from mtt.images.catalogue import Image


def text(image: Image, roots: list[Path], wheels: list[Path]) -> str:
    """What is inside of an image: its Debian packages, its wheels, and mtt itself.

    :param roots: locks of Debian packages
    :param wheels: locks of Python packages
    """
    components = [_debian(deb, image.suite) for lock in roots for deb in packages.read_debs(lock)]
    for lock in wheels:
        components += [_python(*wheel) for wheel in packages.read_wheels(lock).items()]
    itself = {
        "type": "application",
        "name": "mtt",
        "version": image.commit,
        "licenses": [{"license": {"id": "BSD-3-Clause"}}],
    }
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "name": image.name,
                "version": str(image.version),
            }
        },
        "components": [*components, itself],
    }
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def _debian(deb: packages.Deb, suite: str) -> dict[str, Any]:
    return {
        "type": "library",
        "name": deb.name,
        "version": deb.version,
        "purl": f"pkg:deb/debian/{deb.name}@{deb.version}?distro={suite}",
        "hashes": [{"alg": "SHA-256", "content": deb.sha256}],
    }


def _python(requirement: str, digest: str) -> dict[str, Any]:
    name, _, version = requirement.partition("==")
    return {
        "type": "library",
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name}@{version}",
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }
