"""Who writes and speaks when several processes train one model: rank 0, and nobody else."""

from pathlib import Path

import torch
from small_runs import make_options

from mtt.report.progress import Reporter
from mtt.training.prepare import prepare
from mtt.training.runs.saving import Saver


class OtherRank:
    """The second of two processes; the first one has just succeeded, or failed."""

    rank, size = 1, 2

    def __init__(self, first: bool) -> None:
        self.first = first
        self.asked: list[object] = []

    def reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    def broadcast(self, value: object) -> object:
        self.asked.append(value)
        return self.first

    def barrier(self) -> None:
        pass


def saver_of(folder: Path, communicator: OtherRank, reporter: Reporter) -> Saver:
    """Return the saver of a process that is not the first."""
    options = make_options(folder, {"checkpoint_every": "1 steps"})
    run = prepare(options, None, folder / "a.pt", lambda _: None, communicator=communicator)
    assert run.problem.communicator is communicator
    (folder / "run").mkdir()
    return Saver(run, folder / "run", reporter, None)


def test_only_rank_0_writes_checkpoints(tmp_path):
    communicator = OtherRank(first=True)
    with Reporter(silent=True) as reporter:
        saver = saver_of(tmp_path, communicator, reporter)
        assert saver.save()
    assert list((tmp_path / "run").iterdir()) == []
    assert saver.last_whole == saver.path, "all processes know which checkpoint is the last"


def test_a_failure_of_rank_0_is_one_of_all(tmp_path):
    communicator = OtherRank(first=False)
    with Reporter(silent=True) as reporter:
        saver = saver_of(tmp_path, communicator, reporter)
        assert not saver.save()
    assert saver.last_whole is None


def test_the_clock_of_rank_0_decides_when_to_save(tmp_path):
    for first in (True, False):
        folder = tmp_path / str(first)
        folder.mkdir()
        communicator = OtherRank(first)
        with Reporter(silent=True) as reporter:
            saver = saver_of(folder, communicator, reporter)
            assert saver.due() is first
        assert communicator.asked == [False]


def test_other_ranks_say_nothing(tmp_path, capsys):
    with Reporter(silent=True) as reporter:
        reporter.log_to(tmp_path / "train.log")
        reporter.message("epoch 1")
        reporter.start(1, 1, [])
        reporter.epoch({"epoch": 1, "loss": 1.0})
    assert capsys.readouterr().out == "" and list(tmp_path.iterdir()) == []
