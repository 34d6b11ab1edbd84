"""All that takes time, beside the same of other programs, in turns: figures, a table and a picture.

    python tests/benchmarks/run.py --against metatrain
    python tests/benchmarks/run.py --against metatrain --against mace --against nequip --parts peers
    python tests/benchmarks/run.py --against metatrain --parts start,calls --rounds 3 --threads 2
    python tests/benchmarks/run.py --environment metatrain=ENV/bin/python
    python tests/benchmarks/run.py --parts start --image mtt-2.sif

Makes an environment for the other program in build/benchmarks (``--environment`` names one that is there), and
measures, with the Python that runs this script as ours:

- ``training``: a step on ethanol, an alloy and a box of liquid ethanol, by ``training_step.py``, in the median
  epoch and in the first one;
- ``start``: commands on as little data as there can be, training up to the end of its first step. With ``--image``,
  also the same through that image by Apptainer: run it as an ordinary user;
- ``calls``: exported models on boxes of up to ``--atoms``, called in C++ as LAMMPS does, by ``exported_call.py``;
- ``domains``: the same on 1 to 8 domains with their ghosts; times are for one of the atoms of the box;
- ``checkpoints``: saving and loading, and the size of the file; what share of a training goes into saving, by
  ``checkpoint_cost.py``;
- ``verify``: full verification of our export, which nobody else has;
- ``peers``: a step of training and a step of dynamics in ASE of other models, by ``peers.py``. MACE and NequIP
  are in this part alone.

Writes results.json, table.md and picture.png. The table ends with the growth of calls with the number of atoms.
Of all repeats the median counts. Processor time tells more than wall time where others use the machine. Models
are those of the default size, trained for one step.
"""

import argparse
import json
import math
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import yaml
from ase import Atoms

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EXAMPLES = ROOT / "docs/examples"
WORK = ROOT / "build/benchmarks"
# What to install for each program that we are compared with.
PROGRAMS = {
    "metatrain": "metatrain[soap-bpnn]==2026.4.*",
    "mace": "mace-torch==0.3.*",
    "nequip": "nequip==0.*",
}
# Name, data, structures, batch size and sizes of networks of each case of training.
TRAININGS = (
    ("ethanol", EXAMPLES / "ethanol/ethanol.xyz", 90, 10, "default,0.3M,0.1M,soap_bpnn"),
    ("alloy", EXAMPLES / "alloy/alloy.xyz", 36, 4, "default"),
    ("box of 504 atoms", WORK / "liquid.xyz", 4, 1, "default"),
)
# g/cm3, of ethanol at 20 C (CRC Handbook of Chemistry and Physics); g/mol.
DENSITY, MOLAR_MASS = 0.789, 46.07
AVOGADRO = 6.02214076e23
# Sizes of boxes that others are called with as well: beyond, they take too much memory and time.
LARGEST_OF_OTHERS = 3300
# From where time grows by a power of the number of atoms.
SMALLEST_GROWING = 1152
FIRST_STEP = """
import sys, threading, time
def tell(*arguments):
    print("first step", flush=True)
def watch():
    # The program itself imports torch, as it would without anybody who measures.
    while (register := vars(sys.modules.get(OPTIMIZER, sys)).get(REGISTER)) is None:
        time.sleep(0.01)
    register(tell)
OPTIMIZER, REGISTER = "torch.optim.optimizer", "register_optimizer_step_post_hook"
threading.Thread(target=watch, daemon=True).start()
sys.argv = ["mtt", "train", "options.yaml"]
from {package}.__main__ import main
main()
"""
# Both make all that a resumed training needs, and write it. Ours waits until the file is on the disk.
CHECKPOINT = {
    "mtt": """
from dataclasses import replace
from mtt import checkpoint
from mtt.options import Options
from mtt.training.optimizer import make_optimizer
from mtt.training.state import State
def load(path):
    header, tensors = checkpoint.read(path)
    model = checkpoint.build_model(header)
    hypers = Options.from_dict(header.options).architecture.training
    state = State(model, make_optimizer(list(model.parameters()), hypers))
    state.from_checkpoint(header, tensors)
    return header, tensors, state
def save(loaded, path):
    header, tensors, state = loaded
    entries, own = state.to_checkpoint()
    checkpoint.write(path, replace(header, **entries), {**tensors, **own})
""",
    "metatrain": """
import torch
from metatrain.utils.io import model_from_checkpoint, trainer_from_checkpoint
def load(path):
    # A file that metatrain has just written here; it reads none otherwise.
    read = torch.load(path, weights_only=False)
    trainer = trainer_from_checkpoint(read, "restart", read["train_hypers"])
    return model_from_checkpoint(read, "restart"), trainer
def save(loaded, path):
    model, trainer = loaded
    trainer.save_checkpoint(model, path)
""",
}
# The third time of each counts: the first one imports.
LOAD_AND_SAVE = """
import sys, time
from pathlib import Path
def timed(function, *arguments):
    for _ in range(3):
        before = time.perf_counter(), time.process_time()
        result = function(*arguments)
        after = time.perf_counter(), time.process_time()
    return result, [end - start for start, end in zip(before, after)]
loaded, loading = timed(load, Path(sys.argv[1]))
saved = Path("again.ckpt")
_, saving = timed(save, loaded, saved)
print("clocks", *(loading if sys.argv[2] == "load" else saving), saved.stat().st_size / 1e6)
"""


