"""What is found, told and estimated before the first step; and a dry run, which leaves nothing."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from small_runs import leave_undrawn, make_options, verify_one_family

from mtt.__main__ import main
from mtt.data.target import Target
from mtt.errors import UserError
from mtt.training import run as stage
from mtt.training.baseline import fit_baseline
from mtt.training.memory import Estimate, estimate, free_memory, kept_by_a_step
from mtt.training.prepare import prepare
from mtt.training.run_data import read_run_data


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(options: object) -> UserError:
    with pytest.raises(UserError) as caught:
        stage.run(options)  # type: ignore[arg-type]
    assert not Path("outputs").exists()
    return caught.value


@pytest.mark.parametrize("name", ["validation_set", "test_set"])
def test_elements_that_training_lacks_are_refused_at_once(folder: Path, name: str) -> None:
    fluorine = Atoms("HF", [[0, 0, 0], [0, 0, 0.9]])
    fluorine.info["energy"] = -3.0
    ase.io.write(folder / "other.xyz", [fluorine], format="extxyz")
    data = {"systems": "other.xyz", "targets": {"energy": {"forces": False}}}
    options = make_options(folder, **{name: data})
    error = refusal(options)
    assert f"{name} has atomic types that the model is not trained on: 9 (F)" in error.what
    assert "other.xyz#0 is the first of them" in str(error.where)
    assert "29 (Cu)" in str(error.hint)


def test_a_test_set_without_neighbor_lists_is_refused_at_once(folder: Path) -> None:
    twice = Atoms("H2", [[0, 0, 0], [0, 0, 0]])
    twice.info["energy"] = -3.0
    ase.io.write(folder / "other.xyz", [twice], format="extxyz")
    data = {"systems": "other.xyz", "targets": {"energy": {"forces": False}}}
    assert "coincide" in refusal(make_options(folder, test_set=data)).what


def test_a_loss_that_nothing_enters_is_refused(folder: Path) -> None:
    weights = {"energy": 0.0, "forces": 0.0, "stress": 0.0}
    assert (
        "all weights of the loss are zero" in refusal(make_options(folder, {"loss": weights})).what
    )


def test_structures_that_all_have_no_weight_are_refused(folder: Path) -> None:
    weights = {"config_type": {"Default": 0.0}}
    make_options(folder)
    options = make_options(
        folder, training_set={"systems": str(folder / "data.xyz"), "weights": weights}
    )
    error = refusal(options)
    assert error.what.startswith("all structures to train on have the weight zero")
    assert error.where == "training_set.weights"


def test_doubts_are_told_once_and_refuse_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_options(folder)
    frames = ase.io.read(folder / "data.xyz", ":")
    for atoms in frames:
        atoms.calc.results["forces"] *= 0.0
    ase.io.write(folder / "data.xyz", [*frames, frames[0]], format="extxyz")
    stage.run(make_options(folder), dry_run=True)
    shown = capsys.readouterr().out
    assert shown.count("check the data: all forces of 'energy' are zero") == 1
    assert "copy of another" in shown or "training set too" in shown


def test_a_dry_run_leaves_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_options(folder)
    before = sorted(path.name for path in folder.iterdir())
    stage.run(make_options(folder), dry_run=True)
    shown = capsys.readouterr().out
    assert "dry run: 3 steps of 2 structures" in shown and "nothing was written" in shown
    assert "memory, estimated: " in shown and " are free" in shown
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_dry_run_finds_what_a_run_would(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_options(folder)
    assert main(["train", "options.yaml", "--dry-run", "-r", "device=cuda"]) == 2
    make_options(folder, training={"learning_rate": 1e-2})
    assert main(["train", "options.yaml", "--dry-run"]) == 0
    assert not Path("outputs").exists() and not Path("model.ckpt").exists()


def test_a_dry_run_of_a_finished_run_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    verify_one_family(monkeypatch)
    leave_undrawn(monkeypatch)
    options = make_options(folder, training={"num_epochs": 1})
    stage.run(options)
    Path("model.ckpt").unlink()
    capsys.readouterr()
    stage.run(options, "auto", dry_run=True)
    assert "training is finished: all 1 epochs are done" in capsys.readouterr().out
    assert not Path("model.ckpt").exists()


@pytest.mark.parametrize("name", ["model.pt", "model.ckpt"])
@pytest.mark.parametrize("place", ["training_set", "validation_set", "test_set"])
def test_results_do_not_replace_the_data(folder: Path, name: str, place: str) -> None:
    make_options(folder)
    Path(name).write_bytes(Path("data.xyz").read_bytes())
    data = {"systems": {"read_from": name, "format": "extxyz"}}
    options = make_options(folder, **{place: data})
    assert refusal(options).what == f"the output would replace {name}, which is read"
    assert Path(name).read_bytes() == Path("data.xyz").read_bytes()


def test_results_do_not_replace_the_options(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_options(folder)
    Path("options.yaml").rename("model.ckpt")
    text = Path("model.ckpt").read_text()
    assert main(["train", "model.ckpt"]) == 2
    assert "the output would replace model.ckpt, which is read" in capsys.readouterr().err
    assert Path("model.ckpt").read_text() == text


def test_more_pairs_are_estimated_to_take_more(folder: Path) -> None:
    problem, model = _prepared(folder)
    kept = kept_by_a_step(problem, model)
    # At least the vectors of the pairs, and not the square of anything.
    pairs = max(len(problem.train[index].centers) for index in range(len(problem.train)))
    assert 100 * pairs < kept < 1e5 * pairs
    again = kept_by_a_step(problem, model)
    assert again == pytest.approx(kept, rel=0.1)
    small = estimate(problem, model)
    problem.hypers = problem.hypers.model_copy(update={"batch_size": 8})
    assert estimate(problem, model).training > small.training


def test_the_estimate_leaves_training_as_it_is(folder: Path) -> None:
    problem, model = _prepared(folder)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    generator = torch.get_rng_state()
    estimate(problem, model)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), generator)


def _prepared(folder: Path):
    run = prepare(make_options(folder), None, folder / "model.pt", lambda _: None)
    return run.problem, run.state.model


def test_what_does_not_fit_is_a_warning_with_advice() -> None:
    line = Estimate(training=8e9, export=1e9, verification=2e9).line(4e9)
    assert line.startswith("warning: memory, estimated: 8 GB for training")
    assert "only 4 GB are free: use a smaller batch_size" in line
    line = Estimate(training=1e9, export=1e9, verification=2e10).line(4e9)
    assert "`mtt export --verify` where there is more" in line
    assert Estimate(1e8, 1e8, 1e8).line(None).endswith("100 MB for its full verification")


def test_free_memory_is_what_the_system_says() -> None:
    free = free_memory(torch.device("cpu"))
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert free is not None and 0 < free <= 1.05 * total


def test_one_wrong_energy_leaves_baseline_and_scale_alone(folder: Path) -> None:
    from mtt.data.structure import Reference, Structure

    random = np.random.default_rng(2)

    def structure(n_hydrogen: int, n_oxygen: int, energy: float) -> Structure:
        types = np.array([1] * n_hydrogen + [8] * n_oxygen, dtype=np.int32)
        reference = Reference(np.array([energy]))
        return Structure(
            types,
            random.normal(size=(len(types), 3)),
            np.zeros((3, 3)),
            np.zeros(3, bool),
            {"energy": reference},
        )

    sizes = [(2, 1), (4, 2), (2, 2), (6, 3), (1, 1), (3, 2)] * 5
    sound = [
        structure(h, o, -13.0 * h - 400.0 * o + 0.05 * (h + o) * random.normal()) for h, o in sizes
    ]
    wrong = structure(2, 1, 1e5)
    expected = fit_baseline(sound, Target("energy"), [1, 8])
    fitted = fit_baseline([*sound, wrong], Target("energy"), [1, 8])
    assert fitted.scale == expected.scale == pytest.approx(0.05, rel=0.4)
    assert (fitted.composition == expected.composition).all()
    # A tail that is merely wide takes part as ever.
    tail = structure(2, 1, -426.0 + 3.0)
    assert fit_baseline([*sound, tail], Target("energy"), [1, 8]).scale > 2 * expected.scale


def test_baseline_from_single_atoms(folder: Path) -> None:
    make_options(folder)
    frames = ase.io.read(folder / "data.xyz", ":")
    numbers = sorted({int(number) for atoms in frames for number in atoms.numbers})
    for number in numbers[:-1]:
        frames.append(_single(number, -10.0 * number))
    ase.io.write(folder / "data.xyz", frames, format="extxyz")
    isolated = {"atomic_baseline": "isolated"}
    where = refusal(make_options(folder, isolated))
    assert f"no frame of a single atom of type {numbers[-1]} (Cu)" in where.what
    frames.append(_single(numbers[-1], -10.0 * numbers[-1]))
    ase.io.write(folder / "data.xyz", frames, format="extxyz")
    options = make_options(folder, isolated)
    assert options.architecture.training.atomic_baseline == {"energy": "isolated"}
    run = prepare(options, None, folder / "model.pt", lambda _: None)
    composition = run.state.model.baseline("energy").composition[:, 0]
    assert composition.tolist() == [-10.0 * number for number in read_run_data(options).train.types]
    frames.append(_single(numbers[0], 5.0))
    ase.io.write(folder / "data.xyz", frames, format="extxyz")
    assert "have different values of 'energy'" in refusal(make_options(folder, isolated)).what


def _single(number: int, energy: float) -> Atoms:
    atoms = Atoms([number], [[0.0, 0.0, 0.0]])
    atoms.info["energy"] = energy
    return atoms
