"""Each architecture from data to engines: trained, killed, exported, verified and called. Run by hand:

    python tests/benchmarks/each_architecture.py
    python tests/benchmarks/each_architecture.py --only soap_bpnn --only mace --data alloy --skip-verify

A cell is a row of ``ROWS`` on the first structures of one of the examples. ``mtt train`` runs in one go, with
its export and full verification; a second run is killed by SIGKILL three steps after its last checkpoint, and
resumed with ``-c auto``. All tensors, the header and the metrics must be the same bits, and the file that
``mtt export`` makes of the second run the same bytes as that of the first. ASE and i-PI must give what the
checkpoint predicts. The table tells what was measured; a cell with a fault makes the exit code 1.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.extend(
    str(Path(__file__).parents[1] / name) for name in ("", "engines", "plugin", "training")
)

import ase.io
import engines
import kill_process
import pytest
import torch
from command import mtt
from kill_campaign import Campaign, Recipe, Tally, struck_run
from kill_process import at_write, started, train_command
from killed_runs import command as command_without_export
from killed_runs import start

from mtt import checkpoint as checkpoints
from mtt.export import run as export
from mtt.files import sha256_of

EXAMPLES = Path(__file__).parents[2] / "docs/examples"
TARGETS: dict[str, dict[str, Any]] = {
    "ethanol": {"key": "energy", "unit": "eV", "forces": {"key": "forces"}},
    "alloy": {"unit": "eV", "forces": True, "stress": True},
}
STRUCTURES, CALLED = 30, 3
EPOCHS = 10
# Of the energy, the largest force and the largest component of the virial.
TOLERANCES = {32: 2e-5, 64: 1e-10}
# Distances of neighbors in angstrom, where Lennard-Jones potentials begin.
SIGMA = {"ethanol": 1.0, "alloy": 2.3}

PET: dict[str, Any] = {
    "cutoff": 3.5,
    **{"d_pet": 16, "d_node": 16, "d_head": 16, "d_feedforward": 16},
    **{"num_heads": 2, "num_attention_layers": 1},
}
SOAP: dict[str, Any] = {
    "soap": {"cutoff": {"radius": 3.5}, "max_angular": 3, "max_radial": 3, "channels": 4},
    "bpnn": {"num_neurons_per_layer": 8},
}
MACE: dict[str, Any] = {
    **{"r_max": 3.5, "num_radial_basis": 4, "max_ell": 2, "hidden_irreps": "4x0e + 4x1o"},
    **{"MLP_irreps": "4x0e", "radial_MLP": [8], "correlation": 2},
}


@dataclass(frozen=True)
class Row:
    """What is trained: the architecture, and options that change the model."""

    architecture: str
    model: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    seed: Any = 1
    precision: int = 32


ROWS: dict[str, Row] = {
    "pet": Row("pet", PET),
    "soap_bpnn": Row("soap_bpnn", SOAP),
    "composition": Row("composition"),
    "mace": Row("mace", MACE),
    "soap_bpnn, float64": Row("soap_bpnn", SOAP, precision=64),
    "pet, ensemble": Row("pet", PET, seed=[1, 2]),
    "soap_bpnn, ensemble": Row("soap_bpnn", SOAP, seed=[1, 2]),
    "pet, llpr": Row("pet", PET, {"uncertainty": {"method": "llpr", "num_ensemble_members": 8}}),
    "pet, zbl": Row("pet", {**PET, "zbl": True}),
    "soap_bpnn, long_range": Row("soap_bpnn", {**SOAP, "long_range": {"num_charges": 2}}),
    "lj, a plug-in": Row("lj", {"cutoff": 4.5}),
}


@dataclass
class Cell:
    """What was measured of a row on data; ``faults`` is empty where all of it is as it should be.

    ``ase`` and ``ipi`` are differences as in :func:`engines.farthest`; ``rotation`` is the larger of the changes
    of energies in meV per atom and of forces in meV/angstrom.
    """

    row: str
    data: str
    faults: list[str] = field(default_factory=list)
    weights: int = 0
    killed_at: list[int] = field(default_factory=list)
    steps: int = 0
    tensors: int = 0
    same_bits: bool = False
    same_exports: bool = False
    ase: float | None = None
    ipi: float | None = None
    verdict: str = "not verified"
    rotation: float | None = None
    verification_seconds: float | None = None
    seconds: float = 0.0


def options_of(name: str, data: str, folder: Path, epochs: int = EPOCHS) -> dict[str, Any]:
    """Write the structures into ``folder``, and return the options of a row."""
    row = ROWS[name]
    frames = ase.io.read(EXAMPLES / data / f"{data}.xyz", f":{STRUCTURES}")
    ase.io.write(folder / f"{data}.xyz", frames, format="extxyz")
    model = {**row.model, **({"sigma": SIGMA[data]} if row.architecture == "lj" else {})}
    saving = {"checkpoint_interval": 10, "checkpoint_every": "3 steps", "keep_every": None}
    size = {"num_epochs": epochs, "batch_size": 4, "learning_rate": 0.005, "log_interval": epochs}
    return {
        "seed": row.seed,
        "device": "cpu",
        "base_precision": row.precision,
        "architecture": {
            "name": row.architecture,
            "model": model,
            "training": {**size, **saving, **row.training},
        },
        "training_set": {
            "systems": str(folder / f"{data}.xyz"),
            "targets": {"energy": TARGETS[data]},
        },
        "validation_set": 0.2,
        # Test errors are written into the checkpoint together with the pictures, which killed runs go without.
        "test_set": 0.0,
    }


def made(name: str, data: str, folder: Path, verified: bool = True, epochs: int = EPOCHS) -> Cell:
    """Train a row in one go and killed, export both, and call the second file in engines.

    :param verified: verify the files: the first in full, in the run that makes it, the second quickly
    """
    begun = time.time()
    cell = Cell(name, data)
    options = options_of(name, data, folder, epochs)
    recipe = Recipe(options, allowed=4, command=command_without_export, exports=False, start=start)
    campaign = Campaign(folder, recipe, random.Random(1), print)
    try:
        _train(cell, campaign, verified)
        _export(cell, campaign, verified)
        _call(cell, campaign)
    except (Exception, pytest.skip.Exception) as error:  # whatever it is belongs into the table
        cell.faults.append(f"{type(error).__name__}: {error}")
    finally:
        cell.seconds = time.time() - begun
    return cell


def _train(cell: Cell, campaign: Campaign, verified: bool) -> None:
    bare = campaign.recipe
    if verified:
        campaign.recipe = replace(bare, command=lambda words: train_command(*words), start=started)
    try:
        campaign.undisturbed()
    finally:
        campaign.recipe = bare
        _read_report(cell, campaign.reference)
    header, tensors = checkpoints.read(campaign.reference / "model.ckpt")
    potential = checkpoints.load_potential(header, tensors, "best")
    cell.weights = sum(parameter.numel() for parameter in potential.parameters())
    cell.steps, cell.tensors = header.position.step, len(tensors)
    tally = campaign.tally = Tally()
    # When the fourth checkpoint begins to be written, the steps since the third are lost.
    strikes = iter([(at_write(4, 0), signal.SIGKILL)])
    struck_run(campaign, campaign.folder / "struck", strikes)
    cell.killed_at = tally.steps
    cell.same_bits = tally.compared == 1 and not tally.differing
    cell.faults += tally.differing + tally.damaged + tally.wrong
    if tally.exits != {-signal.SIGKILL: 1, 0: 1}:
        cell.faults.append(f"exit codes {dict(tally.exits)}")
    if not all(0 < step < cell.steps for step in tally.steps):
        cell.faults.append(f"killed when steps {tally.steps} of {cell.steps} were saved")


def _read_report(cell: Cell, folder: Path) -> None:
    for path in folder.glob("outputs/*/*/verification.json"):
        report = json.loads(path.read_bytes())
        cell.verification_seconds = report["seconds"]
        judged = [verdict for verdict in report["verdicts"] if verdict["judged"]]
        short = [f"{one['title']}: {one['answer']}" for one in judged if one["answer"] != "yes"]
        cell.verdict = f"{report['verdict']}, {len(judged) - len(short)} of {len(judged)} uses"
        cell.verdict += "".join(f"; {text}" for text in short)
        if report["verdict"] != "pass":
            cell.faults.append(f"verification: {cell.verdict}")
        for check in report["checks"]:
            if (check["family"], check["name"]) == ("SYM", "rotation"):
                cell.rotation = check["measured"]


def _export(cell: Cell, campaign: Campaign, verified: bool) -> None:
    """Export what no training has exported, each in a process of its own."""
    first, second = campaign.reference, campaign.folder / "struck"
    if verified:
        mtt(second, "export", "model.ckpt", "-o", "model.pt", PYTHONHASHSEED="1")
    else:
        for run in (first, second):
            export.run(run / "model.ckpt", run / "model.pt", verify="none")
    found = [sha256_of(run / "model.pt") for run in (first, second)]
    cell.same_exports = found[0] == found[1]
    if not cell.same_exports:
        cell.faults.append(f"exports differ: {', '.join(found)}")


def _call(cell: Cell, campaign: Campaign) -> None:
    path = campaign.folder / "struck/model.pt"
    systems = ase.io.read(campaign.folder / f"{cell.data}.xyz", f":{CALLED}")
    expected = engines.run_checkpoint(campaign.reference / "model.ckpt", systems)
    tolerance = TOLERANCES[ROWS[cell.row].precision]
    for engine in ("ase", "ipi"):
        answers = getattr(engines, f"run_{engine}")(path, systems)
        pairs = zip(answers, expected, strict=True)
        error = max(engines.farthest(*pair) for pair in pairs)
        setattr(cell, engine, error)
        if not error <= tolerance:
            cell.faults.append(f"{engine}: {error:.2g} from the checkpoint's prediction")


def provide_plugin(folder: Path) -> None:
    """Install the architecture of ``tests/plugin`` for this process and those that it starts."""
    from test_plugin import PACKAGE, install

    install(Path(shutil.copytree(PACKAGE, folder / "source")), folder / "site")
    sys.path.insert(0, str(folder / "site"))
    paths = filter(None, [str(folder / "site"), os.environ.get("PYTHONPATH")])
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)


HEADER = (
    "| row | data | weights | newest checkpoint when killed | same bits | same exports | ASE | i-PI "
    "| full verification | rotation | verification | all | faults |\n" + "|---" * 13 + "|"
)


def line(cell: Cell) -> str:
    """Return a cell as a row of the table."""
    killed = f"{', '.join(map(str, cell.killed_at))} of {cell.steps} steps"
    bits = f"all {cell.tensors} tensors" if cell.same_bits else "no"
    measured = (cell.ase, cell.ipi, cell.rotation)
    ase, ipi, rotation = ("" if value is None else f"{value:.1e}" for value in measured)
    spent = cell.verification_seconds
    verification = "" if spent is None else f"{spent:.0f} s"
    exports = "yes" if cell.same_exports else "no"
    return (
        f"| {cell.row} | {cell.data} | {cell.weights} | {killed} | {bits} | {exports} "
        f"| {ase} | {ipi} | {cell.verdict} | {rotation} | {verification} | {cell.seconds:.0f} s "
        f"| {'; '.join(cell.faults) or 'none'} |"
    )


@contextlib.contextmanager
def working_folder(wanted: Path | None) -> Iterator[Path]:
    """Yield a folder that is kept, or one that is not."""
    if wanted is None:
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)
    else:
        wanted.mkdir(parents=True, exist_ok=True)
        yield wanted.resolve()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=ROWS, help="a row; repeatable")
    parser.add_argument(
        "--data", action="append", choices=TARGETS, help="default: both; repeatable"
    )
    parser.add_argument("--skip-verify", action="store_true", help="train without verification")
    parser.add_argument("--folder", type=Path, help="kept; default: a temporary one")
    parser.add_argument("--json", type=Path, default=Path("each_architecture.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    kill_process.LIMIT = 1800.0  # a life that verifies, while others use the machine
    names = arguments.only or list(ROWS)
    cells: list[Cell] = []
    with working_folder(arguments.folder) as folder:
        if any(ROWS[name].architecture == "lj" for name in names):
            provide_plugin(folder)
        for name in names:
            for data in arguments.data or list(TARGETS):
                if ROWS[name].architecture == "mace" and find_spec("mace") is None:
                    missing = "mace-torch is not installed: pip install 'mtt[mace]'"
                    cells.append(Cell(name, data, [missing]))
                else:
                    place = folder / f"{name.replace(', ', '-').replace(' ', '-')}-{data}"
                    place.mkdir()
                    cells.append(made(name, data, place, not arguments.skip_verify))
                print(line(cells[-1]), flush=True)
                # After each, so that what is cut short leaves what it has.
                arguments.json.write_text(json.dumps([asdict(cell) for cell in cells], indent=1))
    print(HEADER, *map(line, cells), sep="\n")
    return int(any(cell.faults for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