@dataclass
class Figure:
    """A median of ``program`` in ``case`` of ``part``: wall time and processor time in s.

    ``memory`` is the peak of a process, or the size of a checkpoint, in MB; ``share`` is of the peak of matrix
    products, or what saving takes of a training. ``atoms`` are those of a call, or of
    all domains together, which have ``ghosts`` besides.
    """

    part: str
    case: str
    program: str
    wall: float
    processor: float
    memory: float | None = None
    share: float | None = None
    atoms: int | None = None
    ghosts: int | None = None


def liquid(molecules: int, seed: int) -> Atoms:
    """Return a cubic box of ethanol molecules, each turned at random, at the density of the liquid."""
    one = ase.io.read(EXAMPLES / "ethanol/ethanol.xyz")
    centered = one.positions - one.positions.mean(axis=0)
    n_sites = round(molecules ** (1 / 3) + 0.499)
    edge = (molecules * MOLAR_MASS / DENSITY / AVOGADRO * 1e24) ** (1 / 3)
    rng = np.random.default_rng(seed)
    box = Atoms(cell=np.eye(3) * edge, pbc=True)
    for site in range(molecules):
        molecule = Atoms(one.numbers, centered)
        molecule.rotate(rng.random() * 360, rng.normal(size=3))
        place = np.array(np.unravel_index(site, (n_sites,) * 3)) + 0.5
        molecule.positions += place * edge / n_sites
        box += molecule
    return box


def peak_of_products(threads: int) -> float:
    """Return the speed of a product of matrices in GFLOP/s, as training_step.py measures it."""
    # In another process: torch in this one would count in the peak memory of all those that it starts.
    text = f"from training_step import peak; print(round(peak({threads}), 1))"
    done = subprocess.run([sys.executable, "-c", text], cwd=HERE, stdout=-1, text=True, check=True)
    return float(done.stdout)


def environment(program: str) -> str:
    """Return the Python of an environment with a program, made where it is missing."""
    python = WORK / program / "bin/python"
    stamp = WORK / program / "installed"
    if not stamp.exists():
        print(f"making an environment with {PROGRAMS[program]}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", WORK / program], check=True)
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        # The build of torch that we run with, so that the programs differ and torch does not.
        subprocess.run([*pip, f"torch=={version('torch').partition('+')[0]}"], check=True)
        subprocess.run([*pip, PROGRAMS[program]], check=True)
        stamp.touch()
    return str(python)


