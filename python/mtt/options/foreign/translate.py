"""Writes options as metatrain spells them the way mtt does, on the document tree.

This is done before short forms are written out and before the typed models see the tree, so what a run
stores is in our spelling only. Values stay at their places in the file. :mod:`metatrain_keys` says what
becomes of each option.
"""

from collections.abc import Collection, Mapping

from mtt import architecture_registry
from mtt.errors import UserError
from mtt.options.foreign import data_options, llpr_options, loss_options
from mtt.options.foreign.metatrain_keys import (
    ARCHITECTURE,
    FINETUNE,
    LONG_RANGE,
    MODELS,
    TOP,
    TRAINING,
)
from mtt.options.foreign.presets import translate_preset
from mtt.options.foreign.tables import Problems, apply, move
from mtt.options.reading.document import Node
from mtt.options.reading.problems import Problem
from mtt.options.schema.datasets import ENERGY
from mtt.options.schema.long_range import LongRangeOptions
from mtt.options.schema.options import ArchitectureOptions, Options
from mtt.options.schema.training import FineTuneOptions, TrainingHypers


def translate_options(root: Node) -> Problems:
    """Translate an options.yaml in place; return what is asked for and not possible.

    What is not possible is taken out of the tree.
    """
    problems: Problems = []
    apply(root, TOP, Options.model_fields, problems)
    data_options.translate_splits(root, problems)
    data_options.translate_datasets(root.get("training_set"), problems)
    architecture = root.get("architecture")
    if architecture is None:
        return problems
    apply(architecture, ARCHITECTURE, ArchitectureOptions.model_fields, problems)
    if architecture_name(root) == llpr_options.NAME and isinstance(architecture.value, dict):
        llpr_options.translate_llpr(architecture, data_options.targets_of(root), problems)
    name = architecture_name(root)
    translate_preset(architecture, name, problems)
    if name in MODELS:
        apply(architecture.get("model"), MODELS[name], _hypers(name), problems)
        _translate_long_range(architecture.get("model"), problems)
    training = architecture.get("training")
    if training is not None:
        apply(training, TRAINING, TrainingHypers.model_fields, problems)
        _translate_bounds(training, problems)
        _translate_finetune(training, problems)
        _translate_no_baseline(training, data_options.targets_of(root), problems)
        loss_options.translate_loss(training, data_options.targets_of(root), problems)
    return problems


def translate_data(node: Node) -> Problems:
    """Translate datasets, as in an eval.yaml, in place; return what is not possible."""
    problems: Problems = []
    data_options.translate_datasets(node, problems)
    return problems


def architecture_name(root: Node) -> str | None:
    """Return the name of the architecture, written in full or short."""
    node = root.get("architecture")
    if node is not None and isinstance(node.value, dict):
        node = node.get("name")
    return node.value if node is not None and isinstance(node.value, str) else None


def _hypers(name: str) -> Collection[str]:
    try:
        hypers: Mapping[str, object] = architecture_registry.get(name).ModelHypers.model_fields
    except UserError:
        return ()
    return hypers


def _translate_long_range(model: Node | None, problems: Problems) -> None:
    """Take ``long_range`` that is enabled as ours is; otherwise there is none."""
    node = None if model is None else model.get("long_range")
    enable = None if node is None else node.get("enable")
    if model is None or node is None:
        return
    if enable is not None and enable.value is False:
        model.value["long_range"] = node.replaced(None)
    elif enable is not None and enable.value is True:
        del node.value["enable"]
        apply(node, LONG_RANGE, LongRangeOptions.model_fields, problems)


def _translate_bounds(training: Node, problems: Problems) -> None:
    """Take the bounds of older versions, ``[min, max]``, as the options that came in their place.

    A bound that is null is none; with ``max_atoms_per_batch``, metatrain does not look at them.
    """
    node = training.get("batch_atom_bounds")
    if node is None:
        return
    del training.value["batch_atom_bounds"]
    most = training.get("max_atoms_per_batch")
    if node.value is None or (most is not None and most.value is not None):
        return
    if not isinstance(node.value, list) or len(node.value) != 2:
        message = "must be two numbers of atoms, as in [10, 200]; null for no bound"
        problems.append(Problem(node.shown_at(), node.name, message))
        return
    for name, bound in zip(("min_atoms_per_batch", "max_atoms_per_batch"), node.value, strict=True):
        if bound.value is not None:
            training.value[name] = bound


def _translate_no_baseline(training: Node, targets: Collection[str], problems: Problems) -> None:
    """Write ``use_atomic_baseline: false`` as a baseline of zero of each target, in place."""
    node = training.get("use_atomic_baseline")
    if node is None or "use_atomic_baseline" in TrainingHypers.model_fields:
        return
    if node.dead or node.value is True:
        del training.value["use_atomic_baseline"]
        return
    own = training.get("atomic_baseline")
    if node.value is not False:
        message = "must be true or false"
        problems.append(Problem(node.shown_at(), node.name, message))
    elif own is not None and own.value:
        message = "contradicts atomic_baseline, which is there as well: leave one of them out"
        problems.append(Problem(node.key_place or node.place, node.name, message))
    else:
        base = training.get("fine_tune")
        if base is None or base.value is None:
            zeros = {name: node.replaced(0.0) for name in targets or [ENERGY]}
            training.value["atomic_baseline"] = node.replaced(zeros)
        elif isinstance(base.value, dict):
            base.value.setdefault("baseline", node.replaced("keep"))
    del training.value["use_atomic_baseline"]


def _translate_finetune(training: Node, problems: Problems) -> None:
    """Take ``finetune`` as ``fine_tune``; without a base, metatrain looks at none of the rest."""
    node = training.get("finetune")
    if node is None:
        return
    base = node.get("read_from")
    if node.value is None or (base is not None and base.value is None):
        del training.value["finetune"]
        return
    apply(node, FINETUNE, FineTuneOptions.model_fields, problems)
    move(training, "finetune", "fine_tune", problems)
