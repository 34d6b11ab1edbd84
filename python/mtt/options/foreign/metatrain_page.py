"""The page of documentation that says of each option of metatrain what becomes of it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from mtt.options.foreign import metatrain_keys as keys
from mtt.options.foreign.fates import (
    ANYTHING,
    LEAVE_IT_OUT,
    NO_DEFAULT,
    Absent,
    Fate,
    Renamed,
    Taken,
)

NAME: Final = "options-of-metatrain.md"
TAKEN, TRANSLATED, NO_EFFECT, REFUSED = "taken", "translated", "no effect", "refused"
_INTRODUCTION: Final = f"""\
# Options of metatrain, one by one

<!-- Generated from the tables of options by `python -m mtt.options.reference docs/reference`. -->

mtt reads options files of metatrain 2026.4 as they are:
[what differs in short](../how-to/options-from-elsewhere.md).
This page has every option of `pet` and `soap_bpnn`, and every option beside them:

| word | what mtt does |
|---|---|
| {TAKEN} | takes it, under the same name and with the same meaning |
| alias of `NAME` | takes it as its own option `NAME` |
| {TRANSLATED} | takes it, and writes it in another way |
| {NO_EFFECT} | takes any value, and does nothing with it |
| {REFUSED} | says why at its line, and what to do; values that ask for nothing are taken |

The defaults are those of metatrain's `pet`; those of mtt are under [options](options.md).
"""
_BY_GRADIENTS: Final = "`{type, delta, weight}` of its own, or one of them alone"
_GRADIENT: Final = (
    "`on`, `off`, a key, or a mapping as below; metatrain's own sections of what it would use if it "
    "were there count as left out"
)
# What becomes of an option whose value is written in another way.
_REWORKED: Final[Mapping[str, str]] = {
    "architecture.model.long_range": "`enable: true` is that it is there; without `enable` it is on. The sum "
    "and the features are [of mtt](../decisions/0018-charges-felt-at-any-distance.md)",
    "architecture.model.long_range.enable": "`true`: the section is there; `false`: `long_range: false`",
    "architecture.preset": "the options that `fast`, `medium`, `large` or `default` stand for, on the branch "
    "of metatrain that has presets; what the file says counts more",
    "architecture.training.loss": "a mapping by targets becomes `loss.targets`",
    "architecture.training.batch_atom_bounds": "`[MIN, MAX]` becomes `min_atoms_per_batch` and "
    "`max_atoms_per_batch`; with `max_atoms_per_batch` it has no effect",
    "architecture.training.use_atomic_baseline": "`false` is `atomic_baseline: {NAME: 0.0}` of every target; "
    "`true` is taken",
    **dict.fromkeys(
        [
            f"architecture.training.loss.TARGET.{name}"
            for name in ("grad_weight", "int_weight", "extra_targets")
        ],
        "of `masked_dos`, which becomes [`shift`](../how-to/spectra.md); no effect elsewhere",
    ),
    "architecture.training.loss.TARGET.grad_penalty_weight": "of `shift_agnostic_mse`, which becomes "
    "[`shift: anywhere`](../how-to/spectra.md); no effect elsewhere",
    "architecture.training.loss.TARGET.type": "`masked_dos` and `shift_agnostic_mse` with "
    "[`shift`](../how-to/spectra.md)",
    "architecture.training.finetune": "`fine_tune`; `read_from: null` is none",
    "architecture.training.loss.TARGET.gradients": "`positions` becomes `forces`, `strain` becomes `stress`",
    "architecture.training.loss.TARGET.forces": _BY_GRADIENTS,
    "architecture.training.loss.TARGET.stress": _BY_GRADIENTS,
    "architecture.training.loss.TARGET.virial": "the same as `stress`",
    "training_set.extra_data": "`charge` and `spin_multiplicity`, each one number of a structure in the "
    "file of the structures, by its `key`; `NAME_mask` of a target `NAME` becomes its `mask`; what else "
    "metatrain reads has no effect, which mtt says",
    "training_set.indices": "`systems.indices`; a file that lists them is read",
    "training_set.targets.TARGET.type": "`scalar`, `vector` (Cartesian, rank 1), `matrix` (rank 2) or "
    "`spherical` with `irreps`; other ranks, `product`, `num` and irreps by atomic type are refused",
    "training_set.targets.TARGET.forces": _GRADIENT,
    "training_set.targets.TARGET.stress": _GRADIENT,
    "training_set.targets.TARGET.virial": _GRADIENT,
    "architecture.model.num_ensemble_members": "`uncertainty: {method: llpr, num_ensemble_members: ...}`, "
    "the largest number for all targets",
    "architecture.training.model_checkpoint": "`fine_tune` with the baseline of that model",
    "architecture.training.num_epochs": "a number trains the ensemble (`uncertainty.ensemble_loss`); "
    "without one there are no epochs",
    "architecture.training.train_all_parameters": "`uncertainty.train_all_parameters`, with a loss of values "
    "only",
}
# The same of llpr, where it is another thing than of others.
_REWORKED_OF_LLPR: Final[Mapping[str, str]] = {
    "architecture.training.loss": "`uncertainty.ensemble_loss`: "
    + ", ".join(f"`{theirs}` is `{ours}`" for theirs, ours in keys.ENSEMBLE_LOSSES.items())
    + "; one for all targets, each with its weight",
}
_PATHS: Final = "a path to a model is refused: give numbers"


class RefusedValue(NamedTuple):
    """A value of metatrain's that mtt does not take, of an option that it takes."""

    value: Any
    why: str


