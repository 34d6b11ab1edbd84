"""Says which models ``mtt-verify`` must accept, and makes them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from small_pet import checkpoint_of_pet, export_pet
from toy_models import OtherUnits, export_toy
from toy_targets import export_several
from toy_turning import export_exact
from toy_uncertain import export_uncertain

Verdict = Callable[[str], dict[str, Any]]
SOUND: dict[str, dict[str, Any]] = {
    # Each kind in one precision, as each takes long; the quickstart has PET in the other.
    "pair float64": {"model": "pair", "dtype": "float64"},
    "embedded float32": {"model": "embedded", "dtype": "float32"},
    "embedded with farther pairs": {"model": "embedded", "module_options": {"strict": False}},
    "pair in other units": {"model": OtherUnits, "length_unit": "nm", "unit": "kJ/mol"},
    "embedded without golden pack": {"model": "embedded", "golden": False},
    "several targets float32": {"dtype": "float32"},
    "turning outputs float64": {"dtype": "float64"},
    "uncertain float32": {"dtype": "float32"},
    "PET float64": {"precision": 64},
}


def export_sound(name: str, path: Path) -> None:
    """Write the model of that name in ``SOUND``."""
    if name.startswith("PET"):
        folder = path.with_suffix("")
        folder.mkdir()
        export_pet(checkpoint_of_pet(folder, **SOUND[name]), path)
    elif name.startswith("several"):
        export_several(path, **SOUND[name])
    elif name.startswith("turning"):
        export_exact(path, **SOUND[name])
    elif name.startswith("uncertain"):
        export_uncertain(path, **SOUND[name])
    else:
        export_toy(path, **SOUND[name])
