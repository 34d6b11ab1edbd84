"""One call of exported models, as an MD engine makes it: time, memory and growth, side by side.

    python tests/benchmarks/exported_call.py BOX.xyz model.pt other.pt --atoms 9,243,1125,3087
    python tests/benchmarks/exported_call.py BOX.xyz model.pt --atoms 576 --domains 1,2,4,8

BOX.xyz holds a periodic structure, which is copied along its axes until it has about as many atoms.
The last column of each row is for files that were measured at a smaller size as well: how time grows.
Each file runs in a process of its own, and the processes take turns; energy, forces and the derivative
by strain are computed in each call. The first file is what the ratios are to. With several domains, each
gets a call with the ghosts that a rank of LAMMPS has, and times are sums over domains.

The calls are those of ``mtt-calls``, a C++ program without Python (csrc/tests/benchmarks); of files that it
cannot load, which is told, and with ``--python``, they are those of metatomic's Python. Use files of trusted
origin: they run without a sandbox.
"""

import argparse
import itertools
import json
import math
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

BUILD = Path(__file__).parents[2] / "build"
# Calls in which TorchScript still compiles.
WARM_UP = 3
# Domains along each axis.
GRIDS = {1: (1, 1, 1), 2: (2, 1, 1), 4: (2, 2, 1), 8: (2, 2, 2)}


