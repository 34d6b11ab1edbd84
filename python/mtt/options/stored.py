"""Stored options of older versions, brought to the newest one in steps of one version.

Only what checkpoints hold passes through here. A step gets and returns plain options with every
default written out, and must not change what they mean; the golden checkpoints of that version
prove it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from mtt.options.schema.options import OPTIONS_VERSION

Plain = dict[str, Any]
# from version -> step to the next; there has been one version so far
UPGRADES: Mapping[int, Callable[[Plain], Plain]] = {}


def upgrade_options(stored: Plain) -> Plain:
    """``stored`` in the newest version, or as it is if it is of a newer one or of none."""
    version = stored.get("version")
    if type(version) is not int or version < 1:
        return stored
    for old in range(version, OPTIONS_VERSION):
        stored = {**UPGRADES[old](stored), "version": old + 1}
    return stored
