"""A dry run: the first steps of a run, of which nothing is kept but how long they took."""

import contextlib
import math
import time

import torch

from mtt.errors import UserError
from mtt.evaluation.cost import peak_memory
from mtt.report.progress import Reporter, duration
from mtt.report.wording import size
from mtt.training.loop import Interrupted, train
from mtt.training.prepare import Run

_STEPS = 3


class _Stopwatch:
    """Watches the loop for a few steps."""

    def __init__(self) -> None:
        self.ends: list[float] = [time.monotonic()]
        self.loss = math.nan

    def stop_requested(self) -> bool:
        return len(self.ends) > _STEPS

    def step(self, loss: torch.Tensor, n_structures: int) -> None:
        self.loss = float(loss)
        self.ends.append(time.monotonic())
        if not math.isfinite(self.loss):
            raise UserError(
                f"the loss of step {len(self.ends) - 1} is no finite number",
                hint="look for structures with extreme energies or forces",
            )

    def epoch(self, row: dict[str, float]) -> None:
        pass


def rehearse(job: Run, reporter: Reporter) -> None:
    """Take three steps, and say what the whole run would take.

    :raises UserError: the loss is no finite number
    """
    if job.problem.num_steps == 0:
        reporter.message(
            "dry run: no epochs; the run would make the uncertainties of its base; nothing was written"
        )
        return
    watch = _Stopwatch()
    with contextlib.suppress(Interrupted):
        train(job.state, job.problem, watch)
    steps = [end - start for start, end in zip(watch.ends, watch.ends[1:], strict=False)]
    # The first step takes longer: libraries are loaded, memory is taken.
    usual = min(steps)
    left = job.problem.num_steps - job.state.position.step + len(steps)
    peak = peak_memory(job.problem.device)
    reporter.message(
        f"dry run: {len(steps)} steps of {job.problem.step_size}, {usual:.3g} s each, "
        f"loss {watch.loss:.4g}; {left} steps take about {duration(left * usual)}, without "
        f"validation; {size(peak)} of memory were taken; nothing was written"
    )
