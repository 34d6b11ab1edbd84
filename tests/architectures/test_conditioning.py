"""Networks that depend on charge and spin keep the contract, and change nothing where they are neutral."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from metatensor.torch import Labels, TensorBlock, TensorMap
from metatomic.torch import AtomisticModel, ModelCapabilities, ModelMetadata, ModelOutput, System

from mtt import architecture_registry
from mtt.architectures.conditioning import States
from mtt.architectures.contract import ArchitectureContract
from mtt.architectures.contract.structures import TYPES, crystal, molecule
from mtt.architectures.ensemble import Ensemble
from mtt.architectures.interface import Core
from mtt.architectures.metatomic_systems import system_with_neighbors
from mtt.architectures.potential import Potential
from mtt.data.batch import collate
from mtt.data.dataset import Dataset
from mtt.data.structure import Structure
from mtt.data.target import GRADIENTS, Target
from mtt.options.schema.base import OptionsModel

ON = {"system_conditioning": True, "max_charge": 3, "max_spin_multiplicity": 4}
PET = {"d_pet": 4, "d_node": 6, "d_head": 4, "d_feedforward": 4, "num_heads": 1}
SOAP = {"soap": {"cutoff": {"radius": 3.5}, "max_angular": 2, "max_radial": 3, "channels": 3}}
MODELS: list[tuple[str, dict[str, Any]]] = [
    ("pet", PET),
    ("pet", {**PET, "featurizer_type": "residual"}),
    ("soap_bpnn", SOAP),
]
ENERGY = Target("energy", unit="eV", gradients=GRADIENTS)
ION = replace(molecule(), charge=1, spin_multiplicity=2)


class TestPet(ArchitectureContract):
    architecture = "pet"
    hypers: ClassVar[dict[str, Any]] = PET | ON


class TestResidualPet(ArchitectureContract):
    architecture = "pet"
    hypers: ClassVar[dict[str, Any]] = PET | ON | {"featurizer_type": "residual"}


class TestSoapBpnn(ArchitectureContract):
    architecture = "soap_bpnn"
    hypers: ClassVar[dict[str, Any]] = SOAP | ON


def core_of(name: str, hypers: Mapping[str, Any]) -> Core:
    """A core with the weights of seed 0, as they are before training."""
    architecture = architecture_registry.get(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        core: Core = architecture.build_core(architecture.ModelHypers(**hypers), TYPES, (ENERGY,))
    return core


def opened(name: str, hypers: Mapping[str, Any]) -> Potential:
    """A conditioned model whose branch is not zero any more, in float64."""
    core = core_of(name, {**hypers, **ON})
    with torch.no_grad():
        for key, parameter in core.named_parameters():
            if "conditioning" in key and not bool(parameter.any()):
                torch.nn.init.normal_(parameter, std=0.2)
    potential = Potential(core, TYPES, (ENERGY,), "angstrom")
    return potential.set_precision(torch.float64).eval()


def energies(potential: Potential, structures: list[Structure]) -> torch.Tensor:
    dataset = Dataset(structures, TYPES, potential.cutoff, (ENERGY,))
    values = potential.evaluate(collate(dataset, range(len(structures)), torch.float64).graph)
    systems = values["energy"].systems
    assert systems is not None
    return systems[:, 0]


@pytest.mark.parametrize(("name", "hypers"), MODELS)
def test_it_begins_as_the_network_without(name: str, hypers: dict[str, Any]) -> None:
    plain, conditioned = core_of(name, hypers), core_of(name, {**hypers, **ON})
    state = conditioned.state_dict()
    assert all(torch.equal(weight, state[key]) for key, weight in plain.state_dict().items())
    assert all(key in plain.state_dict() or "conditioning" in key for key in state)
    dataset = Dataset([ION, crystal()], TYPES, plain.cutoff, (ENERGY,))
    graph = collate(dataset, [0, 1], torch.float32).graph
    assert torch.equal(plain(graph, ["energy"])["energy"], conditioned(graph, ["energy"])["energy"])


@pytest.mark.parametrize(("name", "hypers"), MODELS)
def test_neutral_singlets_never_feel_it(name: str, hypers: dict[str, Any]) -> None:
    potential = opened(name, hypers)
    plain = Potential(core_of(name, hypers), TYPES, (ENERGY,), "angstrom")
    plain = plain.set_precision(torch.float64).eval()
    structures = [molecule(), crystal()]
    assert torch.equal(energies(potential, structures), energies(plain, structures))


@pytest.mark.parametrize(("name", "hypers"), MODELS)
def test_charge_and_spin_matter_each(name: str, hypers: dict[str, Any]) -> None:
    potential = opened(name, hypers)
    states = [(0, 1), (1, 1), (-1, 1), (0, 3), (1, 3)]
    made = [replace(molecule(), charge=charge, spin_multiplicity=spin) for charge, spin in states]
    found = energies(potential, made).tolist()
    assert len({round(energy, 6) for energy in found}) == len(states)


@pytest.mark.parametrize(("name", "hypers"), MODELS)
def test_a_batch_gives_each_what_it_gets_alone(name: str, hypers: dict[str, Any]) -> None:
    potential = opened(name, hypers)
    mixed = [ION, molecule(), replace(crystal(), charge=-2), replace(molecule(), charge=-1)]
    alone = torch.cat([energies(potential, [one]) for one in mixed])
    torch.testing.assert_close(energies(potential, mixed), alone, rtol=0.0, atol=1e-10)


def test_members_of_an_ensemble_depend_on_it() -> None:
    members = [core_of("pet", {**PET, **ON}) for _ in range(2)]
    ensemble = Ensemble(members, [1, 2], len(TYPES))
    assert (ensemble.max_charge, ensemble.max_spin_multiplicity) == (3, 4)
    assert Potential(ensemble, TYPES, (ENERGY,), "angstrom").known_states() == ([0], [1])


def test_hypers_without_it_are_stored_as_they_were() -> None:
    for name in ("pet", "soap_bpnn"):
        model: type[OptionsModel] = architecture_registry.get(name).ModelHypers
        off = model.model_validate({"max_charge": 3}).model_dump()
        assert not {*ON} & {*off} and "zbl" not in off
        on = model.model_validate({**ON, "zbl": True}).model_dump()
        assert {key: on[key] for key in ON} == ON and on["zbl"] is True


def scripted(potential: Potential) -> Any:
    outputs = {"energy": ModelOutput(unit="eV", sample_kind="atom")}
    capabilities = ModelCapabilities(
        outputs=outputs,
        atomic_types=TYPES,
        interaction_range=potential.interaction_range,
        length_unit="angstrom",
        supported_devices=["cpu"],
        dtype="float64",
    )
    return torch.jit.script(AtomisticModel(potential, ModelMetadata(), capabilities).eval())


def number(value: float, name: str) -> TensorMap:
    block = TensorBlock(
        torch.tensor([[value]], dtype=torch.float64),
        Labels(["system"], torch.tensor([[0]])),
        [],
        Labels([name], torch.tensor([[0]])),
    )
    return TensorMap(Labels(["_"], torch.tensor([[0]])), [block])


def system_of(potential: Potential, structure: Structure, **data: float) -> System:
    system = system_with_neighbors(structure, potential, torch.float64)
    for name, value in data.items():
        system.add_data(name, number(value, name))
    return system


def answer(model: Any, systems: list[System]) -> list[float]:
    outputs = {"energy": ModelOutput(unit="eV", sample_kind="system")}
    result = model(systems, outputs, None)["energy"].block().values
    numbers: list[float] = result[:, 0].tolist()
    return numbers


@pytest.mark.parametrize(("name", "hypers"), MODELS)
def test_an_exported_model_reads_it_from_systems(name: str, hypers: dict[str, Any]) -> None:
    potential = opened(name, hypers)
    for states in potential.states:
        assert isinstance(states, States)
        states.learn([(1, 2), (-1, 1)])
    whole = scripted(potential)
    inputs = whole.requested_inputs(True)
    assert {key: (value.unit, value.sample_kind) for key, value in inputs.items()} == {
        "charge": ("e", "system"),
        "spin_multiplicity": ("", "system"),
    }
    systems = [
        system_of(potential, molecule()),
        system_of(potential, molecule(), charge=1.0, spin_multiplicity=2.0),
        system_of(potential, molecule(), charge=-1.0),
    ]
    mixed = [molecule(), ION, replace(molecule(), charge=-1)]
    expected = energies(potential, mixed).tolist()
    assert answer(whole.module, systems) == pytest.approx(expected, abs=1e-9)
    for index, system in enumerate(systems):
        assert answer(whole.module, [system]) == pytest.approx([expected[index]], abs=1e-9)
    for data, words in (
        ({"charge": 2.0}, r"the charge 2\.0? of system 1 is none .* \[-1, 0, 1\]"),
        ({"charge": 9.0}, "the charge 9"),
        ({"charge": 0.5}, r"the charge 0\.5 of system 1"),
        ({"spin_multiplicity": 3.0}, r"the spin multiplicity 3\.0? of system 1 .* \[1, 2\]"),
        ({"spin_multiplicity": 0.0}, "the spin multiplicity 0"),
        ({"charge": float("nan")}, "the charge nan"),
    ):
        wrong = [systems[0], system_of(potential, molecule(), **data)]
        with pytest.raises(Exception, match=words):
            answer(whole.module, wrong)


def test_metatomic_refuses_a_call_without_it_where_it_checks() -> None:
    """What an engine that checks its calls says; without the check, systems are neutral singlets."""
    potential = opened("soap_bpnn", SOAP)
    whole = scripted(potential)
    from metatomic.torch import ModelEvaluationOptions

    asked = ModelEvaluationOptions(
        length_unit="angstrom", outputs={"energy": ModelOutput(unit="eV", sample_kind="system")}
    )
    system = system_of(potential, molecule())
    with pytest.raises(Exception, match="'charge'|as an extra input"):
        whole([system], asked, True)
    free = whole([system], asked, False)["energy"].block().values
    assert free.item() == pytest.approx(float(energies(potential, [molecule()])), abs=1e-9)


@pytest.mark.parametrize("kind", ["feedforward", "residual"])
def test_portions_of_atoms_are_in_the_state_of_their_structure(kind: str) -> None:
    potential = opened("pet", {**PET, "featurizer_type": kind})
    mixed = [ION, crystal(), replace(crystal(), charge=-2)]
    dataset = Dataset(mixed, TYPES, potential.cutoff, (ENERGY,))
    graph = collate(dataset, range(3), torch.float64).graph
    kept = torch.arange(graph.species.shape[0])
    with torch.no_grad():
        values, _, _ = potential.core.sums(graph, "energy", False, kept, 40)
        torch.testing.assert_close(values, potential.core(graph, ["energy"])["energy"])
