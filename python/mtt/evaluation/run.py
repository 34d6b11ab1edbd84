"""Model and data in, predictions and their errors out: ``model.pt`` -> ``predictions.xyz``."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from mtt.data.compatibility import canonical
from mtt.data.readers import check_same_units, read_structures
from mtt.data.structure import Structure
from mtt.errors import UserError
from mtt.evaluation.errors import Errors, error_table, errors, parity_panels, write_xyz
from mtt.evaluation.predict import Prediction, Predictor, open_model
from mtt.files import check_keeps, check_writable, replacing
from mtt.options import DatasetOptions, load_eval_options
from mtt.report.plots import parity
from mtt.report.progress import Reporter


def run(
    model: Path,
    eval_options: Path,
    overrides: Sequence[str] = (),
    output: Path | None = None,
    device: str = "auto",
) -> None:
    """Predict the structures named in ``eval_options`` and compare with what is known of them.

    Writes ``output`` (extended XYZ with predictions and references), and beside it the errors as
    ``.json`` and, where there are references, parity plots as ``.png``. Files that are there
    already are replaced when the new ones are complete.

    :param model: exported model (.pt) or checkpoint (.ckpt), recognised by its content
    :param overrides: ``key=value`` changes to ``eval_options``
    :param output: default ``predictions.xyz`` in the current folder
    :raises UserError: for unusable options, data, model or output
    """
    output = Path("predictions.xyz") if output is None else output
    if output.suffix in (".json", ".png"):
        raise UserError(
            f"predictions are written as extended XYZ, not as {output.suffix}",
            where=str(output),
            hint="give a name ending in .xyz; the .json and .png are written beside it",
        )
    datasets = load_eval_options(eval_options, list(overrides))
    check_same_units({str(eval_options): datasets})
    for written_file in (output, output.with_suffix(".json"), output.with_suffix(".png")):
        check_keeps([model, eval_options, *_files(datasets)], written_file)
    check_writable(output)
    predictor = open_model(model, device)
    target = _target(predictor, datasets[0], model, eval_options)
    with Reporter() as reporter:
        sets = [read_structures(entry, require_targets=False) for entry in datasets]
        structures = [structure for one in sets for structure in one]
        predictions = _predict(predictor, structures, target, reporter.console)
        units = (datasets[0].targets[target].unit, datasets[0].systems.length_unit)
        panels = parity_panels(structures, predictions, target, *units)
        found = errors(panels)
        name = f"{model.name} on {_names(datasets)}: {len(structures)} structures"
        written = [output, output.with_suffix(".json")]
        replaced = [path for path in (*written, output.with_suffix(".png")) if path.exists()]
        write_xyz(output, structures, predictions, target)
        _write_json(written[1], _report(model, predictor, target, datasets, sets, found))
        if panels:
            written.append(output.with_suffix(".png"))
            shown = [panel for key, panel in panels.items() if key != "energy"]
            parity(shown, written[-1], name)
            reporter.console.print(error_table(found, name))
        else:
            reporter.message("the data has no reference values: no errors, no parity plots")
        for path in written:
            reporter.message(f"{'replaced' if path in replaced else 'wrote'} {path}")


def _target(predictor: Predictor, data: DatasetOptions, model: Path, eval_options: Path) -> str:
    """The name of the target to predict, after checking that model and data agree on it."""
    name = next(iter(data.targets))
    if name not in predictor.outputs:
        known = ", ".join(f"'{output}'" for output in predictor.outputs) or "no energy"
        raise UserError(
            f"the model has no target '{name}'",
            where=f"{eval_options} and {model}",
            hint=f"the model has {known}: use the same name under 'targets'",
        )
    for what, ours, theirs, where in (
        (f"'{name}' is", data.targets[name].unit, predictor.outputs[name], "unit"),
        ("lengths are", data.systems.length_unit, predictor.length_unit, "length_unit"),
    ):
        # A model of another program may leave its units open.
        if theirs and canonical(ours) != canonical(theirs):
            raise UserError(
                f"mixed units: {what} in {ours} in the data and in {theirs} in the model",
                where=f"{eval_options} and {model}",
                hint=f"state the unit of the data with '{where}' or convert the data",
            )
    return name


def _predict(
    predictor: Predictor, structures: list[Structure], target: str, console: Console
) -> list[Prediction]:
    iterator = predictor.predict(structures, target)
    return list(
        track(
            iterator,
            description="structures",
            total=len(structures),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
    )


def _files(datasets: list[DatasetOptions]) -> list[Path]:
    """Every data file that the options name."""
    files: list[Path | None] = [entry.systems.read_from for entry in datasets]
    for target in (target for entry in datasets for target in entry.targets.values()):
        for part in (target, target.forces, target.stress, target.virial):
            files.append(getattr(part, "read_from", None))
    return [path for path in files if path is not None]


def _names(datasets: list[DatasetOptions]) -> str:
    names = list(dict.fromkeys(entry.systems.read_from.name for entry in datasets))
    return names[0] if len(names) == 1 else f"{len(names)} files"


def _report(
    model: Path,
    predictor: Predictor,
    target: str,
    datasets: list[DatasetOptions],
    sets: list[list[Structure]],
    found: Errors,
) -> dict[str, Any]:
    return {
        "schema": 1,
        "model": {
            "path": str(model),
            "kind": predictor.kind,
            "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        },
        "data": [
            {"file": str(entry.systems.read_from), "structures": len(structures)}
            for entry, structures in zip(datasets, sets, strict=True)
        ],
        "target": target,
        "errors": found,
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", "ascii")
