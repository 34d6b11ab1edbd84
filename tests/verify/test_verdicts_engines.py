"""What ``mtt-verify`` says engine by engine of models that some engines take and others do not.

Each table is right for a reason that stands in docs/reference/engine-calls.md.
"""

# ruff: noqa: UP006, UP045

from collections.abc import Callable
from typing import Any, Dict, List, Optional  # noqa: UP035  (for TorchScript)

import pytest
import torch
from metatensor.torch import Labels, TensorMap
from metatomic.torch import ModelOutput, System
from run_verifier import find_program, run_verify
from toy_engines import (
    Charged,
    ChargedStrictly,
    Described,
    Direct,
    Flash,
    Unlimited,
    export_outputs,
)
from toy_models import Pair, export_toy

pytestmark = pytest.mark.filterwarnings(
    "ignore:.torch.jit:DeprecationWarning", "ignore:.*deprecated", "ignore:.*empty unit"
)
MD = [
    "ase",
    "ipi",
    "torch-sim",
    "lammps:ranks=1",
    "lammps:ranks=several",
    "gromacs:ranks=1",
    "gromacs:ranks=several",
    "eon",
]
SEVERAL = ["lammps:ranks=several", "gromacs:ranks=several"]
NOT_GIVEN = ["ipi", "gromacs:ranks=1", "gromacs:ranks=several", "eon"]
CHECKS = "SCHEMA,ENGINE,DD/energy,GEO/isolated atom,GEO/atoms without neighbors"

Look = Callable[..., "Table"]


class Table:
    """The report on one model."""

    def __init__(self, report: dict[str, Any]) -> None:
        self.report = report
        self.verdicts = {verdict["use"]: verdict for verdict in report["verdicts"]}

    def answers(self) -> dict[str, str]:
        """What the report says of those that run MD, as ``yes``, ``no``, ``unless`` or ``untried``."""
        return {use: self.verdicts[use]["answer"] for use in MD}

    def other(self) -> list[str]:
        """The other uses that can take the file."""
        return [
            use for use, item in self.verdicts.items() if use not in MD and item["answer"] == "yes"
        ]

    def failures(self, name: str) -> list[dict[str, Any]]:
        """Those of one check, called ``FAMILY/name``."""
        return [
            check
            for check in self.report["checks"]
            if check["status"] == "fail" and f"{check['family']}/{check['name']}" == name
        ]

    def failed(self) -> set[str]:
        """Checks that fail for someone who runs MD."""
        return {
            f"{check['family']}/{check['name']}"
            for check in self.report["checks"]
            if check["status"] == "fail" and set(check["matters"]) & set(MD)
        }


def all_say(answer: str, **others: str) -> dict[str, str]:
    """The same answer for all who run MD but ``others``, with ``:ranks=`` written as ``__``."""
    renamed = {key.replace("__", ":ranks="): value for key, value in others.items()}
    return {**dict.fromkeys(MD, answer), **renamed}


@pytest.fixture(scope="module")
def look(tmp_path_factory: pytest.TempPathFactory) -> Look:
    """``look(kind)``: the table of a model of tests/toy_outputs.py."""
    folder = tmp_path_factory.mktemp("models")
    known: dict[Any, Table] = {}

    def run(kind: Any, export: Any = export_outputs, only: str = CHECKS, **options: Any) -> Table:
        key = (kind, only, tuple(options))
        if key not in known:
            path = folder / f"{len(known)}.pt"
            export(path, kind, **options)
            words = ["--level", "quick", "--only", only]
            known[key] = Table(run_verify(find_program(), path, words))
        return known[key]

    return run


def test_a_plain_potential_is_for_all_who_run_md(look: Look) -> None:
    table = look("pair", export_toy)
    assert table.answers() == all_say("yes")
    assert table.other() == ["lammps:compute"]
    assert table.report["exit code"] == 0


def test_plumed_refuses_a_potential_without_features(look: Look) -> None:
    table = look("pair", export_toy)
    assert table.verdicts["plumed"]["answer"] == "no"
    (failure,) = table.failures("ENGINE/plumed")
    assert "no output 'features'" in failure["message"]
    assert (failure["severity"], failure["matters"]) == ("refuses", ["plumed"])


