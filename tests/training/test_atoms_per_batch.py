"""Batches by the number of atoms: what is in them, how a run goes on, and what is said."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from kill_process import at_write
from killed_runs import assert_killed_it_has_the_same_bits
from problems import make_run, train_for
from small_runs import make_options

from mtt import architecture_registry
from mtt.checkpoint import read_header
from mtt.errors import UserError
from mtt.options import Options, OptionsError, load_options, load_recorded
from mtt.training.loop import epoch_groups
from mtt.training.memory import estimate
from mtt.training.optimizer import learning_rate
from mtt.training.prepare import prepare
from mtt.training.runs.option_changes import refused

# The data have water (3 atoms), copper (4) and methanol (6).
MOST = {"max_atoms_per_batch": 10}


def test_steps_of_all_epochs_are_the_same_batches_in_another_order(tmp_path: Path) -> None:
    problem = make_run(make_options(tmp_path, MOST)).problem
    n_atoms = problem.train.n_atoms
    assert set(n_atoms) == {3, 4, 6}
    epochs = [[group.tolist() for group in epoch_groups(problem, epoch)] for epoch in range(3)]
    for groups in epochs:
        assert len(groups) == problem.steps_per_epoch
        assert sorted(index for group in groups for index in group) == list(range(9))
        assert all(n_atoms[group].sum() <= 10 for group in groups)
        assert sorted(groups) == sorted(epochs[0])
    assert epochs[0] != epochs[1] and len({len(group) for group in epochs[0]}) > 1
    again = make_run(make_options(tmp_path, MOST)).problem
    assert [group.tolist() for group in epoch_groups(again, 2)] == epochs[2]
    other = dataclasses.replace(problem, seed=4)
    assert sorted(group.tolist() for group in epoch_groups(other, 0)) != sorted(epochs[0])
    assert problem.num_steps == 3 * problem.steps_per_epoch
    # The validation set is whole and in order, whatever the limit.
    tight = make_run(make_options(tmp_path, {"max_atoms_per_batch": 3})).problem
    assert np.concatenate(tight.in_order(tight.validation)).tolist() == [0, 1, 2]
    assert len(tight.in_order(tight.validation)) == 3


def test_the_schedule_counts_the_steps_there_are(tmp_path: Path) -> None:
    run = make_run(make_options(tmp_path, {**MOST, "warmup_fraction": 0.5}))
    train_for(run)
    steps = run.problem.num_steps
    assert run.state.position.step == steps
    rates = [learning_rate(step, steps, run.problem.hypers) for step in range(steps)]
    assert rates.index(max(rates)) == pytest.approx(0.5 * steps, abs=1)
    assert run.state.optimizer.param_groups[0]["lr"] == rates[-1] < 0.2 * max(rates)


def test_a_run_that_stops_at_any_step_has_the_same_bits(tmp_path: Path) -> None:
    options = make_options(tmp_path, {**MOST, "num_epochs": 2})
    whole = make_run(options)
    expected = train_for(whole)
    for stop in range(1, whole.problem.num_steps):
        first = make_run(options)
        tensors = train_for(first, stop)
        header, _ = first.state.to_checkpoint()
        second = make_run(options)
        second.state.from_checkpoint(_Header(header), {k: v.clone() for k, v in tensors.items()})
        resumed = train_for(second)
        assert resumed.keys() == expected.keys()
        assert all(bool((resumed[name] == expected[name]).all()) for name in expected)


class _Header:
    def __init__(self, entries: dict[str, Any]) -> None:
        self.__dict__.update(entries)


def test_killed_it_has_the_same_bits(tmp_path: Path) -> None:
    saving = {"checkpoint_interval": 10, "checkpoint_every": "3 steps", "keep_last": 2}
    training = {**MOST, "min_atoms_per_batch": 5, "num_epochs": 12, "log_interval": 12, **saving}
    make_options(tmp_path, {**training, "keep_every": None})
    options = yaml.safe_load((tmp_path / "options.yaml").read_text())
    assert_killed_it_has_the_same_bits(tmp_path, options, at_write(4, 0))


def said_of(options: Options) -> list[str]:
    said: list[str] = []
    run = prepare(options, None, Path("model.pt"), said.append)
    assert run.problem.num_steps == run.problem.hypers.num_epochs * run.problem.steps_per_epoch
    return said


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    lines = said_of(make_options(tmp_path, MOST))
    assert any(line.endswith("steps of at most 10 atoms per epoch") for line in lines)
    assert not any("left out" in line for line in lines)
    few = {"max_atoms_per_batch": 4, "min_atoms_per_batch": 4}
    lines = said_of(make_options(tmp_path, few))
    left_out = [line for line in lines if "left out" in line or "of its own" in line]
    assert left_out == [
        "left out: 2 of 9 training structures, with up to 6 atoms, more than max_atoms_per_batch: 4",
        "left out: 4 of 9 training structures, in batches with fewer atoms than "
        "min_atoms_per_batch: 4",
        "validation structures with more atoms than max_atoms_per_batch, each a batch of its own: 2",
    ]
    assert not any("left out" in line for line in said_of(make_options(tmp_path)))


def test_limits_that_leave_nothing_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        said_of(make_options(tmp_path, {"max_atoms_per_batch": 2}))
    assert caught.value.where == "architecture.training.max_atoms_per_batch"
    assert "no training structures are left: a batch has 0 to 2 atoms" in str(caught.value.what)
    with pytest.raises(UserError) as caught:
        make_options(tmp_path, {"max_atoms_per_batch": 5, "min_atoms_per_batch": 6})
    assert "no batch has so many atoms" in str(caught.value)


def test_memory_is_that_of_the_largest_batch(tmp_path: Path) -> None:
    def training(**hypers: int) -> float:
        run = make_run(make_options(tmp_path, hypers))
        return estimate(run.problem, run.state.model).training

    assert training(max_atoms_per_batch=6) < training(max_atoms_per_batch=1000)
    # Both have all structures in one batch.
    assert training(max_atoms_per_batch=1000) == pytest.approx(training(batch_size=50), rel=0.05)


def test_files_and_checkpoints_of_before_mean_and_store_the_same(tmp_path: Path) -> None:
    stored = make_options(tmp_path).to_dict()["architecture"]["training"]
    assert not any("atoms" in name for name in stored)
    with_limit = make_options(tmp_path, MOST).to_dict()["architecture"]["training"]
    assert with_limit == {**stored, **MOST, "min_atoms_per_batch": 0, "batch_size": 16}


def test_what_would_have_no_effect_is_refused(tmp_path: Path) -> None:
    for training, name, message in (
        ({**MOST, "batch_size": 4}, "batch_size", "has no effect with max_atoms_per_batch"),
        ({**MOST, "batch_size": 16}, "batch_size", "leave out one of the two"),
        (
            {"min_atoms_per_batch": 9},
            "min_atoms_per_batch",
            "no effect without max_atoms_per_batch",
        ),
        (
            {"min_atoms_per_batch": 9, "max_atoms_per_batch": None},
            "min_atoms_per_batch",
            "give max_atoms_per_batch as well",
        ),
    ):
        with pytest.raises(OptionsError) as caught:
            make_options(tmp_path, training)
        (problem,) = caught.value.problems
        assert problem.name == f"architecture.training.{name}" and problem.place is not None
        assert message in str(caught.value)
    assert make_options(tmp_path, {"max_atoms_per_batch": None, "batch_size": 4}).notes == ()
    assert make_options(tmp_path, {"min_atoms_per_batch": 0}).notes == ()
    assert make_options(tmp_path, MOST).notes == ()
    # An override of the command line, over a file that gives the other.
    make_options(tmp_path, {"batch_size": 4})
    with pytest.raises(OptionsError, match="leave out one of the two"):
        load_options(tmp_path / "options.yaml", ["architecture.training.max_atoms_per_batch=9"])


def test_what_was_stored_with_both_is_read_as_before(tmp_path: Path) -> None:
    plain = make_options(tmp_path, MOST).to_dict()
    plain["architecture"]["training"]["batch_size"] = 4
    assert Options.from_dict(plain).to_dict() == plain
    assert load_recorded(plain).to_dict() == plain
    # The options.yaml beside a model, with which a run is resumed, has all defaults.
    path = tmp_path / "recorded.yaml"
    plain["architecture"]["version"] = architecture_registry.get("pet").version
    path.write_text(yaml.safe_dump(plain))
    recorded = load_options(path)
    assert recorded.to_dict() == plain
    (note,) = recorded.notes
    assert note.startswith("architecture.training.batch_size: has no effect with max_atoms")


def test_options_of_metatrain_with_both_are_taken_with_a_note(tmp_path: Path) -> None:
    bounds = make_options(tmp_path, {"batch_atom_bounds": [1, 9], "batch_size": 4})
    assert bounds.architecture.training.max_atoms_per_batch == 9
    assert [note.partition(":")[0] for note in bounds.notes] == ["architecture.training.batch_size"]
    fewest = make_options(tmp_path, {"batch_atom_bounds": [5, None]})
    assert len(fewest.notes) == 1 and "no effect without max_atoms_per_batch" in fewest.notes[0]
    # Their names are ours: what the file has elsewhere tells whose it is.
    theirs = {"log_mae": True, "batch_size": 4}
    assert len(make_options(tmp_path, {**theirs, **MOST}).notes) == 1


def test_a_run_with_both_is_resumed_without_the_one_of_no_effect(tmp_path: Path) -> None:
    options = make_options(tmp_path, MOST)
    run = prepare(options, None, Path("model.pt"), lambda _: None)
    run.save(tmp_path / "model.ckpt")
    header = read_header(tmp_path / "model.ckpt")
    assert refused(header, options) == []
    header.options["architecture"]["training"]["batch_size"] = 4
    assert refused(header, options) == []
    by_number = make_options(tmp_path, {"batch_size": 4})
    assert any(change[0].endswith("max_atoms_per_batch") for change in refused(header, by_number))


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ([5, 20], {"min_atoms_per_batch": 5, "max_atoms_per_batch": 20}),
        ([None, 20], {"max_atoms_per_batch": 20}),
        ([5, None], {}),
        ([None, None], {}),
        (None, {}),
    ],
)
def test_bounds_of_older_versions_of_metatrain(
    tmp_path: Path, bounds: Any, expected: dict[str, Any]
) -> None:
    expected = {"batch_size": 2, **expected}
    if len(expected) > 1:
        expected["per_structure_targets"] = []
    theirs = make_options(tmp_path, {"batch_size": 2, "batch_atom_bounds": bounds})
    assert theirs.to_dict() == make_options(tmp_path, expected).to_dict()
    both = make_options(tmp_path, {"batch_atom_bounds": bounds, "max_atoms_per_batch": 7})
    assert both.to_dict() == make_options(tmp_path, {"max_atoms_per_batch": 7}).to_dict()


def test_bounds_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "options.yaml"
    make_options(tmp_path)
    content = yaml.safe_load(path.read_text())
    for bounds in (5, [5], "5", [1, "a"]):
        content["architecture"]["training"]["batch_atom_bounds"] = bounds
        path.write_text(yaml.safe_dump(content))
        with pytest.raises(UserError):
            load_options(path)
