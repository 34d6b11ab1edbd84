"""Options of older versions, brought to the newest one in steps of one version.

Stored options, which checkpoints hold, have every default written out. A step gets and returns them so,
and must not change what they mean; the golden checkpoints of that version prove it. Files that people
write leave defaults out: one that states an older version gets those of that version.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from mtt.options.schema.base import OPTIONS_VERSION

Plain = dict[str, Any]
# Options of the trainer whose default was another one: version -> its defaults, where they are not those
# of the next version. What is new in that version has here what does as the older program did.
OLD_DEFAULTS: Final[Mapping[int, Plain]] = {
    1: {"learning_rate": 1e-4, "scale_targets": True, "best_model_smoothing": 0.0},
}


def _choose_by_smoothed_metric(stored: Plain) -> Plain:
    architecture = stored.get("architecture")
    if not isinstance(architecture, dict) or not isinstance(architecture.get("training"), dict):
        return stored  # no run of ours wrote this: whoever reads it says so
    training = {"best_model_smoothing": 0.0, **architecture["training"]}
    return {**stored, "architecture": {**architecture, "training": training}}


# from version -> step to the next
UPGRADES: Mapping[int, Callable[[Plain], Plain]] = {1: _choose_by_smoothed_metric}


def upgrade_options(stored: Plain) -> Plain:
    """``stored`` in the newest version, or as it is if it is of a newer one or of none."""
    version = stored.get("version")
    if type(version) is not int or version < 1:
        return stored
    for old in range(version, OPTIONS_VERSION):
        stored = {**UPGRADES[old](stored), "version": old + 1}
    return stored


def defaults_of(version: int) -> Plain:
    """Return the defaults of the trainer's options in an older version, where they differ from today's."""
    defaults: Plain = {}
    for old in range(version, OPTIONS_VERSION):
        defaults = {**OLD_DEFAULTS.get(old, {}), **defaults}
    return defaults
