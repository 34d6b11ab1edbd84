"""Options and data in, checkpoint and verified model out: ``options.yaml`` -> ``model.ckpt``."""

import contextlib
import functools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtt.data.read_files import named_files
from mtt.errors import Terminated, UserError, VerificationFailed
from mtt.files import (
    LARGEST_MODEL,
    check_keeps,
    check_writable,
    clear_leftovers,
    read_regular,
    sha256_of,
    write_atomic,
)
from mtt.options import Options
from mtt.options.schema import durations
from mtt.options.schema.options import all_datasets
from mtt.report.metrics import MetricsCsv, judged_by, quantities
from mtt.report.progress import Reporter
from mtt.training import fit_uncertainty, run_header
from mtt.training.communicator import Alone, Communicator
from mtt.training.final_checkpoint import (
    add_test_errors,
    content_without_errors,
    forget_own_checkpoint,
    own_checkpoint,
)
from mtt.training.loop import Interrupted, tell_missing_kernels, tell_weights, train
from mtt.training.prepare import Run, prepare
from mtt.training.rehearsal import rehearse
from mtt.training.run_data import WITHOUT_VALIDATION
from mtt.training.runs.folder import (
    ERRORS,
    LOG,
    OPTIONS,
    REPORT,
    VERIFICATION,
    VERIFICATION_PAGE,
    command_to_continue,
    new_run_folder,
    write_options,
)
from mtt.training.runs.lock import FolderLock
from mtt.training.runs.replaced_results import Results
from mtt.training.runs.resume import starting_point
from mtt.training.runs.saving import REST_IS_MADE, Saver, tolerate
from mtt.training.runs.signals import StopSignals, program_age
from mtt.training.threads import threads_restored
from mtt.verify import run as verify
from mtt.verify.report import Report

if TYPE_CHECKING:
    import torch

    from mtt.training.final_errors import Analyses

# Errors of fewer structures calibrate nothing well.
_FEW = 10
# The exported model once more, in the folder of the run.
MODEL = "model.pt"


def run(
    options: Options,
    continue_from: Path | str | None = None,
    output: Path = Path("model.pt"),
    recorded: dict[str, Any] | None = None,
    communicator: Communicator | None = None,
    dry_run: bool = False,
    threads: int | None = None,
) -> Path | None:
    """Train, or resume training, and export the best model; return the folder of the run.

    Progress goes to ``outputs/DATE/TIME/``, made once options, data and model have been found good;
    a run that resumes from the newest checkpoint there stays in its folder. At the end the
    checkpoint is written beside ``output``, which itself appears once verified.

    :param continue_from: a checkpoint, or ``"auto"`` for the newest one of this run in ``outputs/``
    :param output: the model file to write, ending in ``.pt``
    :param recorded: what checkpoints say that the options were, for a run that is made once more
    :param communicator: to the other processes of the run; there are none if None
    :param threads: how many to compute with, if there are so many and the environment says nothing
    :param dry_run: check everything, take three steps, say what the run would take, write nothing
    :raises UserError: unusable data, device, checkpoint or output; options that have changed;
        training that has diverged; another process that trains in the same folder
    :raises VerificationFailed: the exported model failed a check
    :raises KeyboardInterrupt: after SIGINT, or Terminated after SIGTERM, SIGUSR1 and ``max_time``,
        once the state is saved; the text says how to resume. Without text before training began.
    """
    data_files = named_files([data for _, data in all_datasets(options)])
    for path in (output, output.with_suffix(".ckpt")):
        check_keeps(data_files, path)
    check_writable(output)
    results = Results(output)
    verify.program()  # a model that cannot be verified would be refused after the last epoch
    hypers = options.architecture.training
    communicator = communicator or Alone()
    speaks = communicator.rank == 0
    with (
        Reporter(log_interval=hypers.log_interval, silent=not speaks, stamps=True) as reporter,
        FolderLock() as lock,
        threads_restored(),
    ):
        source, folder = starting_point(options, continue_from, lock)
        for line in run_header.lines(options.device, options.architecture.name):
            reporter.message(line)
        for note in options.notes:
            reporter.message(f"warning: {note}")
        if options.validation_set.is_empty():
            reporter.message(f"warning: {WITHOUT_VALIDATION}")
        job = prepare(options, source, output, reporter.message, recorded, communicator, threads)
        if job.finished:
            assert source is not None
            reporter.message(
                f"training is finished: all {hypers.num_epochs} epochs are done, "
                "there is nothing to resume"
            )
            if not dry_run:
                _already_finished(job, source, folder, reporter)
            return folder or source.parent
        if dry_run:
            rehearse(job, reporter)
            return None
        with StopSignals() as signals:
            if folder is None:
                folder, last_whole = new_run_folder(), None
                lock.take(folder)
            else:
                last_whole = source
            saver = _open_folder(job, folder, last_whole, reporter)
            _train(job, saver, reporter, signals)
        again = f"make them with: {command_to_continue(folder, 'auto', output)}"
        with _can_be_finished_later(again):
            if signals.received is not None:  # while the last epoch was written down
                raise signals.exception("")
            _finish(job, saver, reporter, results)
        return folder


