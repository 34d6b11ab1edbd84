"""The loss as metatrain describes it, a mapping by targets, written as mtt does.

Both have a function and a weight for the values of each target, its forces and its stress. Where nothing
is said of the function of a gradient, metatrain takes mse and mtt that of the values.
"""

from collections.abc import Mapping
from typing import Any, Final

from mtt.options.foreign.metatrain_keys import LOSS, LOSS_GRADIENTS, MASKED_DOS, SHIFT_AGNOSTIC
from mtt.options.foreign.tables import Problems, apply
from mtt.options.reading.document import Node, child_name
from mtt.options.reading.problems import Problem, did_you_mean
from mtt.options.schema.datasets import ENERGY
from mtt.options.schema.loss_parts import ANYWHERE, LossOptions, TargetLossOptions, is_schedule

# of a gradient that says nothing
_TYPE, _DELTA, _WEIGHT, _REDUCTION = "mse", 1.0, 1.0, "mean"
_GRADIENTS: Final = {**LOSS_GRADIENTS, "forces": "forces", "stress": "stress", "virial": "stress"}
# Of masked_dos and shift_agnostic_mse, with the distance of two points that they take for granted.
_OF_SHIFTS: Final = {
    "extra_targets": "extra_points",
    "grad_weight": "gradient_weight",
    "grad_penalty_weight": "gradient_weight",
    "int_weight": "integral_weight",
}
_SPACING: Final = 0.05
_PARTS: Final = ("type", "delta", "weight", "reduction")


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
    usual = {key: loss.get(key) for key in ("type", "delta", "reduction")}
    ours = loss.get("targets")
    if ours is None or not isinstance(ours.value, dict):
        ours = loss.replaced({})
    for name, node in theirs.items():
        del loss.value[name]
        if name in ours.value:
            message = f"given twice: also as {child_name(loss.name, 'targets')}.{name}"
            problems.append(Problem(node.key_place or node.place, node.name, message))
            continue
        ours.value[name] = _Target(node, usual, targets.get(name, []), problems).translated()
    loss.value["targets"] = ours


def _is_of_target(key: Any, node: Node, targets: Mapping[str, list[Node]]) -> bool:
    if not isinstance(key, str) or not isinstance(node.value, str | dict) or node.dead:
        return False
    if isinstance(node.value, dict) and node.value and is_schedule(node.value):
        return False
    named = key in targets or key.partition("/")[0] == ENERGY or "::" in key
    return named and (key == ENERGY or key not in LossOptions.model_fields)


class _Target:
    """The entry of one target while it is being translated."""

    def __init__(
        self,
        node: Node,
        usual: Mapping[str, Node | None],
        described: list[Node],
        problems: Problems,
    ) -> None:
        """
        :param usual: type, delta and reduction of the whole loss, as far as it has them
        :param described: what the training sets say of the target
        """
        self.node = _in_full(node)
        self.described = described
        self.problems = problems
        _translate_shift(self.node)
        apply(self.node, LOSS, TargetLossOptions.model_fields, problems)
        self.type = self._own("type", usual, _TYPE)
        self.delta = self._own("delta", usual, _DELTA)
        self.reduction = self._own("reduction", usual, _REDUCTION)
        others = usual["reduction"]
        self.usual_reduction = _REDUCTION if others is None else others.value

    def translated(self) -> Node:
        """Return the entry in our spelling."""
        value = {
            key: node
            for key, node in self.node.value.items()
            if key not in _GRADIENTS and key != "gradients"
        }
        if self.reduction == self.usual_reduction:
            value.pop("reduction", None)
        for ours, node in self._gradients().items():
            value[ours] = self._gradient(node)
        if (self.type, self.reduction) != (_TYPE, _REDUCTION):
            self._add_the_others(value)
        return self.node.replaced(value)

    def _own(self, key: str, usual: Mapping[str, Node | None], default: Any) -> Any:
        node = self.node.get(key) or usual[key]
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

    def _gradient(self, node: Node) -> Node:
        """Return what is said of a gradient: its weight, and its function if it is another one."""
        if not isinstance(node.value, str | dict) or (node.value and is_schedule(node.value)):
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
        kept: dict[str, Node] = {}
        type_ = parts.get("type", node.replaced(_TYPE))
        if type_.value != self.type:
            kept["type"] = type_
        delta = parts.get("delta", node.replaced(_DELTA))
        if type_.value == "huber" and delta.value != self.delta:
            kept["delta"] = delta
        reduction = parts.get("reduction", node.replaced(_REDUCTION))
        if reduction.value != self.reduction:
            kept["reduction"] = reduction
        weight = parts.get("weight", node.replaced(_WEIGHT))
        return node.replaced({**kept, "weight": weight}) if kept else weight

    def _add_the_others(self, value: dict[str, Node]) -> None:
        """Write what metatrain takes for a gradient of which nothing is said."""
        usual = {"type": (self.type, _TYPE), "reduction": (self.reduction, _REDUCTION)}
        silent = {
            key: self.node.replaced(theirs) for key, (own, theirs) in usual.items() if own != theirs
        }
        if "forces" not in value and self._may_have("forces"):
            value["forces"] = self.node.replaced(dict(silent))
        if "stress" not in value and (self._asks_for("stress") or self._asks_for("virial")):
            value["stress"] = self.node.replaced(dict(silent))

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


def _translate_shift(node: Node) -> None:
    """Write the options of functions of spectra as a shift, in place; take them out of others."""
    options = {
        ours: node.value.pop(theirs) for theirs, ours in _OF_SHIFTS.items() if theirs in node.value
    }
    type_ = node.get("type")
    if type_ is None or "shift" in node.value:
        return
    if type_.value == SHIFT_AGNOSTIC:
        options["extra_points"] = type_.replaced(ANYWHERE)
    if type_.value in (MASKED_DOS, SHIFT_AGNOSTIC):
        node.value["shift"] = node.replaced({**options, "spacing": node.replaced(_SPACING)})


def _in_full(node: Node) -> Node:
    """Return the entry of a target or gradient as a mapping; a word alone is its function."""
    if isinstance(node.value, str):
        return node.replaced({"type": node.replaced(node.value)})
    return node.replaced(dict(node.value))
