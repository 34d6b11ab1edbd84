"""Data sets as metatrain describes them, written as mtt does."""

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from mtt.files import open_regular
from mtt.options.foreign.metatrain_keys import DATASET, EXTRA_DATA, GRADIENT, SYSTEMS, TARGET
from mtt.options.foreign.tables import Problems, apply, move
from mtt.options.reading.document import Node, child_name
from mtt.options.reading.problems import Problem
from mtt.options.schema.base import is_slice
from mtt.options.schema.datasets import (
    ENERGY,
    GRADIENTS,
    DatasetOptions,
    GradientOptions,
    SystemsOptions,
    TargetOptions,
)
from mtt.options.schema.extra_data import ExtraDataOptions, InputOptions

# Names of outputs that metatomic has given up, and those that it has now.
_CURRENT: Final = {
    "non_conservative_forces": "non_conservative_force",
    "non_conservative_stresses": "non_conservative_stress",
}
# What metatrain may call their quantities, which mtt knows by the name of the target.
_PLAIN_QUANTITIES: Final = ("", "force", "forces", "stress", "pressure")
_SPLITS = ("validation_set", "test_set")
_MAX_BYTES: Final = 8 * 2**20
# What only metatrain says of extra data: entries that have it are of a file that was written for it.
_OF_METATRAIN: Final = EXTRA_DATA.keys() - InputOptions.model_fields.keys()


def translate_splits(root: Node, problems: Problems) -> None:
    """Translate validation and test set in place; the training set must not be translated yet."""
    whole = [node for node in _datasets(root.get("training_set")) if node.get("indices")]
    for name in _SPLITS:
        split = root.get(name)
        if split is None:
            continue
        only_indices = isinstance(split.value, dict) and set(split.value) == {"indices"}
        if only_indices:
            _read_indices(split, problems)
        if only_indices and len(whole) == 1:
            # In metatrain these count in the file, not in what the training set takes of it.
            own = copy.deepcopy(whole[0])
            own.value["indices"] = split.value["indices"]
            root.value[name] = split = split.replaced({"datasets": own})
        elif isinstance(split.value, dict) and "datasets" in split.value:
            split = split.value["datasets"]
        translate_datasets(root.value[name].get("datasets") or split, problems)


def translate_datasets(node: Node | None, problems: Problems) -> None:
    """Translate a dataset or a list of them in place."""
    for dataset in _datasets(node):
        apply(dataset, DATASET, DatasetOptions.model_fields, problems)
        _translate_indices(dataset, problems)
        apply(dataset.get("systems"), SYSTEMS, SystemsOptions.model_fields, problems)
        _translate_extra_data(dataset, problems)
        targets = _mapping(dataset.get("targets"))
        _rename_targets(dataset.get("targets"))
        for name, target in targets.items():
            apply(target, TARGET, TargetOptions.model_fields, problems)
            translate_type(target, problems)
            if isinstance(target.value, dict):
                for gradient in GRADIENTS:
                    alone = name == ENERGY or len(targets) == 1
                    _translate_gradient(target, gradient, _path(dataset, target), alone, problems)


def _translate_extra_data(dataset: Node, problems: Problems) -> None:
    """Translate charge and spin in place; of what else metatrain reads, say that nothing uses it.

    A name that is unknown, with nothing that only metatrain says of it, may be a mistake: it is refused.
    """
    section = dataset.get("extra_data")
    if section is None or section.value is None or section.value == {}:
        dataset.value.pop("extra_data", None)
        return
    targets = {str(name): node for name, node in _mapping(dataset.get("targets")).items()}
    for name, node in _mapping(section).items():
        if name in ExtraDataOptions.model_fields:
            apply(node, EXTRA_DATA, InputOptions.model_fields, problems)
            _drop_own_file(node, dataset, problems)
            continue
        place = node.key_place or node.place
        of = str(name).removesuffix("_mask")
        if of in targets and of != name:
            _move_mask(str(name), node, dataset, targets[of], problems)
        elif set(_mapping(node)) & _OF_METATRAIN:
            # metatrain reads it, but no model of these architectures depends on it there either.
            message = "nothing uses it, so it is not read"
            problems.append(Problem(place, node.name, message, harmless=True))
            del section.value[name]
            continue
        else:
            known = " and ".join(ExtraDataOptions.model_fields)
            message = (
                f"nothing in mtt uses '{name}'; it knows {known}, and NAME_mask of a target NAME"
            )
            problems.append(Problem(place, node.name, message, advice="leave it out"))
        node.dead = True
    if isinstance(section.value, dict) and all(node.dead for node in section.value.values()):
        del dataset.value["extra_data"]


