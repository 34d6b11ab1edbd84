"""Errors of our PET or SOAP-BPNN against metatrain's: same data, split, hypers, precision and epochs.

    python tests/benchmarks/accuracy.py --metatrain ENV/bin/python --epochs 40 --seeds 0 1 2
    python tests/benchmarks/accuracy.py --metatrain ENV/bin/python --defaults --test 40 --data ...
    python tests/benchmarks/accuracy.py --metatrain ENV/bin/python --architecture soap_bpnn --ordered \
        --train 600 --test 100 --epochs 50
    python tests/benchmarks/accuracy.py --metatrain ENV/bin/python --target dipole --data DATA/dipoles.xyz \
        --train 100 --validation 20 --test 40 --epochs 200 --batch-size 16

``ENV`` is a virtual environment with ``pip install metatrain``, or ``"metatrain[soap-bpnn]"``; ours is
the Python that runs this script. ``--defaults`` leaves all options of the trainer but the number of
epochs to each program. Both exports are judged by the same code, as an engine would run them, each with
the Python that trained it (metatrain's SOAP-BPNN calls an extension that only its own has), on
structures that training never saw with ``--test``, else on the validation set. ``--ordered`` splits the
file as it is, so that whole trajectories stay apart. ``--target dipole`` trains on dipoles alone, of
``study_data.py DATA dipoles``, and tells the errors of their components. Prints a table, and the ratio
of the means over seeds.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import yaml

EXAMPLE = Path(__file__).parents[2] / "docs/examples/ethanol/ethanol.xyz"
# The hypers of the quickstart. Only the spelling of the loss weights differs between the two.
WIDTHS = {"d_pet": 32, "d_node": 64, "d_head": 32, "d_feedforward": 64, "num_heads": 4}
MODELS: dict[str, dict[str, Any]] = {
    "pet": WIDTHS | {"num_attention_layers": 1, "cutoff": 3.5},
    "soap_bpnn": {"soap": {"cutoff": {"radius": 3.5}}},
}
TRAINING = {"scale_targets": False, "warmup_fraction": 0.05, "best_model_metric": "rmse_prod"}
# Dipoles are tenths of e*A: scaled, as both programs do unless told otherwise, and one term in the loss.
TRAINING_DIPOLE = TRAINING | {"scale_targets": True}
DIPOLE = {
    "key": "total_dipole",
    "quantity": "dipole",
    "unit": "e*A",
    "type": {"cartesian": {"rank": 1}},
}
LOSS = {
    "mtt": {"energy": 10.0, "forces": 1.0},
    "metatrain": {"energy": {"weight": 10.0, "forces": {"weight": 1.0}}},
}

JUDGE = """
import json, sys, warnings
warnings.simplefilter("ignore")
import ase.io, numpy as np
from metatomic_ase import MetatomicCalculator
try:
    import sphericart.torch  # an operator of metatrain's SOAP-BPNN
except ImportError:
    pass
from metatomic.torch import ModelOutput
calculator = MetatomicCalculator(sys.argv[1], device="cpu", uncertainty_threshold=None)
errors = {}
def add(name, error):
    errors.setdefault(name, []).append(1e3 * np.ravel(error))
for atoms in ase.io.read(sys.argv[2], ":"):
    if "total_dipole" in atoms.info:
        output = calculator.run_model(atoms, {"mtt::dipole": ModelOutput(sample_kind="system")})
        dipole = output["mtt::dipole"].block().values.detach().numpy()
        add("dipole", dipole.ravel() - atoms.info["total_dipole"])
        continue
    reference = atoms.get_potential_energy(), atoms.get_forces()
    atoms = atoms.copy()
    atoms.calc = calculator
    add("energy", (atoms.get_potential_energy() - reference[0]) / len(atoms))
    add("forces", atoms.get_forces() - reference[1])
result = {}
for name, parts in errors.items():
    error = np.concatenate(parts)
    result[name + "_rmse"] = float(np.sqrt(np.mean(error**2)))
    result[name + "_mae"] = float(np.mean(np.abs(error)))
