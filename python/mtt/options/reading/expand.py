"""Short forms, written out in full on the document tree before the typed models see it.

Nodes that are made here stand where the short form stands, so errors point to what was written. Which
short forms there are, :mod:`mtt.options.schema.short_forms` says.
"""

from collections.abc import Mapping

from mtt.options.reading.document import Node
from mtt.options.schema.datasets import GRADIENTS
from mtt.options.schema.short_forms import LEFT_OUT, NOTHING, short_form


def expand_options(root: Node) -> None:
    """Expand an options.yaml in place."""
    _expand_architecture(root)
    training = root.get("training_set")
    first = None
    if training is not None:
        datasets = expand_datasets(training)
        root.value["training_set"] = datasets
        first = datasets.value[0] if datasets.value else None
    kept = {
        key: node
        for key in ("targets", "extra_data")
        if isinstance(first, Node) and (node := first.get(key)) is not None
    }
    for name in ("validation_set", "test_set"):
        _write_out(root, name, "SplitOptions")
        split = root.get(name)
        own = None if split is None else split.get("datasets")
        if split is not None and own is not None and own.value is not None:
            split.value["datasets"] = _completed(own, kept)


def expand_datasets(node: Node) -> Node:
    """Return a path, a dataset or a list of them as a list of datasets in full."""
    entries = node.value if isinstance(node.value, list) else [node]
    return node.replaced([_expand_dataset(entry) for entry in entries if not entry.dead])


def _write_out(parent: Node, key: str, model: str) -> None:
    """Put the full form in the place of an option of that model, if it is there and written short."""
    node = parent.get(key)
    if node is None:
        return
    form = short_form(model, node.value)
    if form is not None and form.stands_for == LEFT_OUT:
        del parent.value[key]
    else:
        parent.value[key] = _full(node, model)


def _full(node: Node, model: str) -> Node:
    form = short_form(model, node.value)
    if form is None:
        return node
    if form.stands_for == NOTHING:
        return node.replaced(None)
    if not form.stands_for:
        return node.replaced({})
    full = node.replaced(node.value)
    for key in reversed(form.stands_for.split(".")):
        full = node.replaced({key: full})
    return full


def _expand_architecture(root: Node) -> None:
    _write_out(root, "architecture", "ArchitectureOptions")
    architecture = root.get("architecture")
    if architecture is None:
        return
    _write_out(architecture, "model", "ModelHypers")
    model = architecture.get("model")
    if model is not None:
        _write_out(model, "long_range", "LongRangeOptions")
    _write_out(architecture, "training", "TrainingHypers")
    training = architecture.get("training")
    if training is not None:
        _write_out(training, "loss", "LossOptions")
        _expand_loss(training.get("loss"))
        _write_out(training, "fine_tune", "FineTuneOptions")
        _write_out(training, "uncertainty", "UncertaintyOptions")


def _expand_loss(loss: Node | None) -> None:
    targets = None if loss is None else loss.get("targets")
    named = targets.value.values() if targets and isinstance(targets.value, dict) else ()
    for node in (loss, *named):
        if node is not None:
            for part in ("forces", "stress"):
                _write_out(node, part, "PartLossOptions")
            _write_out(node, "shift", "ShiftOptions")


def _expand_dataset(node: Node) -> Node:
    node = _full(node, "DatasetOptions")
    _write_out(node, "systems", "SystemsOptions")
    _write_out(node, "weights", "WeightOptions")
    targets = node.get("targets")
    if targets is not None and isinstance(targets.value, dict):
        for name, target in targets.value.items():
            targets.value[name] = _expand_target(target)
    return node


def _expand_target(node: Node) -> Node:
    node = _full(node, "TargetOptions")
    for name in GRADIENTS:
        _write_out(node, name, "GradientOptions")
        gradient = node.get(name)
        if gradient is not None and isinstance(gradient.value, dict):
            key = {"key": gradient.replaced(name)}
            node.value[name] = gradient.replaced({**key, **gradient.value})
    return node


def _completed(node: Node, kept: Mapping[str, Node]) -> Node:
    """Return datasets, each with those parts of the first training set that it says nothing about."""
    datasets = expand_datasets(node)
    for dataset in datasets.value:
        for key, part in kept.items():
            if isinstance(dataset.value, dict):
                dataset.value.setdefault(key, part)
    return datasets
