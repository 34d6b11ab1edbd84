"""Options that have no effect beside others: contradictions of whoever writes them by hand."""

from typing import Final

from mtt.options.reading.document import Node
from mtt.options.reading.problems import Problem

_MOST: Final = "max_atoms_per_batch"
_FEWEST: Final = "min_atoms_per_batch"
_SIZE: Final = "batch_size"


def without_effect(root: Node, harmless: bool) -> list[Problem]:
    """Return what is wrong with what a batch is to have.

    Only a file tells what is given: all options that are stored have a value.

    :param root: of an options.yaml in the spelling of mtt, before defaults are written out
    :param harmless: it is only to be said, as of files of metatrain, which writes the same and takes it,
        and of files that mtt wrote with every default
    """
    architecture = root.get("architecture")
    training = None if architecture is None else architecture.get("training")
    if training is None:
        return []
    size, most, fewest = (training.get(name) for name in (_SIZE, _MOST, _FEWEST))
    limited = most is not None and most.value is not None
    if limited and size is not None:
        idle, message = size, f"has no effect with {_MOST}, by which batches are made"
        advice = "leave out one of the two"
    elif not limited and fewest is not None and fewest.value not in (None, 0):
        idle, message = fewest, f"has no effect without {_MOST}: batches have {_SIZE} structures"
        advice = f"give {_MOST} as well, or leave it out"
    else:
        return []
    advice = "" if harmless else advice
    return [Problem(idle.shown_at(), idle.name, message, advice, harmless=harmless)]


def written_in_full(root: Node) -> bool:
    """Return whether a file states both versions, as those that mtt writes beside a model do."""
    architecture = root.get("architecture")
    own = None if architecture is None else architecture.get("version")
    return own is not None and root.get("version") is not None