print(json.dumps(result))
"""


def options(folder: Path, seed: int, args: argparse.Namespace, name: str) -> dict[str, Any]:
    def dataset(file: str) -> dict[str, Any]:
        energy = {"key": "energy", "unit": "eV", "forces": {"key": "forces"}, "stress": False}
        systems = {"read_from": str(folder / file), "length_unit": "angstrom"}
        if args.target == "dipole":
            return {"systems": systems, "targets": {"mtt::dipole": DIPOLE}}
        return {"systems": systems, "targets": {"energy": energy}}

    training: dict[str, Any] = {"num_epochs": args.epochs, "checkpoint_interval": args.epochs}
    if not args.defaults:
        training |= {"batch_size": args.batch_size, "learning_rate": args.learning_rate}
        training |= TRAINING_DIPOLE if args.target == "dipole" else TRAINING | {"loss": LOSS[name]}
    model = {} if args.size == "default" else MODELS[args.architecture]
    return {
        "seed": seed,
        "device": "cpu",
        "base_precision": 32,
        "architecture": {"name": args.architecture, "model": model, "training": training},
        "training_set": dataset("train.xyz"),
        "validation_set": dataset("validation.xyz"),
        "test_set": dataset("test.xyz"),
    }


def train(python: str, folder: Path, content: dict[str, Any], ours: bool) -> dict[str, float]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "options.yaml").write_text(yaml.safe_dump(content))
    module = [python, "-m", "mtt" if ours else "metatrain", "train", "options.yaml"]
    start = time.perf_counter()
    with open(folder / "log.txt", "w") as log:
        subprocess.run(module, cwd=folder, check=True, stdout=log, stderr=subprocess.STDOUT)
    return {"seconds": time.perf_counter() - start}


def judge(python: str, model: Path, data: Path) -> dict[str, float]:
    result = subprocess.run(
        [python, "-c", JUDGE, str(model), str(data)], check=True, capture_output=True, text=True
    )
    return json.loads(result.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--metatrain", required=True, help="Python with metatrain installed")
    parser.add_argument("--architecture", choices=tuple(MODELS), default="pet")
    parser.add_argument("--target", choices=("energy", "dipole"), default="energy")
    parser.add_argument("--ordered", action="store_true", help="train on the first structures")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--train", type=int, default=400)
    parser.add_argument("--validation", type=int, default=100)
    parser.add_argument("--test", type=int, default=0, help="0: the validation set again")
    parser.add_argument("--size", choices=("small", "default"), default="small")
    parser.add_argument("--defaults", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path("accuracy"))
    parser.add_argument("--data", type=Path, default=EXAMPLE)
    args = parser.parse_args()
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    frames = ase.io.read(args.data, ":")
    shuffled = np.random.default_rng(0).permutation(len(frames))
    order = range(len(frames)) if args.ordered else shuffled
    chosen = [frames[i] for i in order]
    rest = chosen[args.train + args.validation :][: args.test]
    ase.io.write(folder / "train.xyz", chosen[: args.train])
    ase.io.write(folder / "validation.xyz", chosen[args.train :][: args.validation])
    ase.io.write(folder / "test.xyz", rest or chosen[args.train :][: args.validation])
    rows: dict[str, list[dict[str, float]]] = {"mtt": [], "metatrain": []}
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for seed in args.seeds:
        for name, python in (("mtt", sys.executable), ("metatrain", args.metatrain)):
            work = folder / f"{name}-{seed}"
            row = train(python, work, options(folder, seed, args, name), ours=name == "mtt")
            row |= judge(python, work / "model.pt", folder / "test.xyz")
            rows[name].append(row)
            print(f"{name:10s} seed {seed} ", _text(row), flush=True)
    means = {
        name: {key: float(np.mean([row[key] for row in many])) for key in many[0]}
        for name, many in rows.items()
    }
    for name, mean in means.items():
        print(f"{name:10s} mean   ", _text(mean))
    ratio = {key: means["mtt"][key] / means["metatrain"][key] for key in means["mtt"]}
    print("ratio mtt / metatrain ", "  ".join(f"{key} {value:.3f}" for key, value in ratio.items()))
    (folder / "accuracy.json").write_text(json.dumps({"rows": rows, "ratio": ratio}, indent=1))


def _text(row: dict[str, float]) -> str:
    units = {"energy": "meV/atom", "forces": "meV/A", "dipole": "me*A", "seconds": "s"}
    return "  ".join(f"{key} {value:.2f} {units[key.split('_')[0]]}" for key, value in row.items())


if __name__ == "__main__":
    main()
