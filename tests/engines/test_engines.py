"""An exported file, untouched, gives the same numbers in every engine and in ``mtt eval``."""

from collections.abc import Callable
from pathlib import Path

import ase
import ase.io
import engines
import pytest
import torch
from toy_models import MODELS, Example, examples, reference

from mtt.evaluation import run as evaluate

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
TOLERANCE = 1e-10
SYSTEMS = examples()


def atoms_of(example: Example) -> ase.Atoms:
    return ase.Atoms(example.types, example.positions, cell=example.cell, pbc=example.pbc)


def truth(model: str, example: Example, checkpoint: Path) -> engines.Answer:
    """Energy, forces and virial of the eager model that never went through metatomic."""
    if model == "pet":
        return engines.run_checkpoint(checkpoint, [atoms_of(example)])[0]
    values = reference(MODELS[model](dtype=torch.float64), example)
    forces, virial = values["forces"].numpy(), values["virial"].numpy()
    return engines.Answer(values["energy"].item(), forces, virial)


def assert_same(found: engines.Answer, expected: engines.Answer, name: str) -> None:
    """Equal to 1e-10 of the energy, of the largest force and of the largest virial component."""
    assert engines.farthest(found, expected) <= TOLERANCE, name


@pytest.mark.parametrize("model", [*MODELS, "pet"])
@pytest.mark.parametrize("engine", ["ase", "ipi", "torch_sim"])
def test_engine_gives_the_energy_forces_and_virial_of_the_model(
    engine: str, model: str, exported: Callable[[str], Path], pet_checkpoint: Path
) -> None:
    chosen = [s for s in SYSTEMS if engine != "torch_sim" or s.pbc.all()]
    run = getattr(engines, f"run_{engine}")
    answers = run(exported(model), [atoms_of(s) for s in chosen])
    assert len(answers) == len(chosen) >= 3
    for system, answer in zip(chosen, answers, strict=True):
        assert_same(
            answer, truth(model, system, pet_checkpoint), f"{engine}, {model}, {system.name}"
        )


@pytest.mark.parametrize("model", [*MODELS, "pet"])
def test_mtt_eval_writes_what_the_engines_compute(
    model: str, exported: Callable[[str], Path], tmp_path: Path
) -> None:
    systems = [atoms_of(s) for s in SYSTEMS]
    for atoms in systems:
        atoms.info["energy"] = -1.0
    data, options, output = (tmp_path / n for n in ("data.xyz", "eval.yaml", "out.xyz"))
    ase.io.write(data, systems, columns=["symbols", "positions"])
    options.write_text(
        f"systems:\n  read_from: {data}\n  length_unit: angstrom\n"
        "targets:\n  energy:\n    key: energy\n    unit: eV\n"
    )
    evaluate.run(exported(model), options, output=output)
    # Data files keep eight decimals of a position: the engines get what is in the file.
    written = ase.io.read(data, ":")
    predicted = ase.io.read(output, ":")
    assert len(predicted) == len(written)
    for system, atoms, ours in zip(SYSTEMS, written, predicted, strict=True):
        answer = engines.run_ase(exported(model), [atoms])[0]
        virial = None
        if atoms.pbc.all():
            virial = -atoms.get_volume() * ours.get_stress(voigt=False)
        found = engines.Answer(ours.get_potential_energy(), ours.get_forces(), virial)
        assert_same(found, answer, system.name)
