"""Models that fail for some systems only: the report names these, and says yes for the others."""

import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from metatomic.torch import System
from run_verifier import find_program, run_verify
from toy_models import Pair, export_toy

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=".torch.jit", category=DeprecationWarning)
    from faults_domains import AdaptiveCutoff

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
OTHERS = {"plumed", "lammps:fix"}


class NoSlabs(Pair):
    """Stops for slabs."""

    def anchor(self, system: System) -> torch.Tensor:
        if int(system.pbc.sum()) == 2:
            raise RuntimeError("slabs are not supported")
        return 0.0 * system.positions.sum().to(torch.float64)


class NoTiltedCells(Pair):
    """Gives no numbers for cells whose first two vectors are not at right angles."""

    def anchor(self, system: System) -> torch.Tensor:
        zero = 0.0 * system.positions.sum().to(torch.float64)
        tilted = (system.cell[0] * system.cell[1]).sum().abs() > 0.01
        return zero + float("nan") if bool(tilted) else zero


class Disturbed(Pair):
    """Does as much as another program's burst of work costs: in the first 30 calls whenever the
    number of atoms changes (to less than 100), and in the first three calls with 256 atoms."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        self.calls = 0
        self.large = 0
        self.atoms = -1
        self.table = torch.eye(800)

    def anchor(self, system: System) -> torch.Tensor:
        self.calls += 1
        self.large += int(len(system) >= 256)
        changed = self.atoms != len(system)
        self.atoms = len(system)
        small = self.atoms < 100 and changed and self.calls <= 30
        if small or (self.atoms >= 256 and self.large <= 3):
            for _ in range(12):
                self.table = torch.tanh(self.table @ self.table).detach()
        return 0.0 * (system.positions.sum() + self.table[0, 0]).to(torch.float64)


def report_of(kind: type[Pair], folder: Path, *arguments: str) -> dict[str, Any]:
    path = folder / "model.pt"
    export_toy(path, kind, golden=False)
    return run_verify(find_program(), path, ["--level", "quick", *arguments])


def test_slabs_alone_are_named(tmp_path: Path) -> None:
    """The code raises for two periodic directions, whatever engine asks."""
    report = report_of(NoSlabs, tmp_path)
    slabs = "slabs (pbc FTT, TFT, TTF)"
    answers = {v["use"]: (v["answer"], v["reason"]) for v in report["verdicts"]}
    assert all(answers[use] == ("unless", slabs) for use in answers.keys() - OTHERS), answers
    assert report["exit code"] == 3
    (finding,) = [f for f in report["findings"] if f["severity"] != "refuses"]
    assert (finding["unless"], finding["severity"]) == (slabs, "stops")
    assert "slabs are not supported" in finding["cause"]
    assert {"GEO/periodicity", "ENGINE/lammps", "ENGINE/ase"} <= set(finding["checks"])


def test_tilted_cells_alone_are_named(tmp_path: Path) -> None:
    """The energy of every tilted cell is NaN, that of others is the pair potential's."""
    report = report_of(NoTiltedCells, tmp_path)
    answers = {v["use"]: (v["answer"], v["reason"]) for v in report["verdicts"]}
    for use in answers.keys() - OTHERS:
        answer, reason = answers[use]
        # Domains without atoms of a tilted cell give none either.
        expected = "a rank has no atoms, or tilted cells" if "several" in use else "tilted cells"
        assert (answer, reason) == ("unless", expected), use
    worst = report["findings"][0]
    assert all("\n" not in finding["cause"] for finding in report["findings"])
    numbers = [f for f in report["findings"] if "no numbers" in f["cause"]]
    assert len(numbers) == 1 and numbers[0]["severity"] == "stops", worst


def test_a_known_failure_of_slabs_can_be_accepted(tmp_path: Path) -> None:
    """One waiver for all that slabs do; for other systems or another message it does not hold."""
    waivers = tmp_path / "waivers.json"
    rows = ",".join(
        f'{{"check": "{family}", "system": "slabs", "message": "{{message}}", "reason": "bulk only"}}'
        for family in ("SCHEMA", "FD", "GEO", "DTYPE", "ENGINE", "LIMITS")
    )
    text = f'{{"waivers": [{rows}]}}'
    waivers.write_text(text.replace("{message}", "slabs are not supported"))
    report = report_of(NoSlabs, tmp_path, "--waivers", str(waivers))
    assert (report["verdict"], report["exit code"]) == ("pass", 0), report["verdicts"]
    assert all(waiver["used"] for waiver in report["waivers"])
    waivers.write_text(text.replace("{message}", "wires are not supported"))
    report = run_verify(
        find_program(),
        tmp_path / "model.pt",
        ["--level", "quick", "--waivers", str(waivers)],
    )
    assert (report["verdict"], report["exit code"]) == ("fail", 3)


def test_a_cutoff_that_adapts_to_the_density_is_for_one_rank(tmp_path: Path) -> None:
    """Where neighbors are few it reaches beyond the range: whoever cuts the box loses them."""
    report = report_of(AdaptiveCutoff, tmp_path)
    answers = {v["use"]: v["answer"] for v in report["verdicts"]}
    several = {"lammps:ranks=several", "gromacs:ranks=several"}
    assert all(answers[use] == "no" for use in several)
    assert all(answers[use] == "yes" for use in answers.keys() - OTHERS - several), answers
    assert report["findings"][0]["checks"][0] == "DD/receptive field"
    alone = run_verify(
        find_program(), tmp_path / "model.pt", ["--level", "quick", "--for", "ase,lammps:ranks=1"]
    )
    assert (alone["verdict"], alone["exit code"]) == ("pass", 0)


def test_work_of_other_programs_does_not_fail_a_model(tmp_path: Path) -> None:
    """What is slow once is measured again; without that both results fail for this model."""
    report = report_of(
        Disturbed, tmp_path, "--level", "full", "--only", "LIMITS/time per call,LIMITS/scaling"
    )
    results = {c["name"]: (c["status"], c["message"]) for c in report["checks"]}
    assert results.keys() == {"time per call", "scaling"}
    assert all(status == "pass" for status, _ in results.values()), results
