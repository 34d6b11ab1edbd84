"""Kill training at random instants, go on each time, and compare with a run that nobody disturbed.

    python tests/benchmarks/kill_campaign.py --kills 200
    python tests/benchmarks/kill_campaign.py --kills 40 --signal TERM
    python tests/benchmarks/kill_campaign.py --kills 20 --disk-full

The run is the quickstart's model on fewer structures, saved every three steps, on one thread. Kills
come at instants that are uniform over the first seconds of a process, and aimed: at files while they
are written, and at the end of a run. After each, every checkpoint in the folder must be whole and the
next life goes on with ``-c auto``, or from nothing where nothing had been saved. Of every finished
run all tensors, the header, the metrics, and what the exported model gives must be the same bits.

With ``--disk-full`` nothing is killed, but the disk is filled at random instants and emptied a moment
later: ``outputs/`` alone, and the whole folder, in turn.
"""

import argparse
import contextlib
import itertools
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ase.io
import torch
import yaml
from kill_disk import NoDisk, SmallDisk, small_disk
from kill_folder import Found, differences, examine, prepare
from kill_process import (
    Aim,
    Hang,
    Life,
    at_end,
    at_instant,
    at_write,
    environment,
    started,
    train_command,
)
from rich.console import Console
from rich.table import Table

EXAMPLE = Path(__file__).parents[2] / "docs/examples/ethanol"
CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGUSR1: 143, signal.SIGINT: 130}
PATIENCE = 20  # lives in a row that may end without a new checkpoint
WORK = 4.5  # seconds that a process may train before it is killed
Command = Callable[[Sequence[str]], list[str]]


class Failure(Exception):
    """A run that cannot be finished, or ended in a way that it should not."""


@dataclass(frozen=True)
class Recipe:
    """What is run: the options, how many checkpoints they allow, and the program."""

    options: dict[str, Any]
    allowed: int
    command: Command = lambda arguments: train_command(*arguments)
    exports: bool = True
    start: Callable[[Sequence[str], Path, dict[str, str]], Any] = started


@dataclass
class Tally:
    """What happened."""

    strikes: int = 0
    hits: Counter[str] = field(default_factory=Counter)
    exits: Counter[int] = field(default_factory=Counter)
    lost: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)  # of the newest checkpoint after each strike
    compared: int = 0
    differing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    most_temporaries: int = 0
    most_checkpoints: int = 0

    @property
    def good(self) -> bool:
        return not (self.differing or self.damaged or self.wrong) and self.compared > 0


