"""The checkpoint: one safetensors file with a typed header; reading, writing, versions, upgrades.

Nothing is ever unpickled. ``safetensors_file`` has the bytes and their checks, ``formats`` the
versions of what they mean, ``header`` what comes out, ``upgrade_steps`` the way from an old
architecture to the installed one. Torch is imported by what needs it only.
"""

from mtt.checkpoint.compatibility import check_architecture
from mtt.checkpoint.header import (
    ArchitectureRecord,
    Best,
    Conditions,
    Header,
    MeasuredError,
    Origin,
    Position,
    UpgradedFrom,
)
from mtt.checkpoint.load_model import build_model, load_model, load_potential, precision_dtype
from mtt.checkpoint.reading import read, read_header
from mtt.checkpoint.writing import hash_of, package_versions, to_bytes, write

__all__ = [
    "ArchitectureRecord",
    "Best",
    "Conditions",
    "Header",
    "MeasuredError",
    "Origin",
    "Position",
    "UpgradedFrom",
    "build_model",
    "check_architecture",
    "hash_of",
    "load_model",
    "load_potential",
    "package_versions",
    "precision_dtype",
    "read",
    "read_header",
    "to_bytes",
    "write",
]
