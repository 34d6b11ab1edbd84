"""Arguments of ``mace_run_train``, as a command or as the YAML file of its ``--config``, as options."""

import ast
import contextlib
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from mtt.options.foreign.fates import Absent, Renamed, same
from mtt.options.foreign.mace_arguments import (
    ARGUMENTS,
    KEYS,
    LOSSES,
    NO_MACE,
    SPELLINGS,
    SWITCHES,
    WITH_STRESS,
)
from mtt.options.reading.document import Node, parse
from mtt.options.reading.load import read_text
from mtt.options.reading.problems import did_you_mean
from mtt.options.schema.options import Options

Arguments = dict[str, Any]
# By the name of an argument: what became of it.
Notes = list[tuple[str, str]]

_ENERGY = "training_set.targets.energy"
_LOSS = "architecture.training.loss"
# Of a command; a larger file is something else, which takes long to take apart.
_LONGEST: Final = 2**18
_CONTINUED = re.compile(r"\\\r?\n")
_FLAG = re.compile(r"--[A-Za-z]")


def arguments_in(text: str, root: Node | None) -> Arguments | None:
    """Return the arguments of a file by their names, without dashes; None if it has none.

    :param root: the tree of the text, if it is YAML
    """
    if root is not None and isinstance(root.value, dict):
        if "architecture" in root.value:
            return None
        if set(root.value) & (set(ARGUMENTS) | set(SPELLINGS)):
            return {str(key): node.plain() for key, node in root.value.items()}
    # A command with a dictionary, as in --E0s='{1: -13.6}', is a mapping in YAML, too.
    if not _FLAG.search(text) or len(text) > _LONGEST:
        return None
    try:
        words = shlex.split(_CONTINUED.sub(" ", text), comments=True)
    except ValueError:
        return None
    found = dict(_of_command(words))
    return found if set(found) & (set(ARGUMENTS) | set(SPELLINGS)) else None


def _of_command(words: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield name and value of each argument."""
    flags = [index for index, word in enumerate(words) if _FLAG.match(word)]
    for index, after in zip(flags, [*flags[1:], len(words)], strict=True):
        name, equals, value = words[index].removeprefix("--").partition("=")
        following = words[index + 1 : after]
        if equals:
            yield name, _value(value)
        elif name in SWITCHES or not following:
            yield name, True
        else:
            yield name, _value(following[0])


def _value(text: Any) -> Any:
    """Return the value of a text, which may be a number or the dictionary of a Python program."""
    if not isinstance(text, str):
        return text
    if text.lstrip().startswith(("{", "[")):
        with contextlib.suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            value = ast.literal_eval(text.strip())
            json.dumps(value)  # else it is nothing that options can hold
            return value
    node, problems = parse(text)
    return text if node is None or problems else node.plain()


def to_options(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], Notes]:
    """Return options, and what was left out and why."""
    given = {SPELLINGS.get(name, name): _value(value) for name, value in arguments.items()}
    given = {name: value for name, value in given.items() if value is not None}
    options: dict[str, Any] = {"architecture": {"name": "pet", "model": {}, "training": {}}}
    notes: Notes = [] if "model" in given else [("model", NO_MACE)]
    for name, value in given.items():
        fate = ARGUMENTS.get(name)
        if fate is None:
            near = did_you_mean(name, ARGUMENTS)
            notes.append((name, f"no argument of MACE{f'; did you mean {near}?' if near else ''}"))
        elif isinstance(fate, Absent):
            notes.append((name, fate.reason))
        elif isinstance(fate, Renamed) and name not in KEYS:
            ours = next((our for their, our in fate.values.items() if same(value, their)), value)
            _put(options, fate.ours, ours)
    if "valid_file" in given:
        options["validation_set"] = given["valid_file"]
    _describe_energy(options, given, notes)
    _choose_loss(options, given, notes)
    _take_baseline(options, given, notes)
    _take_weights(options, given, notes)
    options["architecture"] = {key: part for key, part in options["architecture"].items() if part}
    ordered = {name: options[name] for name in Options.model_fields if name in options}
    return ordered, notes


def _put(options: dict[str, Any], name: str, value: Any) -> None:
    *above, last = name.split(".")
    for key in above:
        options = options.setdefault(key, {})
    options[last] = value


def _describe_energy(options: dict[str, Any], given: Arguments, notes: Notes) -> None:
    """Write where energies, forces and stress are, also where MACE was not told."""
    if "training_set" not in options:
        return
    _put(options, "training_set.systems.length_unit", "angstrom")
    _put(options, f"{_ENERGY}.key", given.get("energy_key", KEYS["energy_key"]))
    _put(options, f"{_ENERGY}.unit", "eV")
    _put(options, f"{_ENERGY}.forces.key", given.get("forces_key", KEYS["forces_key"]))
    _put(options, f"{_ENERGY}.forces.missing", "allow")  # as MACE does
    stress = WITH_STRESS.get(str(given.get("loss")))
    if stress is None and given.get("compute_stress") is True:
        stress = "stress_key"
    asked = [name for name in ("stress_key", "virials_key") if name in given]
    chosen = stress or (asked[0] if asked else None)
    if chosen is not None:
        _put(options, _renamed(chosen), given.get(chosen, KEYS[chosen]))
        _put(options, _renamed(chosen).replace(".key", ".missing"), "allow")
    notes += [(name, f"{chosen} is taken: both are the same") for name in asked if name != chosen]


def _renamed(name: str) -> str:
    fate = ARGUMENTS[name]
    assert isinstance(fate, Renamed)
    return fate.ours


def _choose_loss(options: dict[str, Any], given: Arguments, notes: Notes) -> None:
    name = given.get("loss")
    if name is None:
        return
    function = LOSSES.get(str(name))
    if function is None:
        notes.append(("loss", f"mtt has no loss '{name}': mse is taken"))
    elif function == "huber":
        _put(options, f"{_LOSS}.type", function)
        if "huber_delta" not in given:
            reason = "delta of mtt counts in the scale of the target, not in eV: it is 1"
            notes.append(("huber_delta", reason))
    if name == "forces_only":
        _put(options, f"{_LOSS}.energy", 0.0)


def _take_baseline(options: dict[str, Any], given: Arguments, notes: Notes) -> None:
    """Take numbers; MACE without any takes those of isolated atoms, and ``average`` is our fit."""
    energies = given.get("E0s", "isolated")
    if isinstance(energies, str) and energies.endswith(".json") and Path(energies).is_file():
        with contextlib.suppress(ValueError, RecursionError):
            energies = json.loads(read_text(Path(energies), "file of E0s"))
    if isinstance(energies, dict) or energies == "isolated":
        _put(options, "architecture.training.atomic_baseline.energy", energies)
    elif energies != "average":
        reason = f"not '{energies}': mtt fits the energies per atom to the training set"
        notes.append(("E0s", reason))


def _take_weights(options: dict[str, Any], given: Arguments, notes: Notes) -> None:
    weights = given.get("config_type_weights")
    if isinstance(weights, dict) and any(weight != 1.0 for weight in weights.values()):
        _put(options, "training_set.weights.config_type", weights)
    elif weights is not None and not isinstance(weights, dict):
        notes.append(("config_type_weights", f"no weights by config_type: '{weights}'"))
