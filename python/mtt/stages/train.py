"""Options and data in, checkpoint and verified model out: ``options.yaml`` -> ``model.ckpt``."""

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path

from ..errors import UserError
from ..files import write_atomic
from ..options import Options
from ..report.files import check_writable
from ..report.metrics import MetricsCsv
from ..report.progress import Reporter
from ..training.folder import OUTPUTS, command_to_continue, new_run_folder, write_options
from ..training.loop import Interrupted, train
from ..training.prepare import Run, prepare
from ..training.resume import newest_checkpoint
from ..training.signals import StopSignals
from . import checkpoint as checkpoints
from . import verify


def run(
    options: Options,
    continue_from: Path | str | None = None,
    output: Path = Path("model.pt"),
) -> None:
    """Train, or go on with training, and export the best model.

    Progress goes to ``outputs/DATE/TIME/``, made once options, data and model have been found good.
    At the end the checkpoint is written beside ``output``, which itself appears once verified.

    :param continue_from: a checkpoint, or ``"auto"`` for the newest one of this run in ``outputs/``
    :param output: the model file to write, ending in ``.pt``
    :raises UserError: unusable data, device, checkpoint or output; options that have changed;
        training that has diverged
    :raises VerificationFailed: the exported model failed a check
    :raises KeyboardInterrupt: after SIGINT, or Terminated after SIGTERM, once the state is saved;
        the text says how to go on
    """
    check_writable(output)
    verify.program()  # a model that cannot be verified would be refused after the last epoch
    hypers = options.architecture.training
    with Reporter(log_interval=hypers.log_interval) as reporter:
        source = None
        if continue_from is not None:
            automatic = str(continue_from) == "auto"
            source = newest_checkpoint(OUTPUTS, options) if automatic else Path(continue_from)
        work = prepare(options, source, output, reporter.message)
        if work.finished:
            assert source is not None
            _already_finished(work, source, reporter)
            return
        folder = new_run_folder()
        reporter.log_to(folder / "train.log")
        write_options(options, folder / "options.yaml")
        reporter.message(f"results go to {folder}")
        _train(work, folder, reporter)
        _finish(work, folder, reporter)


class _Observer:
    """Shows and records what the loop does, and saves at the end of epochs.

    What cannot be written is reported, and training goes on: a full disk must not cost the run.
    """

    def __init__(self, work: Run, folder: Path, reporter: Reporter, signals: StopSignals) -> None:
        self.work, self.folder, self.reporter, self.signals = work, folder, reporter, signals
        self.interval = work.problem.hypers.checkpoint_interval
        history = [in_order(row) for row in work.state.history]
        self.metrics = MetricsCsv(folder / "metrics.csv", history)
        self.step = reporter.step

    def stop_requested(self) -> bool:
        return self.signals.received is not None

    def epoch(self, row: dict[str, float]) -> None:
        tolerate("the metrics", lambda: self.metrics.write(in_order(row)), self.reporter)
        tolerate("the log", lambda: self.reporter.epoch(row), self.reporter)
        epoch = self.work.state.position.epoch
        if epoch % self.interval == 0 or self.work.finished:
            path = self.folder / f"model_{epoch}.ckpt"
            tolerate("the checkpoint", lambda: self.work.save(path), self.reporter)


def in_order(row: dict[str, float]) -> dict[str, float]:
    """A row of the history as people read it; in a checkpoint its keys are sorted by the alphabet."""

    def place(name: str) -> tuple[int, bool, str]:
        prefix, _, rest = name.partition("_")
        return (
            ("epoch", "step", "learning", "train", "validation").index(prefix),
            rest != "loss",
            rest,
        )

    return {name: row[name] for name in sorted(row, key=place)}


def tolerate(what: str, write: Callable[[], None], reporter: Reporter) -> bool:
    """Whether ``write`` succeeded; if it did not, say so and go on."""
    try:
        write()
    except (UserError, OSError) as error:
        reason = error.what if isinstance(error, UserError) else str(error)
        where = f" ({error.where})" if isinstance(error, UserError) and error.where else ""
        text = f"warning: {what} could not be written: {reason}{where}; training goes on"
        try:
            reporter.message(text)
        except UserError:  # the log is on the same full disk
            print(text, file=sys.stderr)
        return False
    return True