def test_plumed_takes_features(look: Look) -> None:
    table = look(Described)
    assert table.answers() == all_say("yes")
    assert "plumed" in table.other()


class FeaturesNeedAtoms(Described):
    """Sound, but for the first call of PLUMED."""

    def features(self, system: System) -> torch.Tensor:
        assert len(system) > 0
        centers, _, vectors = self.edges(system)
        total = (vectors * vectors).sum() + 0.0 * centers.sum()
        return total.reshape(1, 1).expand(len(system), 2)


def test_features_that_need_atoms_are_not_for_plumed(look: Look) -> None:
    table = look(FeaturesNeedAtoms, only="ENGINE")
    (failure,) = table.failures("ENGINE/plumed")
    assert failure["severity"] == "stops"
    assert not table.failed()


def test_forces_of_its_own_are_asked_for_by_one_name(look: Look) -> None:
    table = look(Direct)
    assert table.answers() == all_say("yes")
    assert table.failed() == set()


class DirectForAll(Direct):
    """Rows of forces also of atoms that are not selected."""

    def rows(self, kept: torch.Tensor, n_atoms: int) -> torch.Tensor:
        return torch.arange(n_atoms, device=kept.device)


def test_wrong_forces_of_its_own_matter_to_those_who_ask_for_them(look: Look) -> None:
    table = look(DirectForAll, only="ENGINE")
    assert table.verdicts["lammps:ranks=1"]["answer"] == "unless"
    (failure,) = table.failures("ENGINE/lammps")
    assert failure["unless"] == "non-conservative forces are asked for"
    assert table.verdicts["ase"]["answer"] == "yes"


