"""Charge and spin multiplicity of structures, read from files and checked against what a model knows."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import ase
import numpy as np

from mtt.data.ase_frames import Kind, as_numbers, find, missing_hint
from mtt.data.frames import Frame, listed
from mtt.data.structure import NEUTRAL_SINGLET, Structure
from mtt.errors import UserError

if TYPE_CHECKING:
    from mtt.options.schema.extra_data import ExtraDataOptions

logger = logging.getLogger(__name__)

_KINDS: Final = {
    name: Kind(words, words, lambda array, n_atoms: array.size == 1 and array.ndim <= 1)
    for name, words in {"charge": "total charge", "spin_multiplicity": "spin multiplicity"}.items()
}
# Where ASE users put them, and metatomic's calculator for ASE looks for them.
_IN_INFO: Final = {"charge": ("charge",), "spin_multiplicity": ("spin_multiplicity", "spin")}
_LARGEST: Final = 10**6


def with_states(
    structures: list[Structure],
    frames: Sequence[Frame],
    options: "ExtraDataOptions | None",
    path: Path,
) -> list[Structure]:
    """Return the structures with the charge and spin multiplicity that their frames have.

    :param frames: what the structures were made of
    :raises UserError: frames without the number, unless the options allow that; numbers that are
        not whole, or no multiplicity
    """
    if options is None:
        return structures
    for name in options.names:
        asked, key, kind = getattr(options, name), options.key_of(name), _KINDS[name]
        values = [find(frame.atoms, key) for frame in frames]
        missing = [f.source for f, value in zip(frames, values, strict=True) if value is None]
        everywhere = len(missing) == len(frames)
        if missing and (everywhere or asked.missing == "error"):
            hint = missing_hint([frame.atoms for frame in frames], kind, key)
            rest = "" if everywhere else f" in {len(missing)} of {len(frames)} structures"
            default = "0 (neutral)" if name == "charge" else "1 (singlet)"
            raise UserError(
                f"no {kind.singular} is stored under the key '{key}'{rest}",
                where=str(path) if everywhere else f"{listed(missing)} (counted from 0)",
                hint=hint if everywhere else f"{hint}; 'missing: allow' takes {default} there",
            )
        if missing:
            text = "%s: no %s in %d of %d structures: %s"
            logger.info(text, path, kind.singular, len(missing), len(frames), listed(missing))
        structures = [
            structure
            if value is None
            else structure.in_state({name: _whole(value, name, key, frame.source)})
            for structure, value, frame in zip(structures, values, frames, strict=True)
        ]
    return structures


def state_of_atoms(atoms: ase.Atoms, source: str) -> dict[str, int]:
    """Return charge and spin multiplicity from ``atoms.info``, as metatomic's calculator takes them.

    Keys are ``charge``, and ``spin_multiplicity`` or ``spin``; what is not there is left out.

    :raises UserError: numbers that are not whole, or no multiplicity
    """
    state: dict[str, int] = {}
    for name, keys in _IN_INFO.items():
        key = next((key for key in keys if key in atoms.info), None)
        if key is not None:
            state[name] = _whole(atoms.info[key], name, key, source)
    return state


def _whole(value: object, name: str, key: str, source: str) -> int:
    """Return a number as the integer that it must be."""
    kind = _KINDS[name]
    array = as_numbers(value, kind.singular, key, source)
    number = float(array.ravel()[0]) if array.size == 1 else np.nan
    lowest = -_LARGEST if name == "charge" else 1
    if not (number == np.floor(number) and lowest <= number <= _LARGEST):
        raise UserError(
            f"the {kind.singular} under the key '{key}' is {np.squeeze(array).tolist()}; it must be a"
            f" whole number{'' if name == 'charge' else ' from 1 on'}",
            where=source,
            hint=None if name == "charge" else "it is 2 S + 1: 1 for singlets, 2 for doublets",
        )
    return int(number)


def check_states(
    structures: Iterable[Structure], known: tuple[Sequence[int], Sequence[int]] | None
) -> None:
    """Refuse structures in states that a model does not know.

    :param known: its charges and its spin multiplicities; None if it depends on neither
    :raises UserError: naming the first such structure
    """
    for structure in structures:
        if known is None and structure.state != NEUTRAL_SINGLET:
            raise UserError(
                f"the structure has the charge {structure.charge} and the spin multiplicity "
                f"{structure.spin_multiplicity}, and the model depends on neither",
                where=structure.source or None,
                hint="leave extra_data out, or train a model with system_conditioning: true",
            )
        for number, values, words in zip(structure.state, known or (), _WORDS, strict=False):
            if number not in values:
                raise UserError(
                    f"the structure has the {words} {number}, which the model is not trained with",
                    where=structure.source or None,
                    hint=f"it is trained with {', '.join(map(str, values))}",
                )


_WORDS: Final = ("charge", "spin multiplicity")