def _train(work: Run, folder: Path, reporter: Reporter) -> None:
    problem, position = work.problem, work.state.position
    target = next(iter(work.header["targets"].values()))
    units = {"energy": str(target["unit"]), "length": str(work.header["length_unit"])}
    reporter.start(
        problem.hypers.num_epochs, problem.steps_per_epoch, units, position.epoch, position.batch
    )
    with StopSignals() as signals:
        observer = _Observer(work, folder, reporter, signals)
        try:
            train(work.state, problem, observer)
        except Interrupted:
            reporter.finish()
            raise signals.exception(_save_interrupted(work, folder, reporter)) from None
    reporter.finish()


def _save_interrupted(work: Run, folder: Path, reporter: Reporter) -> str:
    """Save in the middle of an epoch; what to tell the user."""
    position = work.state.position
    step = f"_{position.step}" if position.batch else ""
    path = folder / f"model_{position.epoch}{step}.ckpt"
    when = f"after {position.epoch} epochs and {position.step} steps"
    if not tolerate("the checkpoint", lambda: work.save(path), reporter):
        return f"interrupted {when}; the state could not be saved"
    # No pictures: whoever sent the signal may not wait long.
    command = command_to_continue(folder, path, work.output)
    return f"interrupted {when}; saved {path}\ngo on with: {command}"


def _already_finished(work: Run, source: Path, reporter: Reporter) -> None:
    """Going on with a finished run changes nothing, but results that are missing are made."""
    reporter.message(
        f"training is finished: all {work.problem.hypers.num_epochs} epochs are done, "
        "there is nothing to go on with"
    )
    ckpt = work.output.with_suffix(".ckpt")
    same = ckpt.exists() and _content(ckpt) == checkpoints.read_header(source)["content_hash"]
    if not same:
        write_atomic(ckpt, source.read_bytes())
        reporter.message(f"wrote {ckpt}")
    if not (same and work.output.exists()):
        _export(ckpt, work.output, reporter)


def _content(path: Path) -> str | None:
    try:
        return str(checkpoints.read_header(path)["content_hash"])
    except UserError:
        return None


def _finish(work: Run, folder: Path, reporter: Reporter) -> None:
    """Checkpoint, pictures, final errors, and the exported model."""
    best = work.state.best_epoch
    value = "" if best.value is None else f" ({best.metric} {best.value:.4g} on the validation set)"
    reporter.message(f"training is done; the best epoch was {best.epoch}{value}")
    ckpt = work.output.with_suffix(".ckpt")
    try:
        work.save(ckpt)
    except UserError as error:
        kept = folder / f"model_{work.state.position.epoch}.ckpt"
        hint = error.hint
        if kept.exists():
            hint = f"{kept} has the finished run: 'mtt export {kept}' makes the model file"
        raise UserError(error.what, error.where, hint) from error
    reporter.message(f"wrote {ckpt}")
    tolerate("the learning curve", lambda: _learning_curve(work, folder), reporter)
    _final_errors(work, ckpt, folder, reporter)
    _export(ckpt, work.output, reporter)


def _learning_curve(work: Run, folder: Path) -> None:
    from ..report.plots import learning_curve

    target = next(iter(work.header["targets"].values()))
    learning_curve(
        work.state.history,
        folder / "learning_curve.png",
        target["unit"],
        work.header["length_unit"],
        work.state.best_epoch.epoch or None,
    )


def _final_errors(work: Run, ckpt: Path, folder: Path, reporter: Reporter) -> None:
    """Errors of the best model on validation and test set: table, JSON and parity plots."""
    from ..report.plots import parity
    from ..report.predictions import error_table, errors, parity_panels
    from .predict import open_model

    model = open_model(ckpt, str(work.problem.device))
    ((target, described),) = work.header["targets"].items()
    units = (described["unit"], work.header["length_unit"])
    found = {}
    for name, structures in (("validation", work.data.validation), ("test", work.data.test)):
        if not structures:
            continue
        predictions = list(model.predict(structures, target))
        panels = parity_panels(structures, predictions, target, *units)
        found[name] = errors(panels)
        title = f"best model on the {name} set: {len(structures)} structures"
        reporter.console.print(error_table(found[name], title))
        shown = [panel for key, panel in panels.items() if key != "energy"]
        draw = functools.partial(parity, shown, folder / f"parity_{name}.png", title)
        tolerate("a picture", draw, reporter)
    text = json.dumps(found, indent=2, allow_nan=False) + "\n"
    tolerate("the errors", lambda: write_atomic(folder / "errors.json", text.encode()), reporter)


def _export(ckpt: Path, output: Path, reporter: Reporter) -> None:
    from . import export

    written = export.run(ckpt, output, weights="best", verify="full")
    reporter.message(f"wrote {written}")
