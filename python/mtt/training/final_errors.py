"""The errors of the best model of a run on its validation and test sets, once all epochs are done.

On its training set, if it has neither.
"""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mtt.checkpoint import MeasuredError
from mtt.data.reader import Reader
from mtt.evaluation.analysis import Analysis, analyse, error_table
from mtt.evaluation.predict import open_model
from mtt.files import write_atomic
from mtt.report.progress import Reporter
from mtt.tokens import redacted_json
from mtt.training.loop import reproducible
from mtt.training.prepare import Run
from mtt.training.runs.folder import ANALYSIS, ERRORS
from mtt.training.runs.saving import REST_IS_MADE, tolerate

TEST: Final = "test"
TRAINING: Final = "training"
Analyses = Mapping[str, Analysis]


def evaluate(job: Run, ckpt: Path, reporter: Reporter) -> dict[str, Analysis]:
    """Return the analysis of each set that has structures, and show the main numbers."""
    analyses = {}
    for name, structures in _sets(job).items():
        reporter.message(f"evaluating the best model on the {name} set")
        model = open_model(ckpt, str(job.problem.device))
        with reproducible(job.problem.device):
            predictions = list(model.predict(structures))
            analyses[name] = analyse(
                model, structures, predictions, model.targets, model.length_unit
            )
        title = title_of(name, len(structures))
        last = name == TEST or not job.data.test
        for part in (
            analyses[name].show(title, calibrated=name == "validation")
            if last
            else [error_table(analyses[name].errors, title)]
        ):
            reporter.show(part)
    return analyses


def _sets(job: Run) -> Mapping[str, Reader]:
    """Return the sets to look at: those that the model was not trained on, if there are any."""
    held_out = {"validation": job.data.validation, TEST: job.data.test}
    return {name: of for name, of in held_out.items() if of} or {TRAINING: job.data.train}


def title_of(name: str, structures: int) -> str:
    """Return the title of tables and pictures of a set."""
    return f"best model on the {name} set: {structures} structures"


def write(job: Run, analyses: Analyses, folder: Path, reporter: Reporter) -> None:
    """Write pictures and numbers to the folder of a run; the last of the files is ``errors.json``."""
    from mtt.report.error_plots import error_plots
    from mtt.report.plots import save

    def draw(name: str) -> None:
        analysis = analyses[name]
        title = title_of(name, len(_sets(job)[name]))
        figure = error_plots(analysis.drawn, title, analysis.calibrations)
        save(figure, folder / f"parity_{name}.png")

    for name in analyses:
        tolerate("a picture", functools.partial(draw, name), reporter, REST_IS_MADE)
    everything = {name: analysis.to_dict() for name, analysis in analyses.items()}
    errors = {name: analysis.errors for name, analysis in analyses.items()}
    for name, content in ((ANALYSIS, everything), (ERRORS, errors)):
        text = json.dumps(redacted_json(content), indent=2, allow_nan=False) + "\n"
        write_file = functools.partial(write_atomic, folder / name, text.encode())
        tolerate("the errors", write_file, reporter, REST_IS_MADE)


def measured(analyses: Analyses) -> list[MeasuredError]:
    """Return the test errors as a checkpoint has them; none without a test set."""
    if TEST not in analyses:
        return []
    return [
        MeasuredError(
            name, str(row["unit"]), float(row["rmse"]), float(row["mae"]), int(row["values"])
        )
        for name, row in analyses[TEST].errors.items()
    ]
