"""``mtt-verify`` kills every fault of the corpus by the check meant for it, and no sound model."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from corpus import load_corpus
from harness import SOUND, Verdict
from run_verifier import find_program, run_verify
from toy_states import export_in_states

pytestmark = pytest.mark.filterwarnings(
    "ignore:.torch.jit:DeprecationWarning", "ignore:output 'energy' has an empty unit"
)
CORPUS = load_corpus()
WITHOUT_FAULT = {
    # Needs a GPU.
    "DTYPE/CUDA",
    # Fails only together with LOAD/model, after which the program does not get that far.
    "SCHEMA/devices",
}
# A strict list holds no pairs beyond the cutoff; without a golden pack there is nothing to equal.
MAY_SKIP = {
    "embedded with farther pairs": {"DTYPE/CUDA"},
    "embedded without golden pack": {
        "DTYPE/CUDA",
        "DD/pairs beyond the cutoff",
        "PARITY/energy",
        "SCHEMA/golden pack",
    },
    # Only what turns is in the pack, and a stress belongs to no atom.
    "turning outputs float64": {
        "DD/pairs beyond the cutoff",
        "DTYPE/CUDA",
        "PARITY/energy",
        "GEO/values without atoms",
        "SCHEMA/values of selected atoms",
    },
    # GROMACS reads the plain energy, whatever variants there are.
    "several targets float32": {"DD/pairs beyond the cutoff", "DTYPE/CUDA", "ENGINE/gromacs"},
}


def names(report: dict[str, Any], status: str) -> list[str]:
    """Return the results with this status, with ``@TARGET`` where the report names one."""
    return [
        f"{c['family']}/{c['name']}" + (f"@{c['target']}" if "target" in c else "")
        for c in report["checks"]
        if c["status"] == status
    ]


@pytest.mark.parametrize("sound", list(SOUND))
def test_sound_model_passes_every_check(sound: str, verdict: Verdict) -> None:
    report = verdict(sound)
    # What the exit code does not judge, such as PLUMED of a model without features, may be refused.
    failed = [
        c
        for c in report["checks"]
        if c["status"] == "fail" and set(c["matters"]) & set(report["for"])
    ]
    assert not failed, [f"{c['family']}/{c['name']}: {c['message']}" for c in failed]
    skipped = {name.partition("@")[0] for name in names(report, "skip")}
    assert skipped <= MAY_SKIP.get(sound, {"DD/pairs beyond the cutoff", "DTYPE/CUDA"})
    assert (report["verdict"], report["exit code"]) == ("pass", 0)


def test_sound_model_in_states_fails_only_where_engines_give_none(tmp_path: Path) -> None:
    """What faults of states are compared with: charges and spins of the pack are handed over."""
    report = run_verify(find_program(), export_in_states(tmp_path / "model.pt"), ["--for", "ase"])
    failed = [name for name in names(report, "fail") if not name.startswith("ENGINE/")]
    assert set(failed) == {"SCHEMA/inputs"}
    assert (report["verdict"], report["exit code"]) == ("pass", 0)
    passed = set(names(report, "pass"))
    assert {"PARITY/energy", "PARITY/forces", "PARITY/virial", "SYM/batch"} <= passed


@pytest.mark.parametrize("name", list(CORPUS))
def test_fault_is_killed_by_the_check_meant_for_it(name: str, verdict: Verdict) -> None:
    report = verdict(name)
    failed = names(report, "fail")
    if any("@" in check for check in CORPUS[name].checks):
        assert set(failed) == set(CORPUS[name].checks), "other targets fail as well"
    missing = set(CORPUS[name].checks) - set(failed)
    assert not missing, f"not caught by {sorted(missing)}; what failed: {failed}"
    assert (report["verdict"], report["exit code"]) == ("fail", 3)
    silent = [c["name"] for c in report["checks"] if c["status"] == "fail" and not c["message"]]
    assert not silent, "failures without a message"


@pytest.mark.parametrize("sound", ["pair float64", "several targets float32"])
def test_every_check_has_a_fault_that_kills_it(sound: str, verdict: Verdict) -> None:
    known = {check.partition("@")[0] for fault in CORPUS.values() for check in fault.checks}
    run = {f"{c['family']}/{c['name']}" for c in verdict(sound)["checks"]}
    assert run - known - WITHOUT_FAULT == set()


def test_every_family_has_a_fault() -> None:
    families = {family for fault in CORPUS.values() for family in fault.families}
    assert families >= {"LOAD", "SCHEMA", "PARITY", "NTH", "FD", "DD", "GEO", "SYM"}
    assert families >= {"DTYPE", "ENGINE", "LIMITS"}


def test_kill_matrix_in_the_docs_is_current() -> None:
    script = Path(__file__).parent / "make_matrix.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
