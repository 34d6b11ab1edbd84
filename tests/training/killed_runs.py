"""Runs in processes of their own that are killed, by the recipes of ``tests/benchmarks/kill_campaign.py``."""

import os
import random
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kill_campaign import Campaign, Recipe, Tally, struck_run
from kill_process import Aim, Life
from warm import Process, warm

# Pictures and export have tests of their own, and take longer than the run.
PROGRAM = """
import sys
from mtt.__main__ import main
from mtt.training import run as train
train._pictures = train._make_model = lambda *_: None
sys.exit(main())
"""


def command(arguments: Sequence[str]) -> list[str]:
    return ["train", "options.yaml", *arguments]


def start(arguments: Sequence[str], folder: Path, environment: dict[str, str]) -> Process:
    reading, writing = os.pipe()
    streams = {"stdout": writing, "stderr": writing}
    process = warm().start(PROGRAM, arguments, cwd=folder, env=environment, **streams)
    os.close(writing)
    process.stdout = os.fdopen(reading)
    return process


def in_training(life: Life) -> bool:
    """Wait until soon after the first step, so that much is still to come."""
    return life.wait_until(lambda: life.trains is not None) and life.wait(0.2)


def campaign_of(folder: Path, options: dict[str, Any]) -> Campaign:
    """Return a campaign whose undisturbed run is done.

    :param options: with two newest checkpoints, the best, and the one that was to be deleted next
    """
    recipe = Recipe(options, allowed=4, command=command, exports=False, start=start)
    made = Campaign(folder, recipe, random.Random(1), print)
    made.undisturbed()
    return made


def assert_unharmed(tally: Tally) -> None:
    assert tally.differing == tally.damaged == tally.wrong == []


def assert_killed_it_has_the_same_bits(folder: Path, options: dict[str, Any], *aims: Aim) -> None:
    """Kill a run once at each of ``aims``; it must end as the one that nobody killed."""
    campaign = campaign_of(folder, options)
    tally = campaign.tally = Tally()
    struck_run(campaign, folder / "struck", iter([(aim, signal.SIGKILL) for aim in aims]))
    assert_unharmed(tally)
    assert tally.compared == 1 and tally.exits == {-9: len(aims), 0: 1}
