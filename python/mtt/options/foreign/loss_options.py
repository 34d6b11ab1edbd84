"""The loss as metatrain describes it, a mapping by targets, written as mtt does.

metatrain has a function for each target and each of its gradients, mtt one for all errors of a target.
Weights, and the function if it is the same for all, are taken; other functions are not possible.
"""

from collections.abc import Mapping
from typing import Any, Final

from mtt.options.foreign.metatrain_keys import LOSS, LOSS_GRADIENTS
from mtt.options.foreign.tables import Problems, apply
from mtt.options.reading.document import Node, child_name
from mtt.options.reading.problems import Problem, did_you_mean
from mtt.options.schema.datasets import ENERGY
from mtt.options.schema.training import LossOptions, TargetLossOptions

_TYPE, _DELTA, _WEIGHT = "mse", 1.0, 1.0  # of a gradient that says nothing
_GRADIENTS: Final = {**LOSS_GRADIENTS, "forces": "forces", "stress": "stress", "virial": "stress"}
_PARTS: Final = ("type", "delta", "weight")


def translate_loss(training: Node, targets: Mapping[str, list[Node]], problems: Problems) -> None:
    """Put the entries of targets where mtt has them, in place.

    :param targets: what the training sets say of each target
    """
    loss = training.get("loss")
    if loss is None or not isinstance(loss.value, dict):
        return
    theirs = {key: node for key, node in loss.value.items() if _is_of_target(key, node, targets)}
    if not theirs:
        return
    usual = loss.get("type")
    function = usual.value if usual is not None else _TYPE
    ours = loss.get("targets")
    if ours is None or not isinstance(ours.value, dict):
        ours = loss.replaced({})
    for name, node in theirs.items():
        del loss.value[name]
        if name in ours.value:
            message = f"given twice: also as {child_name(loss.name, 'targets')}.{name}"
            problems.append(Problem(node.key_place or node.place, node.name, message))
            continue
        ours.value[name] = _Target(node, function, targets.get(name, []), problems).translated()
    loss.value["targets"] = ours


def _is_of_target(key: Any, node: Node, targets: Mapping[str, list[Node]]) -> bool:
    if not isinstance(key, str) or not isinstance(node.value, str | dict) or node.dead:
        return False
    named = key in targets or key.partition("/")[0] == ENERGY or "::" in key
    return named and (key == ENERGY or key not in LossOptions.model_fields)


class _Target:
    """The entry of one target while it is being translated."""

    def __init__(
        self, node: Node, function: Any, described: list[Node], problems: Problems
    ) -> None:
        """
        :param function: that of the whole loss
        :param described: what the training sets say of the target
        """
        self.node = _in_full(node)
        self.described = described
        self.problems = problems
        apply(self.node, LOSS, TargetLossOptions.model_fields, problems)
        self.type = self._own("type", function)
        self.delta = self._own("delta", _DELTA)

    def translated(self) -> Node:
        """Return the entry in our spelling."""
        value = {
            key: node
            for key, node in self.node.value.items()
            if key not in _GRADIENTS and key != "gradients"
        }
        for ours, node in self._gradients().items():
            value[ours] = self._weight(node, ours)
        if self.type != _TYPE:
            self._check_the_others(value)
        return self.node.replaced(value)

    def _own(self, key: str, default: Any) -> Any:
        node = self.node.get(key)
        return default if node is None else node.value

    def _gradients(self) -> dict[str, Node]:
        """Return what is said of forces and stress; the full form counts more than the short one."""
        named: dict[str, Node] = {}
        section = self.node.get("gradients")
        full = section.value if section is not None and isinstance(section.value, dict) else {}
        for key, node in [*self.node.value.items(), *full.items()]:
            if key in full and key not in LOSS_GRADIENTS:
                message = f"unknown option; known here: {', '.join(LOSS_GRADIENTS)}"
                self.problems.append(Problem(node.key_place or node.place, node.name, message))
            elif key in _GRADIENTS:
                named[_GRADIENTS[key]] = node
        return named

    def _weight(self, node: Node, ours: str) -> Node:
        """Return the weight of a gradient, whose function must be that of the values."""
        if not isinstance(node.value, str | dict):
            return node
        node = _in_full(node)
        apply(node, LOSS, TargetLossOptions.model_fields, self.problems)
        parts: dict[str, Node] = node.value
        for key in parts:
            if key not in _PARTS:
                near = did_you_mean(str(key), _PARTS)
                known = f"did you mean '{near}'?" if near else f"known here: {', '.join(_PARTS)}"
                place = parts[key].key_place or parts[key].place
                self.problems.append(Problem(place, parts[key].name, f"unknown option; {known}"))
        type_, delta = (
            parts[key].value if key in parts else default
            for key, default in (("type", _TYPE), ("delta", _DELTA))
        )
        if type_ != self.type:
            shown = parts.get("type", node)
            self._refuse(shown, f"cannot be {type_} for the {ours} and {self.type} for the values")
        elif type_ == "huber" and delta != self.delta:
            shown = parts.get("delta", node)
            self._refuse(
                shown, f"cannot be {delta:g} for the {ours} and {self.delta:g} for the values"
            )
        return parts.get("weight", node.replaced(_WEIGHT))

    def _refuse(self, node: Node, what: str) -> None:
        message = f"{what}: mtt has one function for all errors of a target; give both the same"
        self.problems.append(Problem(node.shown_at(), node.name, message))

    def _check_the_others(self, value: Mapping[str, Node]) -> None:
        """Refuse a function that metatrain takes for the values, and not for a gradient."""
        if "forces" not in value and self._may_have("forces"):
            self._refuse_silence("forces")
        elif "stress" not in value and (self._asks_for("stress") or self._asks_for("virial")):
            self._refuse_silence("stress")

    def _refuse_silence(self, gradient: str) -> None:
        message = (
            f"metatrain takes {_TYPE} for the {gradient} of this loss, mtt {self.type}: to have "
            f"{self.type} for both, add {gradient}: {self.type}; to have it for neither, write {_TYPE}"
        )
        node = self.node.get("type") or self.node
        self.problems.append(Problem(node.shown_at(), node.name, message))

    def _may_have(self, gradient: str) -> bool:
        nodes = [target.get(gradient) for target in self.described]
        return any(node is None or node.value is not False for node in nodes) and self._is_energy()

    def _asks_for(self, gradient: str) -> bool:
        nodes = [target.get(gradient) for target in self.described]
        return any(node is not None and bool(node.value) for node in nodes)

    def _is_energy(self) -> bool:
        name = self.node.name.rpartition(".")[2]
        quantities = [target.get("quantity") for target in self.described]
        named = any(node is not None and node.value == ENERGY for node in quantities)
        return named or name.partition("/")[0] == ENERGY


def _in_full(node: Node) -> Node:
    """Return the entry of a target or gradient as a mapping; a word alone is its function."""
    if isinstance(node.value, str):
        return node.replaced({"type": node.replaced(node.value)})
    return node.replaced(dict(node.value))
