"""Are uncertainties as large as errors on unseen data, and larger where data are unlike the training set?

    python tests/benchmarks/uncertainty.py ethanol.xyz --set architecture.training.num_epochs=50

Trains the quickstart's PET on the first 600 structures of the file, once with ``uncertainty: llpr`` and once
as an ensemble of three, evaluates both model files on the last 100 and on copies of these whose atoms are
displaced at random. With the package ``tblite``, GFN2-xTB gives the energies of the copies, as it did those of
the file; without it they have none. Prints a table; ``calibration.png`` and the other pictures stay in the folder.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

import ase.io
import numpy as np
import yaml
from ase.calculators.singlepoint import SinglePointCalculator
from matplotlib.figure import Figure

OPTIONS = Path(__file__).parents[2] / "docs/examples/ethanol/options.yaml"
WAYS = {"llpr": ["architecture.training.uncertainty=llpr"], "ensemble": ["seed=[1, 2, 3]"]}
DISPLACEMENTS = (0.0, 0.05, 0.1, 0.25)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    folder = Path(mkdtemp(prefix="uncertainty-"))
    frames = ase.io.read(arguments.data, ":")
    ase.io.write(folder / "ethanol.xyz", frames)
    for displacement in DISPLACEMENTS:
        write_displaced(folder / f"{displacement}.xyz", frames[-100:], displacement)
    print(f"in {folder}\n\n| | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
    results: Results = {}
    for way, options in WAYS.items():
        run(folder, "train", str(OPTIONS), "-o", f"{way}.pt", *set_words(options + arguments.set))
        for displacement in DISPLACEMENTS:
            cells, results[way, displacement] = row(folder, way, displacement)
            print(f"| {way}, {displacement:g} A | {' | '.join(cells)} |", flush=True)
    draw(folder / "calibration.png", results)


# Uncertainties and errors of structures, meV per atom, of each way and displacement.
Results = dict[tuple[str, float], tuple[list[float], list[float]]]
COLUMNS = ("system, meV/atom", "atoms, meV (mean, largest)", "RMSE over it", "within 1, within 2")


def write_displaced(path: Path, frames: list[ase.Atoms], size: float) -> None:
    """Write frames with their atoms displaced, with energies if they can be had."""
    for atoms, moved in zip(frames, displaced(frames, size), strict=True):
        if size == 0.0:
            moved.calc = atoms.calc
        elif find_spec("tblite"):
            from tblite.ase import TBLite

            calculator = TBLite(method="GFN2-xTB", accuracy=0.1, verbosity=0)
            energy = calculator.get_potential_energy(moved)
            moved.calc = SinglePointCalculator(moved, energy=energy)
        ase.io.write(path, moved, append=True)


def displaced(frames: Sequence[ase.Atoms], size: float) -> list[ase.Atoms]:
    """Return copies whose atoms are displaced by a normal distribution (angstrom)."""
    random = np.random.default_rng(0)
    out = [atoms.copy() for atoms in frames]
    for atoms in out:
        atoms.positions += random.normal(scale=size, size=atoms.positions.shape)
    return out


def run(folder: Path, *words: str) -> None:
    log = folder / f"{words[0]}.log"
    with log.open("a") as file:
        subprocess.run(
            [sys.executable, "-m", "mtt", *words], cwd=folder, stdout=file, stderr=file, check=True
        )


def set_words(settings: list[str]) -> list[str]:
    return [word for setting in settings for word in ("-r", setting)]


def row(
    folder: Path, way: str, displacement: float
) -> tuple[list[str], tuple[list[float], list[float]]]:
    """Return the cells of one way and displacement, and what is drawn of it."""
    asked = {"systems": f"{displacement}.xyz", "targets": {"energy": {}}}
    (folder / "eval.yaml").write_text(yaml.safe_dump(asked))
    stem = f"{way}_{displacement}"
    run(folder, "eval", f"{way}.pt", "eval.yaml", "-o", f"{stem}.xyz")
    frames = ase.io.read(folder / f"{stem}.xyz", ":")
    systems = [1e3 * atoms.info["energy_uncertainty"] / len(atoms) for atoms in frames]
    atoms = np.concatenate([of_atoms(folder / f"{way}.pt", frame) for frame in frames[:20]])
    answer = json.loads((folder / f"{stem}.json").read_text())
    report = answer["calibration"].get("energy")
    cells = [f"{np.mean(systems):.2f}", f"{1e3 * atoms.mean():.1f}, {1e3 * atoms.max():.1f}"]
    if report is None:
        return [*cells, "", ""], ([], [])
    parts = (f"{100 * report[f'within_{multiple}']:.0f} %" for multiple in (1, 2))
    columns = answer["uncertainties"]["energy"]
    uncertainties, errors = ([1e3 * abs(x) for x in columns[k]] for k in ("uncertainty", "error"))
    return [*cells, f"{report['ratio']:.2f}", ", ".join(parts)], (uncertainties, errors)


def draw(path: Path, results: Results) -> None:
    """Draw errors against uncertainties, a panel for each way."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    panels = dict(zip(WAYS, figure.subplots(1, len(WAYS), sharex=True, sharey=True), strict=True))
    for (way, displacement), (uncertainties, errors) in results.items():
        name = f"displaced by {displacement:g} A" if displacement else "held out"
        panels[way].loglog(uncertainties, errors, ".", markersize=4, alpha=0.7, label=name)
    for way, axes in panels.items():
        ends = np.array(axes.get_xlim())
        for factor, style in ((1, "-"), (2, "--")):
            axes.plot(
                ends, factor * ends, "k" + style, linewidth=0.8, label=f"error = {factor} x it"
            )
        axes.set(title=way, xlabel="uncertainty (meV/atom)", xlim=ends)
    panels["llpr"].set_ylabel("error of the energy (meV/atom)")
    panels["llpr"].legend(fontsize="small")
    figure.savefig(path, dpi=110)


def of_atoms(model: Path, atoms: ase.Atoms) -> np.ndarray:
    """Return the uncertainties of atoms as metatomic's calculator of ASE asks for them."""
    from metatomic.torch import ModelOutput
    from metatomic_ase import MetatomicCalculator

    calculator = CALCULATORS.setdefault(
        model, MetatomicCalculator(model, uncertainty_threshold=None)
    )
    output = {"energy_uncertainty": ModelOutput(unit="eV", sample_kind="atom")}
    values: np.ndarray = calculator.run_model(atoms, output)["energy_uncertainty"].block().values
    return values.numpy().reshape(-1)


CALCULATORS: dict[Path, object] = {}

if __name__ == "__main__":
    main()
