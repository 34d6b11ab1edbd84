"""Are uncertainties as large as errors on unseen data, and larger where data are unlike the training set?

    python tests/benchmarks/uncertainty.py ethanol.xyz --set architecture.training.num_epochs=50

Trains the quickstart's PET on the first 600 structures of the file, once with ``uncertainty: llpr`` and once
as an ensemble of three, evaluates both model files on the last 100, and asks for uncertainties of copies
of these whose atoms are displaced at random. Prints a table; the pictures stay in the folder.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

import ase.io
import numpy as np
import yaml

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
    for way, options in WAYS.items():
        run(folder, "train", str(OPTIONS), "-o", f"{way}.pt", *set_words(options + arguments.set))
        for displacement in DISPLACEMENTS:
            print(f"| {way}, {displacement:g} A | {' | '.join(row(folder, way, displacement))} |")


COLUMNS = ("system, meV/atom", "atoms, meV (mean, largest)", "RMSE over it", "within 1, within 2")


def write_displaced(path: Path, frames: list[ase.Atoms], size: float) -> None:
    """Write frames with atoms displaced by a normal distribution; references only where there is none."""
    random = np.random.default_rng(0)
    for atoms in frames:
        moved = atoms.copy()
        moved.positions += random.normal(scale=size, size=moved.positions.shape)
        moved.calc = atoms.calc if size == 0.0 else None
        ase.io.write(path, moved, append=True)


def run(folder: Path, *words: str) -> None:
    log = folder / f"{words[0]}.log"
    with log.open("a") as file:
        subprocess.run(
            [sys.executable, "-m", "mtt", *words], cwd=folder, stdout=file, stderr=file, check=True
        )


def set_words(settings: list[str]) -> list[str]:
    return [word for setting in settings for word in ("-r", setting)]


def row(folder: Path, way: str, displacement: float) -> list[str]:
    """Return the cells of one way and displacement."""
    asked = {"systems": f"{displacement}.xyz", "targets": {"energy": {}}}
    (folder / "eval.yaml").write_text(yaml.safe_dump(asked))
    stem = f"{way}_{displacement}"
    run(folder, "eval", f"{way}.pt", "eval.yaml", "-o", f"{stem}.xyz")
    frames = ase.io.read(folder / f"{stem}.xyz", ":")
    systems = [1e3 * atoms.info["energy_uncertainty"] / len(atoms) for atoms in frames]
    atoms = np.concatenate([of_atoms(folder / f"{way}.pt", frame) for frame in frames[:20]])
    report = json.loads((folder / f"{stem}.json").read_text())["calibration"].get("energy")
    cells = [f"{np.mean(systems):.2f}", f"{1e3 * atoms.mean():.1f}, {1e3 * atoms.max():.1f}"]
    if report is None:
        return [*cells, "", ""]
    parts = (f"{100 * report[f'within_{multiple}']:.0f} %" for multiple in (1, 2))
    return [*cells, f"{report['ratio']:.2f}", ", ".join(parts)]


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
