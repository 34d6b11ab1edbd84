"""Model and data in, predictions and their errors out: ``model.pt`` -> ``predictions.xyz``."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track

from mtt.data.ase_targets import described
from mtt.data.dataset import unknown_type
from mtt.data.read_files import named_files, read_structures
from mtt.data.same_units import Units, check_same_targets
from mtt.data.structure import Structure
from mtt.data.target import Target
from mtt.errors import UserError
from mtt.evaluation.analysis import Analysis, analyse
from mtt.evaluation.calibration import of_structures
from mtt.evaluation.predict import Predictor, TargetPrediction, open_model
from mtt.evaluation.results import write_xyz
from mtt.files import check_keeps, check_writable, replacing, sha256_of
from mtt.options import DatasetOptions, load_eval_options
from mtt.options.schema.datasets import GRADIENTS, SystemsOptions, TargetOptions
from mtt.report.error_plots import error_plots
from mtt.report.plots import save
from mtt.report.progress import Reporter
from mtt.tokens import redacted_json
from mtt.units import fits
from mtt.verify.predictions import NO_EXCEPTIONS, Exceptions

logger = logging.getLogger(__name__)


def run(
    model: Path,
    eval_options: Path,
    overrides: Sequence[str] = (),
    output: Path | None = None,
    device: str = "auto",
    exceptions: Exceptions = NO_EXCEPTIONS,
    display: str | None = None,
    extensions: Path | None = None,
    max_rotation_error: float | None = None,
) -> None:
    """Predict the structures named in ``eval_options`` and compare with what is known of them.

    Predicts the targets that ``eval_options`` names, or all of the model where it names none.
    Writes ``output`` (extended XYZ with predictions and references), and beside it the errors as
    ``.json`` and, where there are references, their pictures as ``.png``. Files that are there
    already are replaced when the new ones are complete.

    :param model: exported model (.pt) or checkpoint (.ckpt), recognised by its content
    :param overrides: ``key=value`` changes to ``eval_options``
    :param display: name to record in the place of ``model``, which may be a copy
    :param output: default ``predictions.xyz`` in the current folder
    :param exceptions: what a model file may do beyond what any may
    :param extensions: folder of the compiled extensions that a model file needs
    :param max_rotation_error: most that rotations may change, in meV per atom and meV/angstrom
    :raises UserError: for unusable options, data, model or output
    :raises VerificationFailed: rotations change more than is allowed; the files are written
    """
    output = Path("predictions.xyz") if output is None else output
    if output.suffix in (".json", ".png"):
        raise UserError(
            f"predictions are written as extended XYZ, not as {output.suffix}",
            where=str(output),
            hint="give a name ending in .xyz; the .json and .png are written beside it",
        )
    datasets = load_eval_options(eval_options, list(overrides))
    check_same_targets({str(eval_options): datasets})
    for written_file in (output, output.with_suffix(".json"), output.with_suffix(".png")):
        check_keeps([model, eval_options, *named_files(datasets)], written_file)
    check_writable(output)
    predictor = open_model(model, device, exceptions, extensions)
    shown = display or str(model)
    where = f"{eval_options} and {model}"
    with Reporter() as reporter:
        done = compare(predictor, datasets, where, reporter.console)
        analysis = done.analysis
        name = f"{model.name} on {_names(datasets)}: {len(done.structures)} structures"
        written = [output, output.with_suffix(".json")]
        replaced = [path for path in (*written, output.with_suffix(".png")) if path.exists()]
        write_xyz(output, done.structures, done.predictions, done.targets, analysis.starts)
        _write_json(written[1], _report(model, shown, predictor, datasets, done))
        if analysis.drawn:
            written.append(output.with_suffix(".png"))
            save(error_plots(analysis.drawn, name, analysis.calibrations), written[-1])
        else:
            reporter.message("the data has no reference values: no errors, no parity plots")
        for part in analysis.show(name):
            reporter.show(part)
        for path in written:
            reporter.message(f"{'replaced' if path in replaced else 'wrote'} {path}")
    if analysis.rotation is not None:
        analysis.rotation.check(max_rotation_error, shown)


class Comparison(NamedTuple):
    """Structures, in the units of the data, with what a model predicts of ``targets`` for each."""

    targets: list[Target]
    sets: list[list[Structure]]
    structures: list[Structure]
    predictions: list[dict[str, TargetPrediction]]
    analysis: Analysis


def compare(
    predictor: Predictor,
    datasets: list[DatasetOptions],
    where: str,
    console: Console | None = None,
) -> Comparison:
    """Predict the structures of data sets, and compare with what is known of them.

    :param where: what data and model are, for messages
    :param console: on which progress is shown
    :raises UserError: unusable data; elements or targets that the model does not know
    """
    datasets, targets = _matched(predictor, datasets, where)
    units = _units(predictor, targets, datasets)
    rooms = {target.name: target.room for target in targets}
    sets = [read_structures(entry, False, units, rooms) for entry in datasets]
    structures = [structure for structures in sets for structure in structures]
    _check_types(predictor, structures)
    predictor.check_states(structures)
    if predictor.conditioned and all(entry.extra_data is None for entry in datasets):
        logger.warning(
            "the model depends on charge and spin, and extra_data does not say where they are: all "
            "structures are taken for neutral singlets"
        )
    asked = predictor.with_uncertainties(targets)
    predictions = _predict(predictor, structures, asked, console)
    analysis = analyse(predictor, structures, predictions, targets, units.length)
    return Comparison(asked, sets, structures, predictions, analysis)


def _check_types(predictor: Predictor, structures: Sequence[Structure]) -> None:
    """Refuse elements that the model does not know, before hours of predictions of the others."""
    for structure in structures:
        unknown = ~np.isin(structure.types, predictor.atomic_types)
        if unknown.any():
            raise unknown_type(structure, int(unknown.argmax()), predictor.atomic_types)


def _matched(
    predictor: Predictor, datasets: list[DatasetOptions], where: str
) -> tuple[list[DatasetOptions], list[Target]]:
    """Return the data with its targets, and the targets to predict, on which model and data agree.

    :raises UserError: the model lacks a target of the data, or they differ in a unit or in ``per``
    """
    if all("targets" not in entry.model_fields_set for entry in datasets):
        asked = _targets_of(predictor.targets, datasets[0].systems)
        datasets = [entry.model_copy(update={"targets": asked}) for entry in datasets]
        targets = predictor.targets
        if not targets:
            raise UserError("the model has no target that is known", where=where)
    else:
        known = {target.name: target for target in predictor.targets}
        asked = datasets[0].targets
        for name in asked:
            if name not in known:
                listed = ", ".join(f"'{target}'" for target in known) or "no energy"
                raise UserError(
                    f"the model has no target '{name}'",
                    where=where,
                    hint=f"the model has {listed}: use the same name under 'targets'",
                )
        targets = [_agreed(known[name], asked[name], predictor, where) for name in asked]
    _check_units(datasets[0].systems, asked, targets, predictor.length_unit, where)
    return datasets, targets


def _units(
    predictor: Predictor, targets: Sequence[Target], datasets: Sequence[DatasetOptions]
) -> Units:
    """Return the units of the model, and those of the first data set where it names none."""
    first = Units.of(datasets[0])
    units = {target.name: target.unit or first.targets.get(target.name, "") for target in targets}
    return Units(predictor.length_unit or first.length, units)


def _targets_of(targets: Sequence[Target], systems: SystemsOptions) -> dict[str, TargetOptions]:
    """Return what to look for in data of which nobody said what it has: values by default keys.

    A key that several targets have by default belongs to the first of them, as forces and stress do.
    Nothing is looked for of a further target that the model gives in another than the default unit.
    """
    taken: set[str] = set()
    options: dict[str, TargetOptions] = {}
    for target in targets:
        fields: dict[str, Any] = {
            name: getattr(target, name) for name in ("quantity", "per", "type", "properties")
        }
        if target.type == "spherical":
            fields["irreps"] = [
                {"o3_lambda": degree, "o3_sigma": parity} for degree, parity in target.irreps
            ]
        if target.is_energy and any(other.is_energy for other in options.values()):
            fields |= dict.fromkeys(GRADIENTS, False)
        asked = {"systems": systems, "targets": {target.name: fields}}
        option = DatasetOptions.model_validate(asked).targets[target.name]
        open_unit = not (option.unit and target.unit)
        comparable = not taken or open_unit or fits(option.unit, target.unit, stated=False)
        if option.key not in taken and comparable:
            options[target.name] = option
            taken.add(option.key)
    return options


def _agreed(target: Target, asked: TargetOptions, predictor: Predictor, where: str) -> Target:
    """Return the model's target, as the data describe it where the model's file says too little."""
    own = replace(
        target,
        quantity=asked.quantity or target.quantity,
        per=asked.per,
        type=asked.type,
        properties=asked.properties,
        irreps=described(target.name, asked).irreps,
    )
    if own == target:
        return target
    if not predictor.described:
        return own.with_all_gradients()
    kinds = [(one.type, one.irreps, one.properties) for one in (own, target)]
    if kinds[0] != kinds[1]:
        words = [
            f"type {kind}{f' of {list(irreps)}' if irreps else ''} and {number} properties"
            for kind, irreps, number in kinds
        ]
        raise UserError(
            f"'{target.name}' has {words[0]} in the data, and {words[1]} in the model",
            where=where,
            hint="state what the data has with 'type', 'irreps' and 'properties'",
        )
    ours, theirs = asked.quantity or "a value", target.quantity or "a value"
    raise UserError(
        f"'{target.name}' is {ours} per {asked.per} in the data and {theirs} per {target.per} in the"
        " model",
        where=where,
        hint="state what the data has with 'quantity' and 'per', or use the model's other targets",
    )


def _check_units(
    systems: SystemsOptions,
    asked: Mapping[str, TargetOptions],
    targets: Sequence[Target],
    length_unit: str,
    where: str,
) -> None:
    units = [
        (f"'{target.name}' is", asked[target.name], asked[target.name].unit, target.unit, "unit")
        for target in targets
        if target.name in asked
    ]
    for what, options, ours, theirs, option in [
        *units,
        ("lengths are", systems, systems.length_unit, length_unit, "length_unit"),
    ]:
        # A model of another program may leave its units open, and data the unit of a scalar.
        if ours and theirs and not fits(ours, theirs, stated=option in options.model_fields_set):
            raise UserError(
                f"mixed units: {what} in {ours} in the data and in {theirs} in the model",
                where=where,
                hint=f"state the unit of the data with '{option}' or convert the data",
            )


def _predict(
    predictor: Predictor,
    structures: list[Structure],
    targets: Sequence[Target],
    console: Console | None,
) -> list[dict[str, TargetPrediction]]:
    return list(
        track(
            predictor.predict(structures, targets),
            description="structures",
            total=len(structures),
            console=console,
            transient=True,
            disable=console is None or not console.is_terminal,
        )
    )


def _names(datasets: list[DatasetOptions]) -> str:
    names = list(dict.fromkeys(entry.systems.read_from.name for entry in datasets))
    return names[0] if len(names) == 1 else f"{len(names)} files"


def _report(
    model: Path,
    shown: str,
    predictor: Predictor,
    datasets: list[DatasetOptions],
    done: Comparison,
) -> dict[str, Any]:
    return {
        "schema": 2,
        "model": {
            "path": shown,
            "kind": predictor.kind,
            "sha256": sha256_of(model),
        },
        "data": [
            {"file": str(entry.systems.read_from), "structures": len(structures)}
            for entry, structures in zip(datasets, done.sets, strict=True)
        ],
        "targets": [target.to_dict() for target in done.targets],
        **done.analysis.to_dict(),
        "uncertainties": of_structures(done.analysis.calibrations),
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        harmless = redacted_json(content)
        temporary.write_text(json.dumps(harmless, indent=2, allow_nan=False) + "\n", "ascii")
