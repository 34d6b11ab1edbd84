"""Short forms, written out in full on the document tree before the typed models see it.

Nodes that are made here stand where the short form stands, so errors point to what was written.
"""

from mtt.options.reading.document import Node
from mtt.options.schema.base import is_slice

_GRADIENTS = ("forces", "stress", "virial")


def expand_options(root: Node) -> None:
    """Expand an options.yaml in place."""
    _expand_architecture(root)
    training = root.get("training_set")
    targets = None
    if training is not None:
        datasets = expand_datasets(training)
        root.value["training_set"] = datasets
        first = datasets.value[0] if datasets.value else None
        targets = first.get("targets") if isinstance(first, Node) else None
    for name in ("validation_set", "test_set"):
        split = root.get(name)
        if split is not None and split.value is None:
            del root.value[name]
        elif split is not None:
            root.value[name] = _expand_split(split, targets)


def expand_datasets(node: Node) -> Node:
    """A path, a dataset or a list of them as a list of datasets in full."""
    entries = node.value if isinstance(node.value, list) else [node]
    return node.replaced([_expand_dataset(entry) for entry in entries if not entry.dead])


def _expand_architecture(root: Node) -> None:
    architecture = root.get("architecture")
    if architecture is None:
        return
    if isinstance(architecture.value, str):
        name = architecture.replaced(architecture.value)
        architecture.value = {"name": name}
    for section in ("model", "training"):
        found = architecture.get(section)
        if found is not None and found.value is None:  # an empty section in YAML
            del architecture.value[section]
    training = architecture.get("training")
    loss = training.get("loss") if training is not None else None
    if loss is not None and isinstance(loss.value, str):
        loss.value = {"type": loss.replaced(loss.value)}
    fine_tune = training.get("fine_tune") if training is not None else None
    if training is not None and fine_tune is not None:
        training.value["fine_tune"] = _expand_fine_tune(fine_tune)


def _expand_fine_tune(node: Node) -> Node:
    if isinstance(node.value, str):
        return _path(node)
    if isinstance(node.value, bool):
        return node.replaced({} if node.value else None)
    return node


def _expand_dataset(node: Node) -> Node:
    if isinstance(node.value, str):
        return node.replaced({"systems": _path(node)})
    systems, targets = node.get("systems"), node.get("targets")
    if systems is not None and isinstance(systems.value, str):
        node.value["systems"] = _path(systems)
    if targets is not None and isinstance(targets.value, dict):
        for name, target in targets.value.items():
            targets.value[name] = _expand_target(target)
    return node


def _path(node: Node) -> Node:
    return node.replaced({"read_from": node.replaced(node.value)})


def _expand_target(node: Node) -> Node:
    if isinstance(node.value, str):
        return _path(node)
    if node.value is None:
        return node.replaced({})
    for name in _GRADIENTS:
        gradient = node.get(name)
        if gradient is not None:
            node.value[name] = _expand_gradient(name, gradient)
    return node


def _expand_gradient(name: str, node: Node) -> Node:
    """``on``, a path or a mapping without a key, with the default key filled in."""
    default = node.replaced(name)
    if node.value is True:
        return node.replaced({"key": default})
    if isinstance(node.value, str):
        return node.replaced({"read_from": node.replaced(node.value), "key": default})
    if isinstance(node.value, dict) and "key" not in node.value:
        return node.replaced({**node.value, "key": default})
    return node


def _expand_split(node: Node, targets: Node | None) -> Node:
    value = node.value
    if isinstance(value, str) and is_slice(value):
        return node.replaced({"indices": node.replaced(value)})
    if isinstance(value, list) and value and not _looks_like_datasets(value):
        return node.replaced({"indices": node})
    if isinstance(value, str | list):
        return node.replaced({"datasets": _with_targets(node, targets)})
    if isinstance(value, dict):
        if {"systems", "targets", "read_from"} & set(value):
            return node.replaced({"datasets": _with_targets(node, targets)})
        datasets = node.get("datasets")
        if datasets is not None and datasets.value is not None:
            value["datasets"] = _with_targets(datasets, targets)
        return node
    return node.replaced({"fraction": node})


def _looks_like_datasets(entries: list[Node]) -> bool:
    return any(isinstance(entry.value, str | dict) for entry in entries)


def _with_targets(node: Node, targets: Node | None) -> Node:
    """Datasets that say nothing about targets have those of the first training set."""
    datasets = expand_datasets(node)
    for dataset in datasets.value:
        if targets is not None and isinstance(dataset.value, dict):
            dataset.value.setdefault("targets", targets)
    return datasets