def _open_folder(job: Run, folder: Path, last_whole: Path | None, reporter: Reporter) -> Saver:
    """Begin the files of a run, or resume them from the checkpoint ``last_whole``.

    What cannot be written now is an error: nothing is lost yet.
    """
    clear_leftovers(folder)
    reporter.log_to(folder / LOG)
    reporter.message(f"results go to {folder}")
    saver = Saver(job, folder, reporter, last_whole)
    if last_whole is not None:
        saver.clean(last_whole)
    write_options(job.options, folder / OPTIONS)
    if last_whole is None:
        # Now there is one to resume from, with this split, whatever happens.
        job.save(saver.path)
        saver.last_whole = saver.path
    return saver


class _Observer:
    """Shows and records what the loop does, and saves.

    What cannot be written is reported, and training continues: a full disk must not cost the run.
    """

    def __init__(self, job: Run, saver: Saver, reporter: Reporter, signals: StopSignals) -> None:
        self.job, self.saver, self.reporter, self.signals = job, saver, reporter, signals
        hypers = job.problem.hypers
        self.interval = hypers.checkpoint_interval
        self.progressed = False
        self.deadline: float | None = None
        if hypers.max_time is not None:
            left = durations.seconds(hypers.max_time) - program_age()
            self.deadline = time.monotonic() + left
        history = [in_order(row) for row in job.state.history]
        self.metrics = MetricsCsv(saver.folder / "metrics.csv", history)

    def stop_requested(self) -> bool:
        return self.signals.received is not None or self.out_of_time()

    def out_of_time(self) -> bool:
        """Whether ``max_time`` has passed; of no importance once all epochs are done.

        A part of a run takes one step or finishes one epoch at least, so that a chain of jobs with
        too little time for a whole validation ends some day.
        """
        late = self.deadline is not None and time.monotonic() >= self.deadline
        return late and self.progressed and not self.job.finished

    def step(self, loss: "torch.Tensor", n_structures: int) -> None:
        self.progressed = True
        self.reporter.step(loss, n_structures)
        if self.saver.due():
            self.saver.save()

    def epoch(self, row: dict[str, float]) -> None:
        self.progressed = True
        if self.job.problem.communicator.rank == 0:
            tolerate("the metrics", lambda: self.metrics.write(in_order(row)), self.reporter)
        self.reporter.epoch(row)
        tell_weights(self.job.problem, self.job.state.position.epoch + 1, self.reporter.message)
        at_interval = self.job.state.position.epoch % self.interval == 0
        if at_interval or self.job.finished or self.saver.due():
            self.saver.save()


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


