"""Files that are no potentials, or more than one: what fails, what passes, and whom it matters to.

Models are made with metatomic in this process; the real program judges the files.
"""

# ruff: noqa: UP006, UP035, UP045  (TorchScript and its classes want the names of typing)

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, List

import pytest
import torch
from metatomic.torch import AtomisticModel, ModelCapabilities, ModelMetadata, ModelOutput
from run_verifier import find_program, run_verify
from several_targets import TYPES
from several_targets import export as export_potential
from toy_models import ATOMIC_TYPES, Pair, export_toy, save
from toy_outputs import OUTPUTS, Composition, Outputs, export_outputs
from toy_targets import golden_pack
from toy_turning import description, references

from mtt import architecture_registry
from mtt.architectures.potential import Potential
from mtt.data.target import GRADIENTS, Target
from mtt.verify.report import Report

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:output 'energy' has an empty unit"),
]
MD = ["ase", "ipi", "torch-sim", "lammps:ranks=1", "lammps:ranks=several"]
MD += ["gromacs:ranks=1", "gromacs:ranks=several", "eon"]
SPECIAL = {"plumed", "lammps:fix", "lammps:compute"}
Verify = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def verify(tmp_path_factory: pytest.TempPathFactory) -> Verify:
    """``verify(model, outputs, *arguments, **export)``: the report on such a file, with its exit code."""
    program = find_program()
    folder = tmp_path_factory.mktemp("outputs")
    files: dict[str, Path] = {}

    def run(model: Any, outputs: Any, *arguments: str, **export: Any) -> dict[str, Any]:
        key = f"{model.__name__} {outputs} {export}"
        if key not in files:
            files[key] = export_outputs(folder / f"{len(files)}.pt", model, outputs, **export)
        return run_verify(program, files[key], ["--seed", "5", "--level", "quick", *arguments])

    return run


