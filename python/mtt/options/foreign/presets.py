"""The presets of metatrain's PET, written out as the options that they stand for.

metatrain 2026.4 has none; a branch of it (commit 96b5f64, ``pet/presets.py``) does, and an example of its
documentation uses one. The numbers are those of that branch.
"""

from collections.abc import Mapping
from typing import Any, Final

from mtt.options.foreign.tables import Problems
from mtt.options.reading.document import Node
from mtt.options.reading.problems import Problem

_MODEL: Final = (
    *("cutoff", "d_pet", "d_node", "d_feedforward"),
    *("num_heads", "num_attention_layers", "num_gnn_layers"),
)
_TRAINING: Final = ("batch_size", "learning_rate")


def _preset(model: tuple[Any, ...], training: tuple[Any, ...]) -> Mapping[str, Mapping[str, Any]]:
    return {
        "model": dict(zip(_MODEL, model, strict=True)),
        "training": dict(zip(_TRAINING, training, strict=True)),
    }


PRESETS: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
    "default": {},
    "fast": _preset((3.5, 64, 128, 128, 4, 1, 1), (32, 2e-4)),
    "medium": _preset((4.5, 128, 256, 256, 8, 2, 2), (16, 1e-4)),
    "large": _preset((5.5, 256, 512, 512, 16, 3, 3), (8, 5e-5)),
}


def translate_preset(architecture: Node, name: str | None, problems: Problems) -> None:
    """Write a preset out, in place; what the file says of an option counts more.

    :param name: of the architecture
    """
    node = architecture.get("preset")
    if node is None:
        return
    del architecture.value["preset"]
    if node.value is None:
        return
    preset = PRESETS.get(node.value) if isinstance(node.value, str) else None
    if name != "pet" or preset is None:
        known = ", ".join(PRESETS)
        message = f"presets are those of pet: {known}"
        problems.append(
            Problem(node.shown_at(), node.name, message, "write the sizes of the model")
        )
        return
    for key, values in preset.items():
        section = architecture.get(key)
        if section is None or section.value is None:
            section = architecture.value[key] = node.replaced({})
        if isinstance(section.value, dict):
            for option, value in values.items():
                section.value.setdefault(option, node.replaced(value))