class NoRow(Pair):
    """No row at all of a system of which no atom is selected, as metatrain's models have it."""

    def total(self, system: System, energies: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        if kept.shape[0] == 0:
            return energies.index_select(0, kept)
        return energies.index_select(0, kept).sum().reshape(1)


def test_no_row_without_atoms_matters_to_lammps_on_several_ranks(look: Look) -> None:
    table = look(NoRow)
    assert table.answers() == all_say("yes", lammps__several="unless")
    assert table.verdicts["lammps:ranks=several"]["reason"] == "a rank has no atoms"
    assert table.failed() == {
        "SCHEMA/rank without atoms",
        "SCHEMA/rank without atoms and ghosts",
    }
    assert {check["severity"] for check in table.failures("SCHEMA/rank without atoms")} == {"stops"}


class Constant(Pair):
    """Adds one electronvolt to each rank."""

    def total(self, system: System, energies: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        return energies.index_select(0, kept).sum().reshape(1) + 1.0


def test_a_constant_per_rank_matters_to_who_asks_for_one_energy_per_system(look: Look) -> None:
    table = look(Constant, export_toy, reference_model=Constant)
    (failure,) = table.failures("SCHEMA/rank without atoms")
    assert failure["matters"] == ["lammps:ranks=several"]
    assert failure["unless"] == "a rank has no atoms"


def test_a_constant_matters_to_gromacs_as_well_without_energies_of_atoms(look: Look) -> None:
    table = look(Constant, export_toy, sample_kind="system", reference_model=Constant)
    (failure,) = table.failures("SCHEMA/rank without atoms")
    assert failure["matters"] == SEVERAL


def test_an_honest_infinite_range_is_refused_on_several_ranks_only(look: Look) -> None:
    table = look(Unlimited)
    assert table.answers() == all_say("yes", lammps__several="no", gromacs__several="no")
    (failure,) = table.failures("SCHEMA/interaction range")
    assert (failure["severity"], failure["matters"]) == ("refuses", SEVERAL)
    assert table.failed() == {"SCHEMA/interaction range"}
    fading = [c for c in table.report["checks"] if c["name"] == "atoms without neighbors"]
    assert "at twice the distance the interaction is 0.5" in fading[0]["message"]


class NeverFading(Unlimited):
    """Every atom sees the number of all atoms, wherever they are."""

    def atomic_energies(self, system: System, kept: torch.Tensor) -> torch.Tensor:
        species = self.species_of_type.index_select(0, system.types.to(torch.int64))
        count = float(len(system))
        return self.baseline.index_select(0, species) * (1.0 + 0.001 * count)


def test_what_does_not_fade_is_no_pass_and_no_failure(look: Look) -> None:
    table = look(NeverFading, only="GEO/atoms without neighbors")
    (entry,) = table.report["checks"]
    assert entry["status"] == "skip"
    assert "matters as much" in entry["message"]


def test_charge_and_spin_are_given_by_ase_only(look: Look) -> None:
    table = look(Charged)
    assert table.answers() == {
        **all_say("unless"),
        "ase": "yes",
        "torch-sim": "no",
        "lammps:ranks=1": "no",
        "lammps:ranks=several": "no",
    }
    reason = "the charge is not 0 or the spin multiplicity is not 1"
    assert {table.verdicts[use]["reason"] for use in NOT_GIVEN} == {reason}
    lammps, torch_sim, others = table.failures("SCHEMA/inputs")
    assert lammps["matters"][:2] == ["lammps:ranks=1", "lammps:ranks=several"]
    assert "takes charge 0 and spin multiplicity 1" in lammps["message"]
    assert (lammps["severity"], torch_sim["severity"]) == ("refuses", "refuses")
    assert others["matters"] == [*NOT_GIVEN, "plumed"]
    assert "takes charge 0 and spin multiplicity 1" in others["message"]
    assert (others["severity"], others["unless"]) == ("wrong numbers", reason)
    # All other checks run: the verifier gives what the model wants.
    assert table.failed() == {"SCHEMA/inputs"}


def test_a_model_that_insists_on_a_charge_is_for_ase_only(look: Look) -> None:
    table = look(ChargedStrictly)
    assert table.answers() == {**all_say("no"), "ase": "yes"}
    assert table.failed() == {"SCHEMA/inputs", "ENGINE/ipi", "ENGINE/gromacs", "ENGINE/eon"}
    (finding,) = [item for item in table.report["findings"] if "SCHEMA/inputs" in item["checks"]]
    assert set(finding["checks"]) >= table.failed()


def test_positions_and_momenta_are_for_fix_metatomic(look: Look) -> None:
    table = look(Flash)
    assert table.other() == ["lammps:fix", "lammps:compute"]
    assert table.verdicts["lammps:ranks=1"]["answer"] == "yes"
    assert table.verdicts["ase"]["answer"] == "yes"


def test_a_file_without_energy_is_for_fix_and_compute_metatomic_only(look: Look) -> None:
    table = look(Flash, energy=False)
    assert table.answers() == all_say("no")
    assert table.other() == ["lammps:fix", "lammps:compute"]


class BothTogether(Flash):
    """Fails where it is asked for momenta without positions, as FlashMD does."""

    def forward(
        self,
        systems: List[System],
        outputs: Dict[str, ModelOutput],
        selected_atoms: Optional[Labels],
    ) -> Dict[str, TensorMap]:
        if "momentum" in outputs and "position" not in outputs:
            raise RuntimeError("momenta come with positions")
        return self.steps(systems, outputs, selected_atoms)


def test_positions_and_momenta_are_asked_for_together(look: Look) -> None:
    table = look(BothTogether, energy=False)
    assert table.other() == ["lammps:fix", "lammps:compute"]


class RestingOnly(Flash):
    """Knows where atoms at rest go, and no others."""

    def moved(self, system: System, momenta: torch.Tensor, masses: torch.Tensor) -> torch.Tensor:
        speed = (momenta * momenta).sum()
        return system.positions + torch.sqrt(-speed)


def test_fix_metatomic_asks_with_velocities(look: Look) -> None:
    """A step that is not a number is seen, also if atoms at rest would not show it."""
    table = look(RestingOnly, only="ENGINE")
    (failure,) = table.failures("ENGINE/lammps:fix")
    assert "not finite" in failure["message"]
    assert (failure["severity"], failure["matters"]) == ("stops", ["lammps:fix"])


def test_no_call_of_an_engine_is_no_pass_for_it(look: Look) -> None:
    table = look("pair", export_toy, only="ENGINE", unit="")
    assert table.answers() == all_say("untried")
    assert "does not declare its units" in table.verdicts["ase"]["reason"]
    skipped = [c["name"] for c in table.report["checks"] if c["status"] == "skip"]
    assert {"ase", "ipi", "torch-sim", "lammps", "gromacs", "eon"} <= set(skipped)
