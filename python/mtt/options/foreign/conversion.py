"""Option files of other programs, written anew in our spelling: ``mtt convert options``."""

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mtt import architecture_registry
from mtt.errors import UserError
from mtt.options.foreign.fates import LEAVE_IT_OUT, NO_DEFAULT, Taken, same
from mtt.options.foreign.mace_run import Arguments, arguments_in, to_options
from mtt.options.foreign.metatrain_keys import MODEL, TRAINING
from mtt.options.foreign.translate import architecture_name, translate_options
from mtt.options.foreign.whose import is_nequip
from mtt.options.reading.document import Node, dump, parse
from mtt.options.reading.load import check_tree, parsed_tree, read_text
from mtt.options.reading.problems import SHORTEST, OptionsError, Problem
from mtt.printable import printable

_SETS = ("training_set", "validation_set", "test_set")
_WIDTH = 400  # of a line


class Converted(NamedTuple):
    """An options file of ours.

    - ``program``: whose options they were;
    - ``left_out``: what it does not have of them, and why; ``added``: what was not in them.
    """

    text: str
    program: str
    left_out: list[str]
    added: list[str]


def convert(path: Path) -> Converted:
    """Return a file of options of metatrain, or of arguments of MACE, as options of mtt.

    :raises UserError: it is neither; what is left would be no options, or describe other data
    """
    text = read_text(path, "options file")
    root, _ = parse(text)
    if root is not None and isinstance(root.value, dict) and is_nequip(list(map(str, root.value))):
        raise UserError(
            "options of NequIP cannot be converted",
            where=str(path),
            hint=f"begin with {SHORTEST}",
        )
    arguments = arguments_in(text, root)
    if arguments is not None:
        if _is_yaml(root, arguments):
            # What YAML cannot be read as must not go missing unseen.
            parsed_tree(str(path), text)
        return _from_mace(path, arguments)
    if root is not None and isinstance(root.value, dict):
        return _from_metatrain(path, text)
    raise UserError(
        "neither options of metatrain nor arguments of MACE",
        where=str(path),
        hint="give an options file in YAML, or a file with the command, as in: mace_run_train "
        "--train_file=train.xyz --r_max=5.0",
    )


def _is_yaml(root: Node | None, arguments: Arguments) -> bool:
    """Return whether the arguments are keys of YAML, not words of a command."""
    keys = root.value if root is not None and isinstance(root.value, dict) else {}
    return {str(key) for key in keys} >= set(arguments)


def _from_metatrain(path: Path, text: str) -> Converted:
    root, lines = parsed_tree(str(path), text)
    left_out = translate_options(root)
    unread = [problem for problem in left_out if _is_selection(problem)]
    if unread:
        raise OptionsError(str(path), lines, unread)
    left_out += _settled(str(path), lines, root)
    added = list(_add_defaults(root)) if architecture_name(root) == "pet" else []
    ordered = sorted(left_out, key=Problem.sort_key)
    return _written(path, "metatrain", root.plain(), [*map(_described, ordered)], added)


def _from_mace(path: Path, arguments: Arguments) -> Converted:
    if "train_file" not in arguments:
        raise UserError(
            "there is no training set: the argument train_file is missing", where=str(path)
        )
    options, notes = to_options(arguments)
    text = dump(options, _WIDTH)
    root, lines = parsed_tree(str(path), text)
    notes += [(each.name, each.message) for each in _settled(str(path), lines, root)]
    left_out = [f"{name}: {reason}" for name, reason in notes]
    return _written(path, "MACE", root.plain(), left_out, [])


def _settled(name: str, lines: list[str], root: Node) -> list[Problem]:
    """Take out whatever mtt does not take, in place, until the rest is options; return it.

    :raises OptionsError: what is wrong is about the data, or cannot be taken out
    """
    taken_out: list[Problem] = []
    while True:
        problems = check_tree(copy.deepcopy(root))
        if not problems:
            return taken_out
        hard = [each for each in problems if not _may_go(each) or not _remove(root, each.name)]
        if hard:
            raise OptionsError(name, lines, hard)
        taken_out += problems


def _is_selection(problem: Problem) -> bool:
    """Return whether what is wrong says which structures are used: all of them are other data."""
    return problem.name.startswith(_SETS) and problem.name.rpartition(".")[2] == "indices"


def _may_go(problem: Problem) -> bool:
    """Return whether options without what is wrong still describe the same data and model."""
    about_data = problem.name.startswith(_SETS)
    return problem.unknown or not (about_data or problem.name == "architecture.name")


def _remove(node: Node, name: str) -> bool:
    """Remove the option of that full name below a node; return whether there was one."""
    if isinstance(node.value, dict):
        for key, child in list(node.value.items()):
            if child.name == name:
                del node.value[key]
                return True
            if _remove(child, name):
                return True
    elif isinstance(node.value, list):
        return any(_remove(child, name) for child in node.value)
    return False


def _add_defaults(root: Node) -> Iterator[str]:
    """Add what metatrain does without being asked, and mtt does not; yield each option."""
    architecture = root.value["architecture"]
    if not isinstance(architecture.value, dict):
        architecture = architecture.replaced({"name": architecture})
        root.value["architecture"] = architecture
    pet = architecture_registry.get("pet")
    for section, table, hypers in (
        ("model", MODEL, pet.ModelHypers),
        ("training", TRAINING, pet.TrainingHypers),
    ):
        for key, fate in table.items():
            if not isinstance(fate, Taken) or fate.default is NO_DEFAULT:
                continue
            node = architecture.value.get(section)
            if node is None or node.value is None:
                node = architecture.replaced({})
            default = hypers.model_fields[key].get_default(call_default_factory=True)
            if key in node.value or fate.default in fate.left_out or same(fate.default, default):
                continue
            node.value[key] = node.replaced(fate.default)
            architecture.value[section] = node
            yield f"architecture.{section}.{dump({key: fate.default}).strip()}"


def _described(problem: Problem) -> str:
    line = "" if problem.place is None else f" (line {problem.place.line + 1})"
    advice = "" if problem.advice in ("", LEAVE_IT_OUT) else f"; {problem.advice}"
    return f"{problem.name}{line}: {problem.message}{advice}"


def _written(
    path: Path, program: str, options: Mapping[str, Any], left_out: list[str], added: list[str]
) -> Converted:
    comments = [f"Options of mtt, converted from those of {program} in {path.name}."]
    if left_out:
        comments += ["Left out:", *(f"  {line}" for line in left_out)]
    if added:
        comments += [f"Added, because {program} does so unasked:", *(f"  {line}" for line in added)]
    shown = [f"# {printable(line, _WIDTH)}".rstrip() for line in comments]
    text = "\n".join(shown) + "\n" + dump(options, _WIDTH)
    return Converted(text, program, left_out, added)
