"""metatrain's wrapper for uncertainties of a trained model, as a fine-tuning of no epochs.

Uncertainties are no architecture here: the model stays that of the checkpoint which is wrapped.
"""

from pathlib import Path
from typing import Final

from mtt.errors import UserError
from mtt.filetypes.recognize import architecture_of
from mtt.options.foreign.metatrain_keys import LLPR_MODEL, LLPR_TRAINING
from mtt.options.foreign.tables import Problems, apply
from mtt.options.reading.document import Node
from mtt.options.reading.problems import Problem

NAME: Final = "llpr"


def translate_llpr(architecture: Node, problems: Problems) -> None:
    """Translate the section ``architecture`` in place."""
    model = architecture.get("model") or architecture.replaced({})
    training = architecture.get("training") or architecture.replaced({})
    apply(model, LLPR_MODEL, (), problems)
    apply(training, LLPR_TRAINING, (), problems)
    base = training.get("model_checkpoint")
    if base is None or not isinstance(base.value, str):
        place = training.key_place or training.place
        message = "names no checkpoint of the model that is to have uncertainties"
        advice = "give it, as in model_checkpoint: model.ckpt"
        problems.append(Problem(place, "architecture.training.model_checkpoint", message, advice))
        # What it is of is not known, and the rest need not be doubted for that.
        _replace(architecture, "pet", {})
        return
    del training.value["model_checkpoint"]
    try:
        name = architecture_of(Path(base.value).expanduser())
    except UserError as error:
        problems.append(Problem(base.shown_at(), base.name, error.what))
        name = "pet"
    members = model.get("num_ensemble_members")
    sizes = members.plain() if members is not None else {}
    uncertainty = {"method": base.replaced(NAME)}
    if isinstance(sizes, dict) and sizes:
        largest = max(value if isinstance(value, int) else 0 for value in sizes.values())
        uncertainty["num_ensemble_members"] = members.replaced(largest) if members else base
    fine_tune = {"read_from": base, "baseline": base.replaced("keep")}
    hypers = {
        "num_epochs": base.replaced(0),
        "fine_tune": base.replaced(fine_tune),
        "uncertainty": base.replaced(uncertainty),
    }
    _replace(architecture, name, {**training.value, **hypers})


def _replace(architecture: Node, name: str, training: dict[str, Node]) -> None:
    named = architecture.get("name") or architecture
    architecture.value = {
        "name": named.replaced(name),
        "training": (architecture.get("training") or architecture).replaced(training),
    }
