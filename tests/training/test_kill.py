"""Training that is killed, told to stop, or on a disk that fills ends with the same bits as ever.

The short form of ``tests/benchmarks/kill_campaign.py``: a tiny model, and no export.
"""

import random
import signal
import sys

import pytest
import yaml
from kill_campaign import Campaign, Recipe, Tally, filled_run, struck_run
from kill_disk import NoDisk, small_disk
from kill_process import Life, at_write
from small_runs import make_options

# Pictures and export have tests of their own, and take longer than the run.
PROGRAM = """
import sys
from mtt.__main__ import main
from mtt.training import run as train
train._pictures = train._export = lambda *_: None
sys.exit(main())
"""


def command(arguments):
    return [sys.executable, "-c", PROGRAM, "train", "options.yaml", *arguments]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    folder = tmp_path_factory.mktemp("campaign")
    saving = {"checkpoint_interval": 10, "checkpoint_every": "3 steps"}
    keeping = {"keep_last": 2, "keep_every": None}
    make_options(folder, {"num_epochs": 40, "log_interval": 40, **saving, **keeping})
    options = yaml.safe_load((folder / "options.yaml").read_text())
    # Two newest, the best, and the one that was to be deleted next.
    recipe = Recipe(options, allowed=4, command=command, exports=False)
    made = Campaign(folder, recipe, random.Random(1), print)
    made.undisturbed()
    return made


def assert_unharmed(tally):
    assert tally.differing == tally.damaged == tally.wrong == []


def in_training(life: Life) -> bool:
    """Soon after the first step, so that much is still to come."""
    return life.wait_until(lambda: life.trains is not None) and life.wait(0.2)


def test_killed_at_a_write_and_anywhere_and_told_to_stop(campaign):
    tally = campaign.tally = Tally()
    strikes = [
        (at_write(3, 0), signal.SIGKILL),
        (in_training, signal.SIGTERM),
        (in_training, signal.SIGUSR1),
        (in_training, signal.SIGKILL),
    ]
    struck_run(campaign, campaign.folder / "struck", iter(strikes))
    assert_unharmed(tally)
    assert tally.strikes == 4 and tally.compared == 1
    assert tally.exits == {-9: 2, 143: 2, 0: 1}
    # What was told to stop has saved the step that it was at.
    assert tally.lost[1:3] == [0, 0]


def test_a_disk_that_fills(campaign):
    folder = campaign.folder / "disk"
    tally = campaign.tally = Tally()
    try:
        with small_disk(folder / "outputs", 4) as disk:
            filled_run(campaign, folder, disk, iter([in_training]), longest=0.5)
    except NoDisk as error:
        pytest.skip(str(error))
    assert_unharmed(tally)
    assert tally.strikes == 1 and tally.compared == 1
    assert tally.exits == {0: 1}
