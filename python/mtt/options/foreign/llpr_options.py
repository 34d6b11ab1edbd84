"""metatrain's wrapper for uncertainties of a trained model, as a fine-tuning of no epochs.

Uncertainties are no architecture here: the model stays that of the checkpoint which is wrapped.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Final

from mtt.errors import UserError
from mtt.filetypes.recognize import architecture_of
from mtt.options.foreign.metatrain_keys import LLPR_MODEL, LLPR_TRAINING
from mtt.options.foreign.tables import Problems, apply
from mtt.options.reading.document import Node
from mtt.options.reading.problems import Problem

NAME: Final = "llpr"
# Where the checkpoint does not tell.
_SOME: Final = "pet"


def translate_llpr(architecture: Node, targets: Collection[str], problems: Problems) -> None:
    """Translate the section ``architecture`` in place.

    :param targets: names of the targets of the data
    """
    model = architecture.get("model") or architecture.replaced({})
    training = architecture.get("training") or architecture.replaced({})
    for section, fates in ((model, LLPR_MODEL), (training, LLPR_TRAINING)):
        apply(section, fates, (), problems)
        for key, node in dict(section.value or {}).items():
            if key not in fates:
                place = node.key_place or node.place
                problems.append(Problem(place, node.name, "is no option of llpr"))
                del section.value[key]
    base = training.get("model_checkpoint")
    name = _architecture_of(base, training, problems)
    if base is None or name is None:
        # What it is of is not known, and the rest need not be doubted for that.
        _replace(architecture, _SOME, {})
        return
    del training.value["model_checkpoint"]
    uncertainty = {"method": base.replaced(NAME)}
    members = model.get("num_ensemble_members")
    if members is not None:
        size = _members(members, targets, problems)
        uncertainty["num_ensemble_members"] = members.replaced(size)
    fine_tune = {"read_from": base, "baseline": base.replaced("keep")}
    hypers = {
        "num_epochs": base.replaced(0),
        "fine_tune": base.replaced(fine_tune),
        "uncertainty": base.replaced(uncertainty),
    }
    _replace(architecture, name, {**training.value, **hypers})


def _architecture_of(base: Node | None, training: Node, problems: Problems) -> str | None:
    """Return the architecture of the checkpoint that is wrapped; None if there is no such."""
    if base is None or not isinstance(base.value, str) or not base.value:
        node = base or training
        message = "names no checkpoint of the model that is to have uncertainties"
        advice = "give it, as in model_checkpoint: model.ckpt"
        name = "architecture.training.model_checkpoint"
        problems.append(Problem(node.shown_at(), name, message, advice))
        return None
    try:
        return architecture_of(Path(base.value).expanduser())
    except UserError as error:
        problems.append(Problem(base.shown_at(), base.name, error.what))
        return None


def _members(node: Node, targets: Collection[str], problems: Problems) -> int:
    """Return the size of the largest ensemble; all targets get it."""
    sizes = node.plain()
    if not isinstance(sizes, dict):
        message = "must be a mapping from targets to numbers of members, as in {energy: 32}"
        problems.append(Problem(node.shown_at(), node.name, message))
        return 0
    for name, size in sizes.items():
        wrong = "" if name in targets else f"there is no target '{name}'"
        if type(size) is not int or size < 0:
            wrong = f"the number of members of '{name}' must be a whole number"
        if wrong:
            problems.append(Problem(node.shown_at(), node.name, wrong))
            return 0
    return max(sizes.values(), default=0)


def _replace(architecture: Node, name: str, training: dict[str, Node]) -> None:
    named = architecture.get("name") or architecture
    architecture.value = {
        "name": named.replaced(name),
        "training": (architecture.get("training") or architecture).replaced(training),
    }