def _move_mask(name: str, node: Node, dataset: Node, target: Node, problems: Problems) -> None:
    """Make the mask of a target an option of it, in place; its shape is checked when it is read."""
    entry = node.value if isinstance(node.value, dict) else {"read_from": node}
    if not isinstance(target.value, dict):
        target.value = {} if target.value is None else {"read_from": target.replaced(target.value)}
    own = entry.get("read_from")
    structures = _path(dataset, node.replaced({}))
    path = structures if own is None or own.value is None else own.value
    if path != _path(dataset, target):
        message = "a mask is read from the file of the values of its target"
        place = node if own is None else own
        advice = "write it into that file"
        problems.append(Problem(place.shown_at(), place.name, message, advice=advice))
    elif "mask" in target.value:
        message = f"given twice: also as 'mask' of '{name.removesuffix('_mask')}'"
        problems.append(Problem(node.key_place or node.place, node.name, message))
    else:
        key = entry.get("key")
        given = key is not None and key.value is not None
        target.value["mask"] = key if given else node.replaced(name)


def _drop_own_file(node: Node, dataset: Node, problems: Problems) -> None:
    """Take the file of an input out, which must be that of the structures."""
    own = node.get("read_from") if isinstance(node.value, dict) else None
    if own is None:
        return
    if own.value not in (None, _path(dataset, node.replaced({}))):
        message = "charge and spin are read from the file of the structures"
        problems.append(
            Problem(own.shown_at(), own.name, message, advice="write them into that file")
        )
    del node.value["read_from"]


def _rename_targets(targets: Node | None) -> None:
    """Give outputs that metatrain and metatomic have renamed their present names."""
    for name in list(_mapping(targets)):
        stem, slash, variant = str(name).partition("/")
        current = f"{_CURRENT.get(stem, stem)}{slash}{variant}"
        if targets is not None and current != name and current not in targets.value:
            targets.value[current] = targets.value.pop(name)
        target = None if targets is None else targets.get(current)
        quantity = None if target is None else target.get("quantity")
        if target is None or quantity is None or current.partition("/")[0] not in _CURRENT.values():
            continue
        if quantity.value in _PLAIN_QUANTITIES:
            del target.value["quantity"]


def translate_type(target: Node, problems: Problems) -> None:
    """Write the type of a target as mtt does, where it is a mapping: ``{cartesian: {rank: 1}}``."""
    node = target.get("type")
    if node is None or node.dead or not isinstance(node.value, dict) or len(node.value) != 1:
        return
    ((kind, about),) = node.plain().items()
    reason = None
    if kind == "cartesian" and isinstance(about, dict):
        ranks: dict[object, str] = {0: "scalar", 1: "vector", 2: "matrix"}
        name = ranks.get(about.get("rank"))
        if name is not None:
            target.value["type"] = node.replaced(name)
            return
        reason = "not yet in mtt: Cartesian tensors of a rank above 2"
    if kind == "spherical" and isinstance(about, dict):
        irreps = about.get("irreps")
        if about.get("product") is not None:
            reason = "not yet in mtt: products of spherical targets; write the irreps of the result"
        elif isinstance(irreps, dict):
            reason = "not yet in mtt: spherical targets with other irreps for each atomic type"
        elif isinstance(irreps, list) and all(isinstance(irrep, dict) for irrep in irreps):
            if any(irrep.pop("num", 1) != 1 for irrep in irreps):
                reason = "not yet in mtt: irreps that are there several times; use 'properties'"
            else:
                _set_irreps(target, node)
                return
    if reason is not None:
        problems.append(Problem(node.shown_at(), node.name, reason))
        del target.value["type"]


