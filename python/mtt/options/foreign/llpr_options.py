"""metatrain's wrapper for uncertainties of a trained model, as a fine-tuning.

Uncertainties are no architecture here: the model stays that of the checkpoint which is wrapped. There are
no epochs, or those in which its ensemble is trained.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Final

from mtt.errors import UserError
from mtt.filetypes.recognize import architecture_of
from mtt.options.foreign.metatrain_keys import (
    ENSEMBLE_LOSSES,
    LLPR_ENSEMBLE,
    LLPR_MODEL,
    LLPR_TRAINING,
)
from mtt.options.foreign.tables import Problems, apply
from mtt.options.reading.document import Node
from mtt.options.reading.problems import Problem
from mtt.options.schema.training import MOST_MEMBERS, USUAL_MEMBERS

NAME: Final = "llpr"
# Where the checkpoint does not tell.
_SOME: Final = "pet"


def translate_llpr(architecture: Node, targets: Collection[str], problems: Problems) -> None:
    """Translate the section ``architecture`` in place.

    :param targets: names of the targets of the data
    """
    model = architecture.get("model") or architecture.replaced({})
    training = architecture.get("training") or architecture.replaced({})
    epochs = training.get("num_epochs")
    if epochs is None or epochs.value is None or not isinstance(training.value, dict):
        epochs = None
        for key in ("num_epochs", *LLPR_ENSEMBLE):
            if isinstance(training.value, dict):
                training.value.pop(key, None)
    of_training = {**LLPR_TRAINING, **LLPR_ENSEMBLE}
    for section, fates in ((model, LLPR_MODEL), (training, of_training)):
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
    loss = _loss(training, base, uncertainty, problems) if epochs is not None else None
    fine_tune = {"read_from": base, "baseline": base.replaced("keep")}
    hypers = {
        "num_epochs": epochs if epochs is not None else base.replaced(0),
        "fine_tune": base.replaced(fine_tune),
        "uncertainty": base.replaced(uncertainty),
        **({} if loss is None else {"loss": loss}),
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
        if not wrong and size > MOST_MEMBERS:
            wrong = (
                f"mtt gives at most {MOST_MEMBERS} members: the standard deviation of {USUAL_MEMBERS} is "
                "within about 1 % of the uncertainty, which is that of infinitely many"
            )
        if wrong:
            problems.append(Problem(node.shown_at(), node.name, wrong))
            return 0
    return max(sizes.values(), default=0)


def _loss(
    training: Node, base: Node, uncertainty: dict[str, Node], problems: Problems
) -> Node | None:
    """Take the options of the training of the ensemble out, as ours; return those of the loss.

    metatrain trains on values only, and so does what is returned here.
    """
    node, everything = (training.value.pop(key, None) for key in ("loss", "train_all_parameters"))
    name, parts = _function(node or base.replaced("gaussian_nll_ensemble"), problems)
    uncertainty["ensemble_loss"] = (node or base).replaced(name)
    sections: dict[str, Node] = {}
    if everything is not None:
        uncertainty["train_all_parameters"] = everything
        if everything.value is True:
            sections = {key: base.replaced(0.0) for key in ("forces", "stress")}
    if parts:
        sections["targets"] = base.replaced(
            {target: base.replaced(part) for target, part in parts.items()}
        )
    return base.replaced(sections) if sections else None


def _function(loss: Node, problems: Problems) -> tuple[str, dict[str, dict[str, Node]]]:
    """Return the one function of the loss, as mtt calls it, and weight and reduction of targets."""
    entries = loss.value if isinstance(loss.value, dict) else {"": loss}
    names: list[str] = []
    parts: dict[str, dict[str, Node]] = {}
    for target, entry in entries.items():
        kind = entry.get("type") if isinstance(entry.value, dict) else entry
        for key, part in entry.value.items() if isinstance(entry.value, dict) else ():
            if key == "weight" or (key == "reduction" and part.value != "mean"):
                parts.setdefault(str(target), {})[key] = part
            elif key not in ("type", "reduction"):
                message = "is no option of the loss of an ensemble, which is of values only"
                problems.append(Problem(part.key_place or part.place, part.name, message))
        name = "gaussian_nll_ensemble" if kind is None else kind.plain()
        names.append(ENSEMBLE_LOSSES.get(name, "") if isinstance(name, str) else "")
        if not names[-1]:
            known = ", ".join(ENSEMBLE_LOSSES)
            message = f"ensembles are trained by one of {known}"
            problems.append(Problem((kind or entry).shown_at(), (kind or entry).name, message))
    if len(set(names)) > 1 and all(names):
        message = "mtt trains all ensembles of a run by one function"
        problems.append(Problem(loss.shown_at(), loss.name, message))
    return next(filter(None, names), "gaussian_nll"), parts


def _replace(architecture: Node, name: str, training: dict[str, Node]) -> None:
    named = architecture.get("name") or architecture
    architecture.value = {
        "name": named.replaced(name),
        "training": (architecture.get("training") or architecture).replaced(training),
    }
