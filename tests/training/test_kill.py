"""Training that is killed, told to stop, or on a disk that fills ends with the same bits as ever.

The short form of ``tests/benchmarks/kill_campaign.py``: a tiny model, and no export.
"""

import signal

import pytest
import yaml
from kill_campaign import Tally, filled_run, struck_run
from kill_disk import NoDisk, small_disk
from kill_process import at_write
from killed_runs import assert_unharmed, campaign_of, in_training
from small_runs import make_options


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    folder = tmp_path_factory.mktemp("campaign")
    saving = {"checkpoint_interval": 10, "checkpoint_every": "3 steps"}
    keeping = {"keep_last": 2, "keep_every": None}
    make_options(folder, {"num_epochs": 40, "log_interval": 40, **saving, **keeping})
    options = yaml.safe_load((folder / "options.yaml").read_text())
    return campaign_of(folder, options)


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
