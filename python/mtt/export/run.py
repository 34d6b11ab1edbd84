"""Checkpoint in, verified TorchScript file out: ``model.ckpt`` -> ``model.pt``.

The file appears under its name only after ``mtt-verify`` has passed it; whatever fails before leaves
what was there untouched. Beside it a statement says what it was made from, ``model.pt.intoto.json``.
"""

import logging
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mtt import checkpoint as checkpoints
from mtt.checkpoint import Header
from mtt.data.target import ENERGY, Target
from mtt.export import process as export_process
from mtt.export import provenance
from mtt.files import check_keeps, check_writable, replacing, sha256_of
from mtt.printable import printable
from mtt.unit_expressions import is_unit
from mtt.verify.report.terminal import Progress

if TYPE_CHECKING:
    from mtt.verify.report import Report

_log = logging.getLogger(__name__)
# Who asks for outputs of any kind.
WITHOUT_ENERGY = "lammps:compute"
ONE_NUMBER = "ENGINE/lammps:compute"
# Engines that give charge and spin multiplicity of a system to models that ask for them.
WITH_STATES = ("ase",)
_LONGEST = 100
QUICK_FAMILIES = ["LOAD", "SCHEMA", "PARITY"]
Verify = Literal["quick", "full", "none"]


def run(
    checkpoint: Path,
    output: Path | None = None,
    weights: Literal["best", "last"] = "best",
    metadata: Path | None = None,
    verify: Verify = "quick",
    source: dict[str, Any] | None = None,
    keep: "Callable[[Report], None] | None" = None,
) -> Path:
    """Export ``checkpoint`` and return the path of the file written.

    :param output: default: the checkpoint's stem with ``.pt`` in the current folder
    :param weights: those of the best epoch by the validation metric, or the last ones
    :param metadata: YAML with name, description, authors, references and extra keys
    :param verify: ``quick`` runs LOAD, SCHEMA and PARITY, ``full`` all families, ``none`` nothing,
        which the file then records about itself
    :param source: where the checkpoint was fetched from, for the statement beside the file; not for
        the file, which is the same wherever its checkpoint has been
    :param keep: called with the verification report, also if a check failed
    :raises UserError: unreadable checkpoint or metadata, output that cannot be written
    :raises VerificationFailed: a check failed; nothing was written
    """
    output = Path(checkpoint.stem + ".pt") if output is None else output
    beside = provenance.statement_path(output)
    for path in (output, beside):
        check_keeps([checkpoint, *([metadata] if metadata else [])], path)
    fields = None
    if metadata is not None:
        from mtt.options import load_metadata

        fields = load_metadata(metadata).model_dump(mode="json")
    check_writable(beside)
    # Before a process is started for it.
    header = checkpoints.read_header(checkpoint)
    checkpoints.check_architecture(header, checkpoint)
    for target in header.targets:
        if not is_unit(target.unit):
            _log.warning(
                "warning: no engine knows the unit '%s' of '%s': the model file has none for it",
                printable(target.unit, _LONGEST),
                target.name,
            )
    date = provenance.date()
    task = export_process.Task(checkpoint, weights, fields, verified=verify != "none")
    with replacing(output) as temporary:
        _log.info("exporting the weights of %s", weights_in_words(header, weights))
        if weights == "last" and header.uncertainties:
            _log.info("without uncertainties: those of the checkpoint are of its best weights")
        with Progress("exporting"):
            temporary.write_bytes(export_process.run(task))
        if verify != "none":
            _log.info("verifying %s: %s checks", output, "all" if verify == "full" else "the quick")
        engines, skip = None, None
        if verify != "none" and _is_conditioned(header):
            engines = list(WITH_STATES)
            _log.info(
                "the model depends on charge and spin: it is verified for %s, which gives them; the "
                "table says what others do",
                " and ".join(name.upper() for name in WITH_STATES),
            )
        elif verify != "none" and not any(map(_engines_find, header.targets)):
            engines = [WITHOUT_ENERGY]
            _log.info(
                "no engine can run MD with a model that has no energy by the name of 'energy' or "
                "'energy/VARIANT': it is verified for those who "
                "ask for its outputs, as 'compute metatomic' of LAMMPS does"
            )
            if all(map(_has_several_numbers, header.targets)):
                skip = {
                    ONE_NUMBER: "it reads one number of a system or atom, and the model gives more"
                }
                _log.info("that command reads single numbers only: its own calls are not tried")
        report = verified(temporary, output, verify, keep, engines, skip)
        digest = sha256_of(temporary)
    made = provenance.Made(output.name, digest, report, date)
    provenance.write_statement(beside, provenance.of_export(made, output, checkpoint.name, source))
    return output


def _engines_find(target: Target) -> bool:
    """Return whether engines that run MD ask for a target."""
    return target.is_energy and target.name.partition("/")[0] == ENERGY


def _has_several_numbers(target: Target) -> bool:
    """Return whether no engine reads a target that is none of their own, as a spectrum."""
    return target.properties > 1 or target.type == "matrix"


def _is_conditioned(header: Header) -> bool:
    return header.architecture.hypers.get("system_conditioning") is True


def weights_in_words(header: Header, weights: str) -> str:
    """Return which weights these are: the epoch, and what its metric was, on which set."""
    best, epochs = header.best, header.position.epoch
    if header.origin is not None and header.num_steps == 0:
        return f"the base: {header.origin.weights} weights, epoch {header.origin.epoch}"
    if weights == "last":
        return f"the last epoch, {epochs}"
    if not best.epoch or best.value is None:
        return "the start: no epoch has been finished"
    metric = printable(best.metric, _LONGEST)
    of = header.judged_by
    return f"the best epoch, {best.epoch} of {epochs} ({of} {metric} {best.value:.4g})"


def verified(
    temporary: Path,
    output: Path,
    verify: Verify,
    keep: "Callable[[Report], None] | None" = None,
    engines: list[str] | None = None,
    skip: Mapping[str, str] | None = None,
) -> "Report | None":
    """The report of the checks that were asked for, on a file not yet named ``output``.

    :param engines: whose use of the file decides; all that run MD if None
    :param skip: checks to leave out, each with the reason, which the report records
    :raises VerificationFailed: a check failed
    """
    if verify == "none":
        warnings.warn(
            f"{output} is written without verification, and says so in its provenance",
            stacklevel=1,
        )
        return None
    from mtt.verify import run as verification
    from mtt.verify.settings import Settings
    from mtt.verify.waivers import beside

    families = QUICK_FAMILIES if verify == "quick" else None
    settings = Settings(only=families, skip=skip, engines=engines, waivers=beside(output))
    return verification.run(temporary, settings=settings, display=str(output), keep=keep)
