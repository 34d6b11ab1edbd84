"""The base of a fine-tuning: which checkpoint it is, and whether it fits the options.

torch is not needed for that, so mistakes are told before it is imported.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtt import architecture_registry
from mtt import checkpoint as checkpoints
from mtt.checkpoint import Header, Origin
from mtt.data.target import Target
from mtt.errors import UserError
from mtt.options import Options, TargetOptions
from mtt.options.reading.problems import missing_file
from mtt.training.runs.option_changes import BASE, differences, is_base
from mtt.units import fits

_OPTION = "architecture.training.fine_tune"


def find_base(options: Options, source: Path | None) -> Path | None:
    """The checkpoint to begin a fine-tuning with.

    :param source: the checkpoint that ``--continue`` stands for
    :return: None if a run resumes from ``source``, or begins without a base
    :raises UserError: if no base is named, or another one than by the options
    """
    chosen = options.architecture.training.fine_tune
    if chosen is None:
        return None
    if source is None and chosen.read_from is None:
        raise UserError(
            "there is no base to fine-tune",
            where=_OPTION,
            hint="name its checkpoint, as in 'mtt train options.yaml --continue base.ckpt', or in "
            "the options, as in fine_tune: {read_from: base.ckpt}",
        )
    if source is None or (chosen.read_from is not None and _same_file(source, chosen.read_from)):
        assert chosen.read_from is not None
        if not chosen.read_from.exists():
            raise UserError(missing_file(chosen.read_from, "base"), where=BASE)
        return chosen.read_from
    # A run that has a base itself is resumed: where it is to be a base, read_from says so.
    if checkpoints.read_header(source).origin is not None:
        return None
    if chosen.read_from is None:
        return source
    raise UserError(
        f"this is no checkpoint of this run, whose base is {chosen.read_from}",
        where=str(source),
        hint=f"leave --continue out to begin with that base; to begin with this one, name it in {BASE}",
    )


def check_fits(header: Header, options: Options, path: Path) -> None:
    """The model that the options describe must be that of the base.

    :raises UserError: naming everything that differs
    """
    _check_members(header, options, path)
    conflicts = differences(_described(header), _asked_for(options, header))
    if conflicts and conflicts[0][0] == "architecture.name":
        conflicts = conflicts[:1]  # all hypers differ then
    if conflicts:
        raise UserError(
            "the model of the base is not the one that the options describe:",
            details=[f"{key}: {old} in the base, now {new}" for key, old, new in conflicts],
            where=str(path),
            hint="a fine-tuned model has hypers and targets of its base: leave hypers out of the "
            "options, and describe targets as those of the base",
        )


def _check_members(header: Header, options: Options, path: Path) -> None:
    """Refuse to make another number of models of a base than it has; one seed takes all of them."""
    members = max(1, len(header.seeds))
    if isinstance(options.seed, list) and len(options.seed) != members:
        raise UserError(
            f"the base has {members} model{'s' if members > 1 else ''}, and `seed` asks for "
            f"{len(options.seed)}",
            where=str(path),
            hint="give one seed: an ensemble is then fine-tuned as a whole",
        )


def protect(origin: Origin, output: Path) -> None:
    """Refuse to write the new model over its base.

    :param origin: what the new run's checkpoints say of the base
    """
    path = output.with_suffix(".ckpt")
    try:
        there = checkpoints.read_header(path)
    except UserError:
        return
    if is_base(there, origin):
        raise UserError(
            "the fine-tuned model would replace its base",
            where=str(path),
            hint="give it a name of its own, as in --output fine-tuned.pt",
        )


def _unit(own: str, base: str, stated: bool) -> str:
    """Return the unit that data are converted to: that of the base, if it can be had."""
    return base if fits(own, base, stated) else own


def _same_file(path: Path, other: Path) -> bool:
    return path.resolve() == other.resolve()


def _described(header: Header) -> dict[str, Any]:
    hypers = header.architecture.hypers
    # A hyper that the base does not mention has its default.
    with contextlib.suppress(ValueError):
        model = architecture_registry.get(header.architecture.name).ModelHypers.model_validate(
            hypers
        )
        hypers = model.model_dump(mode="json")
    return {
        "architecture": {
            "name": header.architecture.name,
            "model": hypers,
        },
        **_targets({target.name: target for target in header.targets}),
        "length_unit": header.length_unit,
    }


def _asked_for(options: Options, header: Header) -> dict[str, Any]:
    first = options.training_set[0]
    units = {target.name: target.unit for target in header.targets}
    targets = {
        name: target.model_copy(
            update={
                "unit": _unit(
                    target.unit,
                    units.get(name, target.unit),
                    "unit" in target.model_fields_set,
                )
            }
        )
        for name, target in first.targets.items()
    }
    stated = "length_unit" in first.systems.model_fields_set
    return {
        "architecture": {
            "name": options.architecture.name,
            "model": options.architecture.model.model_dump(mode="json"),
        },
        **_targets(targets),
        "length_unit": _unit(first.systems.length_unit, header.length_unit, stated),
    }


def _targets(targets: "Mapping[str, Target | TargetOptions]") -> dict[str, Any]:
    """Return what must agree of the targets; a single one is called just that."""
    if len(targets) == 1:
        ((name, target),) = targets.items()
        return {"target": name, "unit": target.unit, **_kind(target)}
    described = {
        name: {"quantity": target.quantity, "unit": target.unit, "per": target.per, **_kind(target)}
        for name, target in targets.items()
    }
    return {"targets": described}


def _kind(target: "Target | TargetOptions") -> dict[str, Any]:
    """Return how a target turns and how many numbers it has, where it is not one that turns not."""
    irreps = [
        irrep if isinstance(irrep, tuple) else (irrep.o3_lambda, irrep.o3_sigma)
        for irrep in target.irreps or ()
    ]
    kind = {"type": target.type, "properties": target.properties, "irreps": irreps}
    return {key: value for key, value in kind.items() if value not in ("scalar", 1, [])}