def quickstart_like(folder: Path, epochs: int = 80, structures: int = 100) -> Recipe:
    """The example's model and options on its first structures, saved as often as makes sense."""
    frames = ase.io.read(EXAMPLE / "ethanol.xyz", f":{structures}")
    ase.io.write(folder / "ethanol.xyz", frames, format="extxyz")
    options: dict[str, Any] = yaml.safe_load((EXAMPLE / "options.yaml").read_text())
    saving = {"checkpoint_interval": 5, "checkpoint_every": "3 steps", "log_interval": 1}
    keeping = {"keep_last": 2, "keep_best": True, "keep_every": 20}
    options["architecture"]["training"] |= {"num_epochs": epochs, **saving, **keeping}
    options["training_set"]["systems"] = str(folder / "ethanol.xyz")
    test = structures * 24 // 25
    validation = structures * 4 // 5
    options["validation_set"] = f"{validation}:{test}"
    options["test_set"] = f"{test}:{structures}"
    # One more than is kept: the new one is written before the old one is deleted.
    return Recipe(options, 2 + 1 + epochs // 20 + 1)


class Campaign:
    """Runs that are struck again and again, and the one that is not."""

    def __init__(
        self, folder: Path, recipe: Recipe, chance: random.Random, say: Callable[[str], None]
    ) -> None:
        self.folder, self.recipe, self.chance, self.say = folder, recipe, chance, say
        self.tally = Tally()
        self.reference = folder / "reference"
        self.startup = self.final = 5.0
        self.training = 10.0
        self._environment = environment(folder / "bytecode")

    def undisturbed(self) -> None:
        """The run that the others are compared with; its times say when to strike."""
        prepare(self.reference, self.recipe.options)
        life = self.begin(self.reference)
        code = life.end()
        finished = time.time()
        if code != 0 or life.trains is None or life.ends is None:
            raise Failure("the undisturbed run failed:\n" + "\n".join(life.said))
        self.check(self.reference)
        self.startup = life.trains - life.begun
        self.training = life.ends - life.trains
        self.final = finished - life.ends
        self.say(
            f"undisturbed: {self.startup:.1f} s before training, {self.training:.1f} s of training, "
            f"{self.final:.1f} s afterwards"
        )

    def begin(self, folder: Path, *arguments: str) -> Life:
        command = self.recipe.command(arguments)
        return Life(command, folder, self._environment, self.recipe.start)

    def resume_run(self, folder: Path) -> Life:
        """The next life, from the newest checkpoint if there is any."""
        return self.begin(folder, *(["-c", "auto"] if self.check(folder).step >= 0 else []))

    def check(self, folder: Path) -> Found:
        found, tally = examine(folder, self.recipe.allowed), self.tally
        tally.damaged += found.damaged
        tally.wrong += found.wrong
        tally.most_temporaries = max(tally.most_temporaries, found.temporaries)
        tally.most_checkpoints = max(tally.most_checkpoints, found.checkpoints)
        return found

    def compare(self, folder: Path) -> None:
        different = differences(folder, self.reference, self.recipe.exports)
        self.tally.compared += 1
        self.tally.differing += different
        self.say(f"{folder.name} finished: {_short(different) or 'the same bits'}")


Strike = tuple[Aim, signal.Signals]


def plan(campaign: Campaign, training: int = 16) -> Iterator[Aim]:
    """When to strike the lives of one run: mostly while it trains, at last at its end."""
    chance, startup = campaign.chance, campaign.startup
    for _ in range(training):
        if chance.random() < 0.6:
            yield at_instant(chance.uniform(0, startup + WORK))
        else:
            yield at_write(chance.randint(1, 20), chance.choice([0, chance.uniform(0, 0.02)]))
    for name in (".model.ckpt", ".model.pt"):
        yield at_write(1, chance.choice([0, chance.uniform(0, 0.02)]), name)
    for _ in range(2):
        yield at_end(chance.uniform(0, campaign.final))


class Progress:
    """Steps that are safe on the disk: never fewer than before, and more after some lives."""

    def __init__(self) -> None:
        self._step, self._barren = -1, 0

    def made(self, step: int, life: Life) -> None:
        if step < self._step:
            raise Failure(f"checkpoints went back from step {self._step} to {step}")
        self._barren = 0 if step > self._step else self._barren + 1
        self._step = step
        if self._barren > PATIENCE:
            raise Failure(f"no progress in {self._barren} lives:\n" + "\n".join(life.said))


def struck_run(campaign: Campaign, folder: Path, strikes: Iterator[Strike]) -> None:
    """One run to its end, struck once in each life while there are strikes, and compared."""
    prepare(folder, campaign.recipe.options)
    progress = Progress()
    while True:
        life = campaign.resume_run(folder)
        strike = next(strikes, None)
        if strike is None or not strike[0](life):
            _finish(campaign, life)
            return campaign.compare(folder)
        number, moment = strike[1], time.time()
        stage = life.stage
        code = life.strike(number)
        found = campaign.check(folder)
        _record(campaign, life, found, stage, moment, code, number)
        progress.made(found.step, life)


def _finish(campaign: Campaign, life: Life) -> None:
    code = life.end()
    campaign.tally.exits[code] += 1
    if code != 0:
        raise Failure(f"ended with code {code}:\n" + "\n".join(life.said))


def _record(
    campaign: Campaign,
    life: Life,
    found: Found,
    stage: str,
    moment: float,
    code: int,
    number: signal.Signals,
) -> None:
    tally = campaign.tally
    tally.strikes += 1
    tally.exits[code] += 1
    tally.steps.append(found.step)
    where = "a write" if life.writes() else stage
    tally.hits[where] += 1
    if life.trains is not None:
        # As fast as the machine is now: others may use it too.
        campaign.startup = life.trains - life.begun
    if life.trains is not None and life.ends is None:
        # What it says of the step that it stopped at must be true.
        saved = any(f" and {found.step} steps; saved " in line for line in life.said)
        since = moment - max(life.trains, found.written)
        tally.lost.append(0.0 if saved else max(0.0, since))
    tally.wrong += [line for line in life.said if "left out" in line]
    # Before the program has handlers a signal ends it at once; after the last step it may be done.
    early = stage == "before training"
    if code not in (CODES[number], 0) and not (code == -number and early):
        tally.wrong.append(f"exit code {code} after {number.name} in {where}: {life.said[-1:]}")
    campaign.say(
        f"{tally.strikes}: {number.name} after {moment - life.begun:.2f} s, {where}; "
        f"newest checkpoint: {found.step if found.step >= 0 else 'none'}"
    )


def at_next(campaign: Campaign) -> Aim:
    """Some seconds from now, a part of them while a process trains."""

    def aim(life: Life) -> bool:
        before = campaign.startup if life.stage == "before training" else 0.0
        return life.wait(campaign.chance.uniform(0, before + WORK))

    return aim


def filled_run(
    campaign: Campaign,
    folder: Path,
    disk: SmallDisk,
    aims: Iterator[Aim],
    longest: float = WORK / 2,
) -> None:
    """One run to its end on a disk that fills up now and then, and compared.

    :param longest: seconds until there is space again
    """
    chance, tally = campaign.chance, campaign.tally
    prepare(folder, campaign.recipe.options)
    progress = Progress()
    while True:
        life = campaign.resume_run(folder)
        for aim in aims:
            if not aim(life):
                break
            tally.strikes += 1
            tally.hits[life.stage] += 1
            disk.fill(chance)
            campaign.say(f"{tally.strikes}: disk full after {time.time() - life.begun:.2f} s")
            life.wait(chance.uniform(0.2, longest))
            disk.free()
        code = life.end()
        tally.exits[code] += 1
        found = campaign.check(folder)
        if code == 0:
            return campaign.compare(folder)
        if code != 2:
            raise Failure(f"ended with code {code}:\n" + "\n".join(life.said))
        campaign.say(f"stopped: {' '.join(life.said[-3:])}")
        progress.made(found.step, life)


def kills(campaign: Campaign, number: signal.Signals, total: int) -> None:
    campaign.undisturbed()
    run = 0
    while campaign.tally.strikes < total:
        run += 1
        left = total - campaign.tally.strikes
        strikes = ((aim, number) for aim in itertools.islice(plan(campaign), left))
        struck_run(campaign, campaign.folder / f"run_{run}", strikes)


def fills(campaign: Campaign, total: int, each: int = 7, mebibytes: int = 40) -> None:
    campaign.undisturbed()
    run = 0
    while campaign.tally.strikes < total:
        run += 1
        folder = campaign.folder / f"disk_{run}"
        count = min(each, total - campaign.tally.strikes)
        with small_disk(folder if run % 2 == 0 else folder / "outputs", mebibytes) as disk:
            aims = (at_next(campaign) for _ in range(count))
            filled_run(campaign, folder, disk, aims)


def table(campaign: Campaign, title: str) -> Table:
    tally = campaign.tally
    shown = Table(title=title, show_header=False)
    hits = ", ".join(f"{count} {where}" for where, count in sorted(tally.hits.items()))
    exits = ", ".join(f"{count} x {code}" for code, count in sorted(tally.exits.items()))
    rows = {
        "strikes": f"{tally.strikes}: {hits}",
        "exit codes": exits,
        "runs compared": tally.compared,
        "differences": _short(tally.differing) or "none",
        "damaged files": _short(tally.damaged) or "none",
        "other faults": _short(tally.wrong) or "none",
        "most checkpoints in a folder": f"{tally.most_checkpoints} (allowed: {campaign.recipe.allowed})",
        "most temporary files left": tally.most_temporaries,
    }
    if tally.lost:
        mean = sum(tally.lost) / len(tally.lost)
        rows["training lost at a strike"] = f"{mean:.2f} s, at most {max(tally.lost):.2f} s"
    for name, value in rows.items():
        shown.add_row(name, str(value))
    return shown


def _short(found: list[str]) -> str:
    """The first of many, and how many more."""
    more = f", and {len(found) - 10} more" if len(found) > 10 else ""
    return ", ".join(found[:10]) + more


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="or times that the disk is filled")
    parser.add_argument("--signal", choices=["KILL", "TERM", "USR1", "INT"], default="KILL")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--disk-full", action="store_true")
    parser.add_argument("--folder", type=Path, help="kept; default: a temporary one")
    args = parser.parse_args()
    torch.set_num_threads(1)
    # Shells start background jobs with Ctrl-C ignored, which their children would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    console = Console(width=110)
    with contextlib.ExitStack() as stack:
        if args.folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        else:
            folder = args.folder.resolve()
            folder.mkdir(parents=True)
        recipe = quickstart_like(folder)
        campaign = Campaign(
            folder, recipe, random.Random(args.seed), lambda text: console.print(text)
        )
        number = signal.Signals[f"SIG{args.signal}"]
        try:
            if args.disk_full:
                fills(campaign, args.kills)
            else:
                kills(campaign, number, args.kills)
        except NoDisk as error:
            parser.exit(2, f"skipped: {error}\n")
        except (Failure, Hang) as error:
            campaign.tally.wrong.append(str(error))
        title = "the disk filled up" if args.disk_full else f"struck by {number.name}"
        console.print(table(campaign, title))
        sys.exit(0 if campaign.tally.good else 1)


if __name__ == "__main__":
    main()