def failures(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the failed checks by ``FAMILY/name``, with ``@TARGET`` where the report names one.

    What PLUMED and LAMMPS' fix and compute ask for has tests of its own.
    """
    return {
        f"{c['family']}/{c['name']}" + (f"@{c['target']}" if c.get("target") else ""): c
        for c in report["checks"]
        if c["status"] == "fail" and not (c["family"] == "ENGINE" and set(c["matters"]) <= SPECIAL)
    }


def passes(report: dict[str, Any]) -> set[str]:
    """Return the names of the checks that passed, without targets."""
    return {f"{c['family']}/{c['name']}" for c in report["checks"] if c["status"] == "pass"}


def answers(report: dict[str, Any]) -> dict[str, str]:
    """Return the answer for each use."""
    return {verdict["use"]: verdict["answer"] for verdict in report["verdicts"]}


def reason(report: dict[str, Any], use: str) -> str:
    """Return why the answer for one use is what it is."""
    return str(next(v["reason"] for v in report["verdicts"] if v["use"] == use))


OF_VALUES = {"SCHEMA/values", "SCHEMA/unit of values", "NTH/values", "GEO/values", "SYM/values"}
OF_VALUES |= {"SYM/rotation of values", "DTYPE/values"}


def assert_no_energy(report: dict[str, Any], listed: str) -> None:
    """Assert that the file loads, and that all MD engines are refused for want of an energy."""
    assert "LOAD/model" in passes(report)
    energy = failures(report)["SCHEMA/energy output"]
    assert energy["message"].endswith(f"it has: {listed}")
    assert energy["severity"] == "refuses" and energy["matters"] == MD
    assert {answers(report)[use] for use in MD} == {"no"}
    assert {reason(report, use) for use in MD} == {"no energy that it can ask for"}
    assert report["exit code"] == 3
    skipped = [c for c in report["checks"] if c["family"] == "ENGINE" and c["name"] == "ase"]
    assert [c["status"] for c in skipped] == ["skip"]
    assert "energy_unit" not in report["model"] or report["model"]["energy_unit"] == ""
    assert report["model"]["potential"] is False
    summary = Report.of(report).summary
    assert summary.startswith(f"not a potential: {', '.join(report['model']['targets'])} checked; ")
    assert "LAMMPS and the like cannot run MD with it" in summary
    limits = {c["name"] for c in report["checks"] if c["family"] == "LIMITS"}
    assert {"spoiled instance", "global state", "floating-point exceptions"} <= limits
    assert not [c for c in report["checks"] if c["family"] == "LIMITS" and c["status"] != "pass"]


def test_a_dipole_of_a_system(verify: Verify) -> None:
    report = verify(Outputs, ["mtt::dipole"])
    assert set(failures(report)) == {"SCHEMA/energy output"}
    assert_no_energy(report, "mtt::dipole")
    assert passes(report) >= OF_VALUES
    # A dipole is no sum over atoms that engines could divide, and has no rows of atoms.
    skipped = {f"{c['family']}/{c['name']}" for c in report["checks"] if c["status"] == "skip"}
    assert skipped >= {"DD/values", "SCHEMA/values of selected atoms", "GEO/values without atoms"}
    assert Report.of(report).summary == (
        "not a potential: mtt::dipole checked; LAMMPS and the like cannot run MD with it"
    )


def test_limits_hold_for_what_is_no_energy(verify: Verify) -> None:
    report = verify(Outputs, ["mtt::dipole"], "--level", "full", "--only", "LIMITS", "--for", "all")
    limits = {c["name"]: c["status"] for c in report["checks"] if c["family"] == "LIMITS"}
    assert set(limits.values()) == {"pass"}
    assert len(limits) == 10


class Moves(Outputs):
    """With the time step that LAMMPS' fix reads."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        self.register_buffer("timestep", torch.tensor(8.0, dtype=dtype))


def test_positions_and_momenta(verify: Verify) -> None:
    """As FlashMD predicts them: places in space, which move with the system and its domains."""
    report = verify(Moves, ["position", "momentum"])
    assert set(failures(report)) == {"SCHEMA/energy output"}
    assert_no_energy(report, "momentum, position")
    domains = OF_VALUES | {"DD/values", "SCHEMA/values of selected atoms"}
    assert passes(report) >= domains
    assert (answers(report)["lammps:fix"], answers(report)["plumed"]) == ("yes", "no")
    assert verify(Moves, ["position", "momentum"], "--for", "lammps:fix")["exit code"] == 0


class OtherSign(Outputs):
    """Vectors that do not turn with the system."""

    def vectors_of(self, weights: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        return weights * torch.abs(vectors)


class FixedDirection(Moves):
    """Vectors of the right length, all along x."""

    def vectors_of(self, weights: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        return weights * torch.tensor([[1.0, 0.0, 0.0]], dtype=weights.dtype)


class MixedComponents(Outputs):
    """Quadrupoles with two components exchanged."""

    def quadrupoles_of(self, weights: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        x, y, z = vectors[:, 0], vectors[:, 1], vectors[:, 2]
        root = 1.7320508075688772
        right = [root * x * y, root * y * z, 0.5 * (2.0 * z * z - x * x - y * y), root * x * z]
        right.append(0.5 * root * (x * x - y * y))
        wrong: List[torch.Tensor] = [right[1], right[0], right[2], right[3], right[4]]
        return weights * torch.stack(wrong, dim=1)


def test_vectors_turn_with_the_system(verify: Verify) -> None:
    report = verify(FixedDirection, ["position", "momentum"])
    assert set(failures(report)) == {
        "SCHEMA/energy output",
        "SYM/rotation of values@momentum",
    }
    fix = failures(report)["SYM/rotation of values@momentum"]
    assert set(fix["matters"]) == {"ase", "torch-sim", "lammps:fix", "lammps:compute"}
    assert answers(report)["lammps:fix"] == "no"


def test_a_model_without_symmetry_is_only_measured(verify: Verify) -> None:
    """Nothing shows that the author meant it to be equivariant: lengths change as well."""
    report = verify(OtherSign, ["mtt::dipole"])
    assert set(failures(report)) == {"SCHEMA/energy output"}


def test_an_energy_shows_that_vectors_should_turn(verify: Verify) -> None:
    report = verify(OtherSign, ["energy", "mtt::dipole"])
    assert set(failures(report)) == {"SYM/rotation of values@mtt::dipole"}
    dipole = failures(report)["SYM/rotation of values@mtt::dipole"]
    assert dipole["unless"] == "'mtt::dipole' is asked for"
    assert answers(report)["ase"] == "unless" and answers(report)["lammps:ranks=1"] == "yes"
    assert reason(report, "ase") == "'mtt::dipole' is asked for"


def test_tensors_and_several_blocks(verify: Verify) -> None:
    report = verify(Outputs, ["mtt::tensor", "mtt::quadrupole", "mtt::multipoles"])
    assert set(failures(report)) == {"SCHEMA/energy output"}
    assert passes(report) >= OF_VALUES | {"DD/values", "SCHEMA/values of selected atoms"}
    rows = [
        c["message"] for c in report["checks"] if c["name"] == "values" and c["family"] == "SCHEMA"
    ]
    assert [row.split(", ")[1] for row in rows] == [
        "6 numbers in each row",
        "5 numbers in each row",
        "9 numbers in each row",
    ]


def test_spherical_components_in_another_order_do_not_turn(verify: Verify) -> None:
    report = verify(MixedComponents, ["energy", "mtt::quadrupole"])
    assert set(failures(report)) == {"SYM/rotation of values@mtt::quadrupole"}


def test_rotations_may_be_bounded(verify: Verify) -> None:
    bounded = ["energy", "non_conservative_force"], "--only", "SYM", "--max-rotation-error"
    report = verify(Outputs, *bounded, "1e-14")
    failed = failures(report)["SYM/rotation of values@non_conservative_force"]
    assert failed["message"].endswith("more than was allowed")
    report = verify(Outputs, *bounded, "1")
    assert "SYM/rotation of values@non_conservative_force" not in failures(report)


def test_many_numbers_of_each_atom(verify: Verify) -> None:
    report = verify(Outputs, ["mtt::shells"])
    assert set(failures(report)) == {"SCHEMA/energy output"}
    assert passes(report) >= OF_VALUES | {"DD/values", "SCHEMA/values of selected atoms"}


class IgnoresSelection(Outputs):
    """Rows of all atoms come back, whatever atoms are selected."""

    def kept_rows(self, kept: torch.Tensor, n_atoms: int) -> torch.Tensor:
        return torch.arange(n_atoms, device=kept.device)


def test_selected_atoms_matter_to_those_who_select(verify: Verify) -> None:
    report = verify(IgnoresSelection, ["energy", "mtt::shells"])
    name = "SCHEMA/values of selected atoms@mtt::shells"
    assert set(failures(report)) == {name}
    assert failures(report)[name]["matters"] == ["lammps:compute"]
    assert {answers(report)[use] for use in MD} == {"yes"}
    assert (answers(report)["lammps:compute"], report["exit code"]) == ("no", 0)
    judged = verify(IgnoresSelection, ["energy", "mtt::shells"], "--for", "lammps:compute")
    assert judged["exit code"] == 3


class NotFinite(Outputs):
    """Densities are no numbers."""

    def densities_of(self, weights: torch.Tensor) -> torch.Tensor:
        return torch.log(-1.0 - weights)


def test_values_that_are_no_numbers_are_one_finding(verify: Verify) -> None:
    report = verify(NotFinite, ["energy", "mtt::shells", "mtt::dipole"])
    assert set(failures(report)) == {"SCHEMA/values@mtt::shells"}
    failed = failures(report)["SCHEMA/values@mtt::shells"]
    assert failed["message"].startswith("the values are not finite")
    assert failed["severity"] == "wrong numbers" and "\n" not in failed["message"]
    others = [c for c in report["checks"] if c.get("target") == "mtt::shells"]
    assert {c["status"] for c in others if c["family"] != "SCHEMA"} == {"skip"}


class Throws(Outputs):
    """An output that is declared and cannot be computed."""

    def densities_of(self, weights: torch.Tensor) -> torch.Tensor:
        return weights.reshape(-1, 7)


def test_an_output_that_fails_is_one_line(verify: Verify) -> None:
    report = verify(Throws, ["energy", "feature"])
    assert set(failures(report)) == {"SCHEMA/values@feature"}
    failed = failures(report)["SCHEMA/values@feature"]
    assert failed["severity"] == "stops" and "\n" not in failed["message"]
    assert "plumed" in failed["matters"] and "lammps:ranks=1" not in failed["matters"]


def test_two_variants_without_a_plain_energy(verify: Verify) -> None:
    report = verify(Outputs, ["energy/pbe", "energy/pbesol"])
    variants = ("energy/pbe", "energy/pbesol")
    gromacs = ["SCHEMA/variants", *(f"ENGINE/gromacs@{name}" for name in variants)]
    assert set(failures(report)) == set(gromacs)
    finding = next(item for item in report["findings"] if "SCHEMA/variants" in item["checks"])
    assert finding["checks"] == ["SCHEMA/variants", "ENGINE/gromacs", "ENGINE/gromacs"]
    targets = {c.get("target") for c in report["checks"] if c["name"] == "forces"}
    assert targets == set(variants)
    told = next(c["message"] for c in report["checks"] if c["name"] == "energy output")
    assert told.startswith("only variants (pbe, pbesol): engines must be told which")
    refused = {use for use, answer in answers(report).items() if answer == "no"}
    assert refused >= {"gromacs:ranks=1", "gromacs:ranks=several"}
    assert {answers(report)[use] for use in MD if "gromacs" not in use} == {"yes"}
    assert report["exit code"] == 3
    assert verify(Outputs, ["energy/pbe", "energy/pbesol"], "--for", "ase,lammps")["exit code"] == 0


def test_one_variant_is_checked_on_request(verify: Verify) -> None:
    report = verify(Outputs, ["energy/pbe", "energy/pbesol"], "--variant", "pbesol", "--for", "ase")
    assert report["exit code"] == 0 and set(failures(report)) == {"SCHEMA/variants"}
    assert {c.get("target") for c in report["checks"]} <= {None, ""}
    message = next(c["message"] for c in report["checks"] if c["name"] == "energy output")
    assert message == "'energy/pbesol'; not checked: energy/pbe (it is of another variant)"
    absent = verify(Outputs, ["energy/pbe", "energy/pbesol"], "--variant", "scan")
    failed = failures(absent)["SCHEMA/energy output"]
    assert failed["message"].startswith("the model has no output 'energy/scan'; it has: energy/pbe")
    assert (failed["severity"], absent["exit code"]) == ("refuses", 3)


def test_all_known_outputs_beside_an_energy(verify: Verify) -> None:
    outputs = [name for name in OUTPUTS if not name.startswith("energy/")]
    report = verify(Outputs, outputs, "--only", "SCHEMA,DD,SYM,NTH,GEO,DTYPE")
    assert failures(report) == {}
    others = next(c["message"] for c in report["checks"] if c["name"] == "energy output")
    assert others.startswith("'energy'; beside it are checked: energy_ensemble, ")
    assert "non_conservative_stress" in others.split("not checked")[0]
    assert "mtt::tensor (too many for the level quick)" in others


def test_composition_only(verify: Verify) -> None:
    """No neighbor lists, a range of 0: every engine can run it."""
    report = verify(Composition, ["energy"])
    assert failures(report) == {}
    assert {answers(report)[use] for use in MD} == {"yes"}
    assert report["exit code"] == 0


def without_units(verify: Verify, *arguments: str) -> dict[str, Any]:
    return verify(Outputs, ["energy"], *arguments, units={"energy": ""}, length_unit="")


def test_units_that_the_file_lacks(verify: Verify) -> None:
    report = without_units(verify)
    assert set(failures(report)) == {"SCHEMA/units"}
    failed = failures(report)["SCHEMA/units"]
    assert failed["severity"] == "wrong numbers"
    assert failed["unless"] == "its lengths are in another unit than the engine's"
    engine = [
        c for c in report["checks"] if c["family"] == "ENGINE" and c["name"].startswith("ase")
    ]
    assert {c["status"] for c in engine} == {"skip"}


def test_units_that_the_caller_gives(verify: Verify) -> None:
    report = without_units(verify, "--length-unit", "angstrom", "--energy-unit", "eV")
    assert "ENGINE/ase" in passes(report) and "ENGINE/lammps" in passes(report)
    assert {answers(report)[use] for use in ("ase", "ipi", "torch-sim", "eon")} == {"yes"}
    assert {answers(report)[use] for use in ("lammps:ranks=1", "lammps:ranks=several")} == {
        "unless"
    }
    assert {answers(report)[use] for use in ("gromacs:ranks=1", "gromacs:ranks=several")} == {"no"}
    assert reason(report, "lammps:ranks=1") == "it works in other units than angstrom and eV"
    judged = without_units(
        verify, "--length-unit", "angstrom", "--energy-unit", "eV", "--for", "ase,ipi"
    )
    assert judged["exit code"] == 0


def test_units_that_contradict_the_file(verify: Verify) -> None:
    report = verify(Outputs, ["energy"], "--length-unit", "nm", "--only", "SCHEMA")
    failed = failures(report)["SCHEMA/given units"]
    assert failed["message"].startswith("--length-unit says 'nm', and the file declares 'angstrom'")
    same = verify(
        Outputs, ["energy"], "--length-unit", "A", "--energy-unit", "eV", "--only", "SCHEMA"
    )
    assert "SCHEMA/given units" in passes(same)


@pytest.mark.parametrize("option", [("--length-unit", "eV"), ("--energy-unit", "parsec")])
def test_units_that_are_none(option: tuple[str, str], tmp_path: Path) -> None:
    program = find_program()
    done = subprocess.run([program, "x.pt", *option], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert f"'{option[1]}' is not a unit that converts to" in done.stderr


def test_an_output_whose_unit_is_missing(verify: Verify) -> None:
    report = verify(Outputs, ["energy", "momentum"], units={"momentum": ""})
    assert set(failures(report)) == {"SCHEMA/unit of values@momentum"}
    failed = failures(report)["SCHEMA/unit of values@momentum"]
    assert failed["unless"] == "'momentum' is asked for: its unit is another"


def test_extensions_beside_the_file_are_named_and_not_loaded(tmp_path: Path) -> None:
    program = find_program()
    declared = json.dumps([{"name": "fast", "path": "libfast.so", "sha256": ""}])
    (tmp_path / "extensions").mkdir()
    (tmp_path / "extensions" / "libfast.so").write_bytes(b"not a library")
    path = export_toy(tmp_path / "model.pt", Pair, records={"extensions": declared})
    command = [program, path, "--only", "LOAD", "--json", "-"]
    report = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
    message = failures(report)["LOAD/extensions"]["message"]
    assert message.endswith(f"run with --extensions {tmp_path / 'extensions'}")
    (tmp_path / "extensions" / "libfast.so").unlink()
    report = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
    message = failures(report)["LOAD/extensions"]["message"]
    assert "beside the file" not in message and "ship the folder" in message
    plain = export_toy(tmp_path / "plain.pt", Pair)
    command[1] = plain
    report = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
    assert "LOAD/extensions" in passes(report) and "extensions" not in str(failures(report))


def test_a_pack_of_atoms_for_an_output_of_systems(tmp_path: Path) -> None:
    """There is no way to ask for what the pack speaks of: a failure, and no crash."""
    module = Outputs().eval()

    def referenced(example: Any) -> dict[str, torch.Tensor]:
        every = references(module, example)
        return {name: values for name, values in every.items() if name.startswith("mtt::tensor")}

    pack = golden_pack(referenced, [description("mtt::tensor")])
    declared = {"mtt::tensor": ModelOutput(unit="eV", sample_kind="system", description="x")}
    capabilities = ModelCapabilities(
        outputs=declared,
        atomic_types=ATOMIC_TYPES,
        interaction_range=module.range(),
        length_unit="angstrom",
        supported_devices=["cpu"],
        dtype="float64",
    )
    model = AtomisticModel(module, ModelMetadata(name="x"), capabilities).eval()
    save(tmp_path / "model.pt", model, pack)
    arguments = ["--only", "SCHEMA/values,LIMITS/traces", "--for", "all"]
    report = run_verify(find_program(), tmp_path / "model.pt", arguments)
    assert (report["verdict"], report["exit code"]) == ("fail", 3)
    assert {c["status"] for c in report["checks"] if c["family"] == "LIMITS"} == {"skip"}
    assert "SCHEMA/values" in failures(report)


def test_an_energy_that_is_not_the_first_target(tmp_path: Path) -> None:
    """Engines that run MD do not know its name; LIMITS are asked of it, with its derivatives."""
    targets = (
        Target("mtt::dipole", "dipole", "e*A", type="vector"),
        Target("mtt::u0", unit="eV", gradients=GRADIENTS),
    )
    architecture = architecture_registry.get("soap_bpnn")
    hypers = architecture.ModelHypers(soap={"channels": 2, "max_radial": 2, "max_angular": 2})
    core = architecture.build_core(hypers, TYPES, targets)
    potential = Potential(core, TYPES, targets, "angstrom").set_precision(torch.float64)
    model = export_potential(tmp_path / "model.pt", potential.eval(), 64)
    report = run_verify(
        find_program(), model, ["--only", "LIMITS", "--level", "full", "--for", "all"]
    )
    assert {c["status"] for c in report["checks"] if c["family"] == "LIMITS"} == {"pass"}
    assert report["model"]["potential"] is False