def _train(job: Run, saver: Saver, reporter: Reporter, signals: StopSignals) -> None:
    problem, position = job.problem, job.state.position
    tell_weights(problem, position.epoch + 1, reporter.message, resumed=True)
    tell_missing_kernels(job.state, problem, reporter.message)
    shown = quantities(problem.targets, job.header.length_unit)
    observer = _Observer(job, saver, reporter, signals)
    reporter.start(
        problem.hypers.num_epochs, problem.steps_per_epoch, shown, position.epoch, position.batch
    )
    try:
        train(job.state, problem, observer, fit_uncertainty.fit)
    except Interrupted:
        reporter.finish()
        why = "interrupted" if signals.received else f"max_time, {problem.hypers.max_time}, is over"
        raise signals.exception(_save_interrupted(job, saver, why)) from None
    reporter.finish()


def _save_interrupted(job: Run, saver: Saver, why: str) -> str:
    """Save in the middle of an epoch; what to tell the user."""
    position = job.state.position
    # No pictures: whoever sent the signal may not wait long.
    if saver.save(then="training ends"):
        saved = f"saved {saver.last_whole}"
    else:
        saved = f"the state could not be saved; {saver.last_whole} is the last that is whole"
    assert saver.last_whole is not None
    command = command_to_continue(saver.folder, saver.last_whole, job.output)
    when = f"after {position.epoch} epochs and {position.step} steps"
    return f"{why} {when}; {saved}\nresume with: {command}"


@contextlib.contextmanager
def _can_be_finished_later(how: str) -> Iterator[None]:
    """Tell someone who interrupts the block, in which all epochs are done, how to get its results."""
    try:
        yield
    except KeyboardInterrupt as error:
        what = "terminated" if isinstance(error, Terminated) else "interrupted"
        text = f"{what} when all epochs were done, before all results were made\n{how}"
        raise type(error)(text) from None


def _already_finished(job: Run, source: Path, folder: Path | None, reporter: Reporter) -> None:
    """Resuming a finished run changes nothing, but results that are missing are made."""
    ckpt = job.output.with_suffix(".ckpt")
    with _can_be_finished_later("the same command makes them"):
        content = content_without_errors(source)
        same = ckpt.exists() and content_without_errors(ckpt) == content
        if not same:
            write_atomic(ckpt, read_regular(source, LARGEST_MODEL))
            reporter.message(f"wrote {ckpt}")
        digest = sha256_of(ckpt)
        analyses: Analyses | None = None
        if folder is not None:
            forget_own_checkpoint(folder, ckpt.name)  # of a process that was killed
            new = not same or not (folder / ERRORS).exists()
            if new or not (folder / REPORT).exists():
                analyses = _pictures(job, ckpt, folder, reporter, new)
        # The model file says which checkpoint it was made from.
        same = same and sha256_of(ckpt) == digest
        _make_model(job, ckpt, folder, reporter, analyses, not (same and job.output.exists()))


def _finish(job: Run, saver: Saver, reporter: Reporter, results: Results) -> None:
    """Checkpoint, pictures, final errors, and the exported model."""
    best = job.state.best_epoch
    chosen_by = judged_by(job.state.history)
    value = (
        "" if best.value is None else f" ({best.metric} {best.value:.4g} on the {chosen_by} set)"
    )
    reporter.message(f"training is done; the best epoch was {best.epoch}{value}")
    for record in job.state.uncertainties:
        number = len(job.data.validation)
        few = ", which are few" if number < _FEW else ""
        if not number:
            reporter.message(
                f"uncertainty of {record.target}: the spread of the members as it is, not calibrated, "
                "as there is no validation set; expect it to be too small"
            )
            continue
        reporter.message(
            f"uncertainty of {record.target} ({record.method}): multiplied by {record.multiplier:.4g}, "
            f"calibrated on the structures of the validation set: {number}{few}"
        )
    ckpt = job.output.with_suffix(".ckpt")
    try:
        results.replace(ckpt, reporter.message)
        job.save(ckpt)
    except UserError as error:
        raise UserError(
            error.what, error.where, _what_is_left(job, saver), code=error.code
        ) from error
    results.written(ckpt)
    reporter.message(f"wrote {ckpt}")

    def publish(own: Path) -> None:
        # Another run in the same folder may have put its own checkpoint there.
        if own != ckpt and not (results.is_ours(ckpt) and sha256_of(own) == sha256_of(ckpt)):
            results.replace(ckpt, reporter.message)
            write_atomic(ckpt, read_regular(own, LARGEST_MODEL))
            results.written(ckpt)

    with own_checkpoint(job, saver.folder, ckpt, reporter) as own:
        analyses = _pictures(job, own, saver.folder, reporter)
        tolerate("the checkpoint", lambda: publish(own), reporter, REST_IS_MADE)
        results.replace(job.output, reporter.message)
        _make_model(job, own, saver.folder, reporter, analyses)
        tolerate("the checkpoint", lambda: publish(own), reporter, REST_IS_MADE)