def _set_irreps(target: Node, node: Node) -> None:
    spherical = node.value["spherical"]
    irreps = spherical.value["irreps"]
    for irrep in irreps.value:
        irrep.value.pop("num", None)
    target.value["type"] = node.replaced("spherical")
    target.value["irreps"] = irreps


def targets_of(root: Node) -> Mapping[str, list[Node]]:
    """Return what the training sets say of each target."""
    named: dict[str, list[Node]] = {}
    for dataset in _datasets(root.get("training_set")):
        for name, target in _mapping(dataset.get("targets")).items():
            named.setdefault(str(name), []).append(target)
    return named


def _datasets(node: Node | None) -> Iterator[Node]:
    """Yield the data sets that are written as mappings."""
    if node is not None:
        for entry in node.value if isinstance(node.value, list) else [node]:
            if not entry.dead and isinstance(entry.value, dict):
                yield entry


def _mapping(node: Node | None) -> dict[str, Node]:
    """Return the live entries of a mapping; none if it is something else."""
    if node is None or not isinstance(node.value, dict):
        return {}
    return {key: entry for key, entry in node.value.items() if not entry.dead}


def _path(dataset: Node, target: Node) -> object:
    """Return the file that the values of a target are read from."""
    systems = dataset.get("systems")
    if systems is not None and isinstance(systems.value, dict):
        systems = systems.get("read_from")
    own = target.get("read_from")
    chosen = own if own is not None else systems
    return None if chosen is None else chosen.value


def _translate_gradient(
    target: Node, name: str, path: object, alone: bool, problems: Problems
) -> None:
    """Translate the section of a gradient in place.

    metatrain writes one for every gradient that it would use if the data had it, and takes it for no
    more than that when it reads it again. Such a section names the reader.

    :param path: the file of the target
    :param alone: whether the target looks for gradients that nobody asks for
    """
    node = target.get(name)
    if node is None or not isinstance(node.value, dict):
        return
    of_metatrain = "reader" in node.value
    apply(node, GRADIENT, GradientOptions.model_fields, problems)
    parts = node.plain()
    usual = parts.get("key", name) == name and parts.get("read_from", path) == path
    if of_metatrain and usual and alone and set(parts) <= {"key", "read_from"}:
        del target.value[name]
    elif not parts:
        target.value[name] = node.replaced(True)


def _translate_indices(dataset: Node, problems: Problems) -> None:
    """Put the indices of a data set to its systems."""
    if "indices" in DatasetOptions.model_fields:
        return
    _read_indices(dataset, problems)
    node, systems = dataset.get("indices"), dataset.get("systems")
    if node is None or systems is None:
        return
    if not isinstance(systems.value, dict):
        systems = systems.replaced({"read_from": systems})
        dataset.value["systems"] = systems
    del dataset.value["indices"]
    systems.value["<indices>"] = node
    move(systems, "<indices>", "indices", problems)


def _read_indices(section: Node, problems: Problems) -> None:
    """Put the numbers in the place of the name of a file that lists them."""
    node = section.get("indices")
    text = None if node is None else node.value
    if node is None or not isinstance(text, str) or is_slice(text) or not Path(text).is_file():
        return
    try:
        with open_regular(Path(text)) as stream:
            data = stream.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise ValueError
        lines = data.decode().splitlines()
        numbers = [int(word) for line in lines for word in line.partition("#")[0].split()]
    except (ValueError, OSError):
        message = f"the file must list indices, one integer a line: {text}"
        problems.append(Problem(node.shown_at(), node.name, message))
        node.dead = True
        return
    listed = [
        Node(number, node.place, child_name(node.name, index))
        for index, number in enumerate(numbers)
    ]
    section.value["indices"] = node.replaced(listed)
