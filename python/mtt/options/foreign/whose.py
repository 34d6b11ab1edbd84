"""Tells whose options a file has, where one command or another start does more than many edits."""

from collections.abc import Collection, Sequence
from typing import Final

from mtt.options.foreign.fates import LEAVE_IT_OUT
from mtt.options.foreign.mace_arguments import ARGUMENTS, SPELLINGS
from mtt.options.reading.problems import SHORTEST, Problem

# Names at the top of a file; each program has some that the others lack.
_NEQUIP: Final = frozenset(
    (
        *("root", "run_name", "dataset_file_name", "model_builders", "chemical_symbols", "n_train"),
        *("n_val", "loss_coeffs", "model_type_names", "training_module", "trainer"),
    )
)
# Names that options of mtt have at the top, in one spelling or another.
_SHARED: Final = frozenset({"device", "seed"})
_ENOUGH: Final = 3


def advice_for(names: Collection[str], problems: Sequence[Problem], file: str) -> str:
    """Return what to do with the options of another program; nothing if they are of none.

    :param names: those at the top of the file
    :param problems: what is wrong with it
    """
    if "architecture" in names:
        absent = [problem for problem in problems if problem.advice == LEAVE_IT_OUT]
        unknown = any(problem.name == "architecture.name" for problem in problems)
        if len(absent) < _ENOUGH or unknown:
            return ""
        return f"to leave out all that mtt does not have: mtt convert options {file} -o NEW.yaml"
    if is_nequip(names):
        return f"these are options of NequIP, which mtt cannot convert: begin with {SHORTEST}"
    mace = len((set(names) & {*ARGUMENTS, *SPELLINGS}) - _SHARED)
    if mace >= _ENOUGH:
        return f"these are options of MACE: mtt convert options {file} -o options.yaml"
    return ""


def is_nequip(names: Collection[str]) -> bool:
    """Return whether the names at the top of a file are those of NequIP."""
    return len(set(names) & _NEQUIP) >= _ENOUGH
