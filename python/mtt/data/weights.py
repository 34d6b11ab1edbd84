"""How much single structures count in the loss: ``config_weight``, and weights by ``config_type``."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mtt.data.ase_frames import as_numbers, find
from mtt.data.frames import Frame
from mtt.data.structure import Structure
from mtt.errors import UserError

if TYPE_CHECKING:
    from mtt.options.schema.datasets import WeightOptions

logger = logging.getLogger(__name__)

KEY: Final = "config_weight"
# What stands for every config_type that has no weight of its own.
OTHERS: Final = "Default"


def with_weights(
    structures: list[Structure],
    frames: Sequence[Frame],
    options: "WeightOptions | None",
    path: Path,
) -> list[Structure]:
    """Return the structures with the weights that the options give them.

    :param frames: what the structures were made of
    :raises UserError: weights that are no numbers from 0 on, or that no structure has; a group of
        the options that no structure is in
    """
    if options is None:
        unused = sum(find(frame.atoms, KEY) is not None for frame in frames)
        if unused:
            text = "%s: %d structures have a %s, which is not used; 'weights: on' uses it"
            logger.info(text, path, unused, KEY)
        return structures
    own = [_own(frame, options.key) for frame in frames]
    asked = "key" in options.model_fields_set or not options.config_type
    if asked and all(weight is None for weight in own):
        raise UserError(
            f"weights were asked for, but no structure has the key '{options.key}'",
            where=str(path),
            hint="leave 'weights' out, or give weights: {key: ...} or {config_type: {...}}",
        )
    groups = {structure.config_type for structure in structures}
    unknown = [name for name in options.config_type if name not in groups and name != OTHERS]
    if unknown:
        known = ", ".join(f"'{name}'" for name in sorted(groups - {""})) or "none"
        raise UserError(
            f"no structure has the config_type '{unknown[0]}', which 'weights' names",
            where=str(path),
            hint=f"those in the data: {known}",
        )
    default = options.config_type.get(OTHERS, 1.0)
    return [
        replace(
            structure,
            weight=(1.0 if weight is None else weight)
            * options.config_type.get(structure.config_type, default),
        )
        for structure, weight in zip(structures, own, strict=True)
    ]


def _own(frame: Frame, key: str) -> float | None:
    value = find(frame.atoms, key)
    if value is None:
        return None
    array = as_numbers(value, "weight", key, frame.source)
    if array.size != 1 or array.min() < 0.0:
        raise UserError(
            f"the weight under the key '{key}' is no number from 0 on: {array.tolist()}",
            where=frame.source,
        )
    return float(array.ravel()[0])