# Beside those that the tables have.
REFUSED_VALUES: Final[Mapping[str, RefusedValue]] = {
    "base_precision": RefusedValue(16, "models are of 32 or 64 bits"),
    "architecture.model.cutoff_function": RefusedValue(
        "Cosine", "it is of pet@1 only, as its second derivative jumps"
    ),
    "architecture.training.atomic_baseline": RefusedValue("baseline.ckpt", _PATHS),
}


class Section(NamedTuple):
    """A part of the options.

    - ``path``: where its options are; TARGET stands for the name of a target;
    - ``architecture``: of which these are.
    """

    title: str
    path: str
    table: Mapping[str, Fate]
    architecture: str = "pet"


_SOAP: Final = {"cutoff": Taken(), "max_angular": Taken(6), "max_radial": Taken(7)}
_CUTOFF: Final = {"radius": Taken(5.0), "width": Taken(0.5)}
_BPNN: Final = {
    "num_hidden_layers": Taken(2),
    "num_neurons_per_layer": Taken(32),
    "layernorm": Taken(True),
}
_MODEL: Final = "architecture.model"
_LOSS: Final = "architecture.training.loss.TARGET"
_TARGET: Final = "training_set.targets.TARGET"
SECTIONS: Final = (
    Section("Top level", "", keys.TOP),
    Section("architecture", "architecture", keys.ARCHITECTURE),
    Section("architecture.model of pet", _MODEL, keys.MODEL),
    Section("architecture.model of soap_bpnn", _MODEL, keys.SOAP_MODEL, "soap_bpnn"),
    Section("architecture.model.soap of soap_bpnn", f"{_MODEL}.soap", _SOAP, "soap_bpnn"),
    Section("architecture.model.soap.cutoff", f"{_MODEL}.soap.cutoff", _CUTOFF, "soap_bpnn"),
    Section("architecture.model.bpnn of soap_bpnn", f"{_MODEL}.bpnn", _BPNN, "soap_bpnn"),
    Section("long_range", f"{_MODEL}.long_range", keys.LONG_RANGE),
    Section("architecture.training", "architecture.training", keys.TRAINING),
    Section("finetune", "architecture.training.finetune", keys.FINETUNE),
    Section("loss of a target", _LOSS, keys.LOSS),
    Section("Data set", "training_set", keys.DATASET),
    Section("systems", "training_set.systems", keys.SYSTEMS),
    Section("Target", _TARGET, keys.TARGET),
    Section("forces, stress and virial", f"{_TARGET}.forces", keys.GRADIENT),
    Section("architecture.model of llpr", _MODEL, keys.LLPR_MODEL, "llpr"),
    Section(
        "architecture.training of llpr",
        "architecture.training",
        {**keys.LLPR_TRAINING, **keys.LLPR_ENSEMBLE},
        "llpr",
    ),
)


def render() -> str:
    """Return the page."""
    lines = [_INTRODUCTION]
    for section in SECTIONS:
        lines += [f"## {section.title}", "", "| option | default | here | |", "|---|---|---|---|"]
        for name, fate in section.table.items():
            cells = [f"`{name}`", _default(fate), word_for(fate), "; ".join(_about(section, name))]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    names = ", ".join(f"`{name}`" for name in keys.architectures())
    lines += [
        "## Architectures",
        "",
        f"mtt refuses these architectures of metatrain, of all its versions, by name: {names}.",
    ]
    return "\n".join(lines) + "\n"


def word_for(fate: Fate) -> str:
    """Return what mtt does with an option, in a word."""
    if isinstance(fate, Taken):
        return TAKEN
    if isinstance(fate, Renamed):
        return f"alias of `{fate.ours}`"
    if isinstance(fate, Absent):
        return NO_EFFECT if _takes_all(fate) else REFUSED
    return TRANSLATED


def _takes_all(fate: Absent) -> bool:
    return not callable(fate.nothing) and any(value is ANYTHING for value in fate.nothing)


def _default(fate: Fate) -> str:
    return "" if fate.default is NO_DEFAULT else f"`{_yaml(fate.default)}`"


def _about(section: Section, name: str) -> Iterator[str]:
    fate = section.table[name]
    path = f"{section.path}.{name}".strip(".")
    if isinstance(fate, Taken | Renamed):
        for value, ours in fate.values.items():
            yield f"`{_yaml(value)}` is `{_yaml(ours)}`"
        for value, why in fate.refused.items():
            yield f"`{_yaml(value)}` is refused: {why}"
    elif isinstance(fate, Absent):
        yield from _why_absent(fate)
    else:
        own = _REWORKED_OF_LLPR if section.architecture == "llpr" else {}
        yield {**_REWORKED, **own}[path]
    if path in REFUSED_VALUES and isinstance(fate, Taken):
        value, why = REFUSED_VALUES[path]
        yield f"`{_yaml(value)}` is refused: {why}"


def _why_absent(fate: Absent) -> Iterator[str]:
    if fate.reason:
        yield fate.reason
    if _takes_all(fate):
        return
    if fate.advice != LEAVE_IT_OUT:
        yield fate.advice
    if callable(fate.nothing):
        yield "a value that asks for none is taken"
    elif fate.nothing:
        values = [f"`{_yaml(value)}`" for value in fate.nothing]
        yield f"{' and '.join(values)} {'is' if len(values) == 1 else 'are'} taken"


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)