def _what_is_left(job: Run, saver: Saver) -> str:
    kept = saver.last_whole
    assert kept is not None
    if kept == saver.path:
        return f"{kept} has the finished run: 'mtt export {kept}' makes the model file"
    command = command_to_continue(saver.folder, kept, job.output)
    return f"{kept} is the last that is whole; once there is space, resume with: {command}"


def _pictures(
    job: Run, ckpt: Path, folder: Path, reporter: Reporter, complete: bool = True
) -> "Analyses | None":
    """What a finished run has in its folder besides its last checkpoint.

    :param complete: write the test errors into the checkpoint
    """
    tolerate("the learning curve", lambda: _learning_curve(job, folder), reporter, REST_IS_MADE)
    return _final_errors(job, ckpt, folder, reporter, complete)


def _learning_curve(job: Run, folder: Path) -> None:
    from mtt.report.plots import save
    from mtt.training.run_report import curves

    save(curves(job), folder / "learning_curve.png")


def _final_errors(
    job: Run, ckpt: Path, folder: Path, reporter: Reporter, complete: bool
) -> "Analyses":
    """Errors of the best model on validation and test set: tables, JSON, pictures, checkpoint."""
    from mtt.training import final_errors

    analyses = final_errors.evaluate(job, ckpt, reporter)
    # Before errors.json, which tells a later resume that all this is done.
    if complete:
        add = functools.partial(add_test_errors, ckpt, final_errors.measured(analyses))
        tolerate("the test errors in the checkpoint", add, reporter, REST_IS_MADE)
    final_errors.write(job, analyses, folder, reporter)
    return analyses


def _make_model(
    job: Run,
    ckpt: Path,
    folder: Path | None,
    reporter: Reporter,
    analyses: "Analyses | None",
    export: bool = True,
) -> None:
    """Export and verify, and write the report of the run, whatever the verdict is."""

    def report() -> None:
        if folder is not None and analyses is not None:
            write = functools.partial(_report, job, ckpt, folder, analyses)
            if tolerate("the report", write, reporter, REST_IS_MADE):
                reporter.message(f"wrote {folder / REPORT}")

    try:
        if export:
            _export(ckpt, job.output, reporter, folder)
    except VerificationFailed:
        report()
        raise
    report()


def _report(job: Run, ckpt: Path, folder: Path, analyses: "Analyses") -> None:
    from mtt.training import run_report

    write_atomic(folder / REPORT, run_report.page(job, ckpt, folder, analyses))


def _export(ckpt: Path, output: Path, reporter: Reporter, folder: Path | None) -> None:
    from mtt.export import run as export

    def keep(report: Report) -> None:
        if folder is not None:
            files = verify.Outputs(json=folder / VERIFICATION, html=folder / VERIFICATION_PAGE)
            write = functools.partial(verify.write, report, str(output), files)
            tolerate("the verification report", write, reporter, REST_IS_MADE)

    written = export.run(ckpt, output, weights="best", verify="full", keep=keep)
    reporter.message(f"wrote {written}")
    if folder is not None:
        copy = functools.partial(_copy, output, folder / MODEL)
        tolerate("the copy of the model", copy, reporter, REST_IS_MADE)


def _copy(source: Path, path: Path) -> None:
    write_atomic(path, read_regular(source, LARGEST_MODEL))