def timed(
    command: list[str],
    folder: Path,
    threads: int,
    until: str | None = None,
    stop: int = signal.SIGKILL,
) -> tuple[float, float, float]:
    """Return wall time, processor time with that of its children, and peak memory (s, s, MB) of a command.

    With ``until``, of the command up to a line that holds these words; then it gets the signal ``stop``.
    """
    number = str(threads)
    variables = os.environ | {"OMP_NUM_THREADS": number, "MKL_NUM_THREADS": number}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, cwd=folder, env=variables, stdout=-1, stderr=errors, text=True
        )
        assert process.stdout is not None
        found = until is None
        wall = 0.0
        for line in process.stdout:
            if until is not None and until in line:
                found, wall = True, time.perf_counter() - start
                process.send_signal(stop)
                break
        process.stdout.close()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = wall or time.perf_counter() - start
        if not found or (until is None and process.returncode != 0):
            errors.seek(0)
            raise SystemExit(f"{command} failed:\n{errors.read()[-2000:]}")
    return wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


class Suite:
    """The programs, and the figures so far."""

    def __init__(self, pythons: dict[str, str], arguments: argparse.Namespace) -> None:
        self.others = pythons
        # Those that train, export and call the same models as we do.
        same = {program: python for program, python in pythons.items() if program == "metatrain"}
        self.pythons = {"mtt": sys.executable} | same
        self.arguments = arguments
        self.figures: list[Figure] = []
        self.exports: set[str] = set()

    def add(self, figure: Figure) -> None:
        """Keep a figure, and print it beside ours."""
        self.figures.append(figure)
        print(row(figure, self.figures), flush=True)

    def in_turns(
        self,
        part: str,
        case: str,
        programs: Iterable[str],
        run: Callable[[str], tuple[float, float, float]],
    ) -> None:
        """Keep the medians of what ``run`` returns for each program."""
        results: dict[str, list[tuple[float, float, float]]] = {one: [] for one in programs}
        for _ in range(self.arguments.rounds):
            for program, so_far in results.items():
                so_far.append(run(program))
        for program, so_far in results.items():
            medians = map(statistics.median, zip(*so_far, strict=True))
            self.add(Figure(part, case, program, *medians))

    def training(self) -> None:
        """A step of training, by another script of this folder."""
        box = [liquid(56, seed) for seed in range(5)]
        rng = np.random.default_rng(0)
        # Any numbers: they do not change the time. Both programs divide by their spread.
        for atoms in box:
            atoms.info["energy"] = float(rng.normal())
            atoms.arrays["forces"] = rng.normal(size=(len(atoms), 3))
        ase.io.write(WORK / "liquid.xyz", box)
        for case, data, structures, batch, sizes in TRAININGS:
            result = WORK / "training.json"
            command = [sys.executable, str(HERE / "training_step.py"), "--json", str(result)]
            command += ["--data", str(data), "--structures", str(structures), "--batch", str(batch)]
            command += ["--sizes", sizes, "--threads", str(self.arguments.threads)]
            command += ["--rounds", str(self.arguments.rounds), "--epochs", "7"]
            if "metatrain" in self.pythons:
                command += ["--metatrain", self.pythons["metatrain"]]
            subprocess.run(command, check=True)
            for found in json.loads(result.read_text()):
                figure = Figure(
                    "training step",
                    f"{case}, {found['size']}",
                    found["program"],
                    found["wall"],
                    found["processor"],
                )
                figure.share = found["work"] / found["peak"] / found["wall"]
                self.add(figure)
                times = (found["first wall"], found["first processor"])
                self.add(Figure("training step, first epoch", figure.case, figure.program, *times))

    def start(self) -> None:
        """Commands on as little data as there can be."""
        threads, image = self.arguments.threads, self.arguments.image
        commands = {program: [python, "-m", program] for program, python in self.pythons.items()}
        ours, trained = ["mtt"], list(commands)
        if image:
            commands["mtt in an image"] = ["apptainer", "-q", "run", str(image.resolve())]
            ours.append("mtt in an image")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            self.write_options(folder)
            for program in trained:
                # Where Apptainer finds them.
                shutil.copy(self.checkpoint(program), folder)
                shutil.copy(self.exported(program), folder)

            def first_step(program: str) -> tuple[float, float, float]:
                text = FIRST_STEP.format(package=program)
                command = [self.pythons[program], "-c", text]
                return timed(command, folder, threads, until="first step")

            def folder_of_run(program: str) -> tuple[float, float, float]:
                command = [*commands[program], "train", "options.yaml"]
                # Apptainer passes this one on to what it runs. The processor time has the stop in it.
                return timed(command, folder, threads, "results go to", signal.SIGTERM)

            self.in_turns("start", "train, to the end of the first step", trained, first_step)
            self.in_turns("start", "train, to the folder of the run", ours, folder_of_run)
            for case, programs, words in (
                ("--help", commands, "--help"),
                ("export", commands, "export {}.ckpt -o again.pt"),
                ("eval", commands, "eval {}.pt eval.yaml -o predictions.xyz"),
                ("verify --level quick", ours, "verify {}.pt --level quick"),
                ("show", ours, "show {}.ckpt"),
            ):

                def run(program: str, words: str = words) -> tuple[float, float, float]:
                    files = program if program in self.pythons else "mtt"
                    command = [*commands[program], *words.format(files).split()]
                    if words.startswith("export") and files == "mtt":
                        command.append("--no-verify")
                    return timed(command, folder, threads)

                self.in_turns("start", case, programs, run)

    def calls(self) -> None:
        """Calls of exported models, in boxes that grow."""
        programs, box, sizes = list(self.pythons), liquid(8, 0), self.arguments.atoms
        self.call("exported call", molecule(), programs, [9])
        self.call("exported call", box, programs, [n for n in sizes if n <= LARGEST_OF_OTHERS])
        self.call("exported call", box, ["mtt"], [n for n in sizes if n > LARGEST_OF_OTHERS])

    def domains(self) -> None:
        """Calls of exported models on domains with ghosts."""
        sizes = [self.arguments.atoms_of_domains]
        self.call("domains", liquid(8, 0), list(self.pythons), sizes, "1,2,4,8")

    def call(
        self,
        part: str,
        box: Atoms,
        programs: list[str],
        sizes: list[int],
        domains: str | None = None,
    ) -> None:
        """Keep what calls take, by another script of this folder; with domains, for one atom of the box."""
        if not sizes:
            return
        ase.io.write(WORK / "box.xyz", box)
        models = {str(self.exported(program)): program for program in programs}
        result = WORK / "calls.json"
        command = [sys.executable, str(HERE / "exported_call.py"), str(WORK / "box.xyz"), *models]
        command += ["--atoms", ",".join(map(str, sizes)), "--domains", domains or "1"]
        command += ["--calls", str(self.arguments.rounds), "--json", str(result)]
        command += ["--threads", str(self.arguments.threads)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for found in json.loads(result.read_text()):
            case, program = f"{found['atoms']} atoms", models[found["model"]]
            case += f" on {found['domains']} domains, per atom" if domains else ""
            # Where the C++ program cannot load the file.
            program += "" if found["by"] == "C++" else f", called from {found['by']}"
            parts = found["atoms"] if domains else 1
            figure = Figure(part, case, program, found["wall"] / parts, found["processor"] / parts)
            figure.memory, figure.atoms = found["peak"], found["atoms"]
            figure.ghosts = found["with ghosts"] - found["atoms"]
            self.add(figure)

    def verify(self) -> None:
        """Full verification of our model."""
        command = [sys.executable, "-m", "mtt", "verify", str(self.exported("mtt"))]
        for threads in {1, self.arguments.threads}:
            runs = [timed(command, WORK, threads) for _ in range(self.arguments.rounds)]
            medians = map(statistics.median, zip(*runs, strict=True))
            self.add(Figure("verification", f"full, {threads} threads", "mtt", *medians))

    def checkpoints(self) -> None:
        """Loading and saving of the default PET, and the share of a training that saving takes."""
        for case in ("load", "save"):

            def run(program: str, case: str = case) -> tuple[float, float, float]:
                text = CHECKPOINT[program] + LOAD_AND_SAVE
                command = [self.pythons[program], "-c", text, str(self.checkpoint(program)), case]
                variables = os.environ | {"OMP_NUM_THREADS": str(self.arguments.threads)}
                with tempfile.TemporaryDirectory() as folder:
                    done = subprocess.run(
                        command, cwd=folder, env=variables, stdout=-1, text=True, check=True
                    )
                line = next(one for one in done.stdout.splitlines() if one.startswith("clocks "))
                wall, processor, size = map(float, line.split()[1:])
                return wall, processor, size

            self.in_turns("checkpoint", case, self.pythons, run)
        result = WORK / "checkpoints.json"
        command = [sys.executable, str(HERE / "checkpoint_cost.py"), "--json", str(result)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for found in json.loads(result.read_text()):
            self.add(Figure("checkpoint", program="mtt", **found))

    def peers(self) -> None:
        """Models of other programs, by another script of this folder."""
        result = WORK / "peers.json"
        command = [sys.executable, str(HERE / "peers.py"), "--json", str(result)]
        command += ["--rounds", str(self.arguments.rounds)]
        for program, python in self.others.items():
            command += ["--python", f"{program}={python}"]
        subprocess.run(command, check=True)
        for found in json.loads(result.read_text()):
            self.add(Figure(**found))

    def write_options(self, folder: Path) -> None:
        """Write options and data that both programs take: one step of the default PET."""
        frames = ase.io.read(EXAMPLES / "ethanol/ethanol.xyz", ":12")
        ase.io.write(folder / "training.xyz", frames[:10])
        ase.io.write(folder / "validation.xyz", frames[10:])
        energy = {"key": "energy", "unit": "eV", "forces": {"key": "forces"}, "stress": False}

        def dataset(name: str) -> dict[str, Any]:
            systems = {"read_from": name, "length_unit": "angstrom"}
            return {"systems": systems, "targets": {"energy": energy}}

        document = {
            "seed": 0,
            "device": "cpu",
            "architecture": {"name": "pet", "training": {"num_epochs": 1, "batch_size": 10}},
            "training_set": dataset("training.xyz"),
            "validation_set": dataset("validation.xyz"),
            "test_set": 0.0,
        }
        (folder / "options.yaml").write_text(yaml.safe_dump(document))
        (folder / "eval.yaml").write_text(yaml.safe_dump(dataset("validation.xyz")))

    def checkpoint(self, program: str) -> Path:
        """Return a checkpoint of the default size, made by its program at the first call."""
        path = WORK / f"{program}.ckpt"
        if not path.exists():
            with tempfile.TemporaryDirectory() as name:
                self.write_options(Path(name))
                command = [self.pythons[program], "-m", program, "train", "options.yaml"]
                timed([*command, "-o", "model.pt"], Path(name), 1)
                path.write_bytes((Path(name) / "model.ckpt").read_bytes())
        return path

    def exported(self, program: str) -> Path:
        """Return the file exported from that checkpoint, at the first call."""
        path = WORK / f"{program}.pt"
        if program in self.exports:
            return path
        self.exports.add(program)
        command = [self.pythons[program], "-m", program, "export"]
        command += [str(self.checkpoint(program)), "-o", str(path)]
        timed(command + (["--no-verify"] if program == "mtt" else []), WORK, 1)
        return path


def molecule() -> Atoms:
    """Return an ethanol in a box in which it does not meet itself."""
    one = ase.io.read(EXAMPLES / "ethanol/ethanol.xyz")
    return Atoms(one.numbers, one.positions, cell=np.eye(3) * 30.0, pbc=True)


def ratio(figure: Figure, figures: list[Figure]) -> float | None:
    """Return the processor time of a figure over that of mtt."""
    same = (other for other in figures if (other.part, other.case) == (figure.part, figure.case))
    ours = next((other for other in same if other.program in ("mtt", "mtt pet")), None)
    return figure.processor / ours.processor if ours and ours is not figure else None


def duration(seconds: float) -> str:
    """Return a time in words, to three digits."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def growth(figures: list[Figure]) -> list[str]:
    """Return rows of a table: by which power of the number of atoms the time of a call grows, and memory for an atom."""
    rows = []
    calls = [one for one in figures if one.part == "exported call" and one.atoms is not None]
    for program in dict.fromkeys(one.program for one in calls):
        own = [one for one in calls if one.program == program and one.atoms >= SMALLEST_GROWING]
        if len(own) < 2:
            continue
        first, last = min(own, key=lambda one: one.atoms), max(own, key=lambda one: one.atoms)
        times = math.log(last.atoms / first.atoms)
        wall = math.log(last.wall / first.wall) / times
        processor = math.log(last.processor / first.processor) / times
        memory = 1e3 * (last.memory - first.memory) / (last.atoms - first.atoms)
        rows.append(
            f"| growth | {first.atoms} to {last.atoms} atoms | {program} | exponent {wall:.2f} | "
            f"exponent {processor:.2f} | {memory:.0f} kB per atom | |"
        )
    return rows


def row(figure: Figure, figures: list[Figure]) -> str:
    """Return a figure as a row of a table."""
    over = ratio(figure, figures)
    rest = [f"{figure.memory:.0f} MB"] if figure.memory else []
    rest += [f"{100 * figure.share:.2g} %"] if figure.share else []
    rest += [f"{figure.ghosts} ghosts"] if figure.ghosts else []
    times = f"{duration(figure.wall)} | {duration(figure.processor)}"
    beside = f"{over:.2f}" if over else ""
    return f"| {figure.part} | {figure.case} | {figure.program} | {times} | {', '.join(rest)} | {beside} |"


def draw(figures: list[Figure], path: Path) -> None:
    """Draw how many times the processor time of mtt others take, case by case."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    bars = [(one, over) for one in figures if (over := ratio(one, figures)) is not None]
    labels = [f"{one.part}: {one.case} ({one.program})" for one, _ in bars]
    figure, axes = plt.subplots(figsize=(8, 0.5 + 0.28 * len(bars)), layout="constrained")
    axes.barh(labels, [over for _, over in bars], color="#3b75af")
    axes.bar_label(axes.containers[0], fmt="%.1f", padding=3)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.margins(x=0.1)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("processor time / processor time of mtt")
    axes.invert_yaxis()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", action="append", default=[], choices=sorted(PROGRAMS))
    parser.add_argument("--environment", action="append", default=[], metavar="PROGRAM=PYTHON")
    parser.add_argument("--parts", default="start,training,calls,domains,checkpoints,verify,peers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--atoms", default="72,576,1152,3240,7776")
    parser.add_argument("--atoms-of-domains", type=int, default=576)
    parser.add_argument("--image", type=Path, help="FILE.sif, for the part start")
    parser.add_argument("--output", type=Path, default=WORK / "results")
    arguments = parser.parse_args()
    arguments.atoms = [int(number) for number in arguments.atoms.split(",")]
    WORK.mkdir(parents=True, exist_ok=True)
    arguments.output.mkdir(parents=True, exist_ok=True)
    pythons = dict(one.split("=", 1) for one in arguments.environment)
    pythons |= {one: environment(one) for one in arguments.against if one not in pythons}
    suite = Suite(pythons, arguments)
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load at the start": os.getloadavg()[0],
        "threads": arguments.threads,
        "python": platform.python_version(),
        "torch": version("torch"),
        "mtt": version("mtt"),
        "peak of matrix products, GFLOP/s": peak_of_products(arguments.threads),
    }
    header = ", ".join(f"{key}: {value}" for key, value in machine.items())
    header += "\n\n| part | case | program | wall | processor | memory, size or share | times mtt |"
    header += "\n" + "|---" * 7 + "|"
    print(header)
    for part in arguments.parts.split(","):
        getattr(suite, part)()
        # After each part, so that a run that is cut short leaves what it has.
        found = {"machine": machine, "figures": [asdict(one) for one in suite.figures]}
        (arguments.output / "results.json").write_text(json.dumps(found, indent=1))
        table = [header, *(row(one, suite.figures) for one in suite.figures)]
        table += growth(suite.figures)
        (arguments.output / "table.md").write_text("\n".join(table) + "\n")
        if any(ratio(one, suite.figures) for one in suite.figures):
            draw(suite.figures, arguments.output / "picture.png")
    print(*growth(suite.figures), sep="\n")
    print(f"in {arguments.output}: results.json, table.md, picture.png")


if __name__ == "__main__":
    main()