def build_program() -> Path:
    """Return ``mtt-calls``, compiled from the present sources in the build folder of the editable installation."""
    cmake = Path(sys.executable).parent / "cmake"
    if not (BUILD / "CMakeCache.txt").exists():
        raise SystemExit(f"{BUILD} has no build of mtt: run `make setup`, or give --python")
    subprocess.run([cmake, "-DMTT_BUILD_TESTS=ON", BUILD], check=True, stdout=subprocess.DEVNULL)
    command = [cmake, "--build", BUILD, "--target", "mtt-calls"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return BUILD / "tests/mtt-calls"


def caller(path: str, program: Path | None, arguments: argparse.Namespace) -> tuple[str, list[str]]:
    """Return the language that calls a file, and the command that does: it answers lines as ``serve`` does."""
    threads = str(arguments.threads)
    if program is not None:
        command = [str(program), path, threads]
        tried = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if tried.returncode == 0:
            return "C++", command
        print(f"{path} is called from Python: {tried.stderr.strip()}", file=sys.stderr)
    command = [sys.executable, __file__, arguments.box, path, "--serve", "--threads", threads]
    return "Python", command


def serve(path: str, threads: int) -> None:
    """Answer one line with a box by one line with the time of a call and the peak of memory."""
    import torch
    from metatensor.torch import Labels
    from metatomic.torch import ModelEvaluationOptions, ModelOutput, System, load_atomistic_model

    from mtt.architectures.metatomic_systems import add_neighbor_list
    from mtt.data.structure import Structure

    torch.set_num_threads(threads)
    model = load_atomistic_model(path)
    capabilities = model.capabilities()
    dtype = getattr(torch, capabilities.dtype)
    name = next(n for n in capabilities.outputs if n.partition("/")[0] == "energy")
    options = ModelEvaluationOptions(
        length_unit="angstrom",
        outputs={name: ModelOutput(unit="eV", sample_kind="system")},
        selected_atoms=None,
    )
    lists: list[Any] = list(model.requested_neighbor_lists())
    for line in sys.stdin:
        asked = json.loads(line)
        structure = Structure(
            types=np.array(asked["types"]),
            positions=np.array(asked["positions"]),
            cell=np.array(asked["cell"]),
            pbc=np.array([True, True, True]),
        )
        strain = torch.eye(3, dtype=dtype, requires_grad=True)
        positions = torch.tensor(structure.positions, dtype=dtype, requires_grad=True)
        system = System(
            types=torch.tensor(structure.types, dtype=torch.int32),
            positions=positions @ strain,
            cell=torch.tensor(structure.cell, dtype=dtype) @ strain,
            pbc=torch.tensor([True, True, True]),
        )
        for wanted in lists:
            add_neighbor_list(system, structure, wanted)
        every = torch.arange(len(structure.types), dtype=torch.int32)
        selected = Labels(["system", "atom"], torch.stack([torch.zeros_like(every), every], dim=1))
        options.selected_atoms = selected
        wall, processor = time.perf_counter(), time.process_time()
        energy = model([system], options, check_consistency=False)[name].block(0).values
        energy.sum().backward()
        result = {
            "wall": time.perf_counter() - wall,
            "processor": time.process_time() - processor,
            "peak": peak_memory(),
            "energy": float(energy.detach()),
            "with ghosts": len(structure.types),
        }
        print(json.dumps(result), flush=True)


def copies(n_atoms: int, wanted: int) -> tuple[int, ...]:
    """Return how often to repeat a box along its axes for the number of atoms within 5 %: as near to a cube as can be."""
    most = max(1.0, wanted / n_atoms)
    return min(
        itertools.product(range(1, math.ceil(most) + 1), repeat=3),
        key=lambda counts: (abs(math.prod(counts) / most - 1) > 0.05, max(counts), -min(counts)),
    )


def peak_memory() -> float:
    """Return the largest memory that this process ever had, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("box")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--atoms", default="1125,3087")
    parser.add_argument(
        "--calls", type=int, default=5, help="of each file, after three that do not count"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--domains", default="1", help="numbers of domains: 1, 2, 4, 8")
    parser.add_argument("--python", action="store_true", help="call all files from Python")
    parser.add_argument("--json", type=Path, help="file for all figures")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.models[0], arguments.threads)
        return
    from ase.io import read

    box = read(arguments.box)
    program = None if arguments.python else build_program()
    callers = {path: caller(path, program, arguments) for path in arguments.models}
    rows: list[dict[str, Any]] = []
    sizes = [int(number) for number in arguments.atoms.split(",")]
    numbers = [int(number) for number in arguments.domains.split(",")]
    for size, domains in itertools.product(sizes, numbers):
        atoms = box * copies(len(box), size)
        asked = json.dumps(
            {
                "types": atoms.numbers.tolist(),
                "positions": atoms.positions.tolist(),
                "cell": atoms.cell.tolist(),
                "grid": GRIDS[domains],
            }
        )
        # Only the C++ program knows how a system is cut.
        able = [one for one, (by, _) in callers.items() if domains == 1 or by == "C++"]
        workers = [
            subprocess.Popen(callers[path][1], stdin=-1, stdout=-1, text=True) for path in able
        ]
        answers: list[list[dict[str, float]]] = [[] for _ in workers]
        for _ in range(arguments.calls + WARM_UP):
            for worker, so_far in zip(workers, answers, strict=True):
                assert worker.stdin is not None and worker.stdout is not None
                worker.stdin.write(asked + "\n")
                worker.stdin.flush()
                so_far.append(json.loads(worker.stdout.readline()))
        for worker in workers:
            worker.communicate()
        first: dict[str, Any] = {}
        for path, so_far in zip(able, answers, strict=True):
            counted = so_far[WARM_UP:]
            row: dict[str, Any] = {"atoms": len(atoms), "model": path, "by": callers[path][0]}
            row |= {"domains": domains, "with ghosts": counted[-1]["with ghosts"]}
            for key in ("wall", "processor"):
                row[key] = statistics.median(answer[key] for answer in counted)
            row["peak"] = max(answer["peak"] for answer in counted)
            row["energy"] = counted[-1]["energy"]
            alike = [other for other in rows if other["domains"] == domains]
            smaller = [other for other in alike if other["model"] == path]
            rows.append(row)
            first = first or row
            growth = ""
            if smaller:
                before = smaller[-1]
                times = math.log(row["processor"] / before["processor"])
                row["exponent"] = times / math.log(row["atoms"] / before["atoms"])
                growth = f"  exponent {row['exponent']:.2f}"
            print(
                f"{row['atoms']:6d} atoms ({row['with ghosts']} with ghosts)  {path:24s} wall {row['wall']:7.3f} s ({first['wall'] / row['wall']:.2f} x)"
                f"  processor {row['processor']:7.3f} s ({first['processor'] / row['processor']:.2f} x)"
                f"  peak {row['peak']:6.0f} MB  energy {row['energy']:.5f} eV{growth}",
                flush=True,
            )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
