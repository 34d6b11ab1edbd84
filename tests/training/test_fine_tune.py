"""Fine-tuning: what it begins with, what must agree, and that going on with it needs no base."""

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
import yaml
from ase.units import Bohr, Hartree
from small_runs import make_options, write_data

from mtt import checkpoint
from mtt.__main__ import main
from mtt.checkpoint import Origin, UpgradedFrom
from mtt.data.read_files import read_datasets
from mtt.errors import UserError
from mtt.evaluation.predict import open_model
from mtt.options import load_options
from mtt.options.reading.problems import OptionsError
from mtt.options.schema.training import FineTuneOptions
from mtt.training import run as stage
from mtt.training.prepare import prepare

EPOCHS = 20
BASE, TUNED = Path("base.ckpt"), Path("tuned.pt")
# Another level of theory: other energies per atom.
SHIFTS = {"H": -13.5, "C": -1030.25, "O": -2041.75, "Cu": 3.0}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A base that has learned a little: its data and its checkpoint."""
    folder = tmp_path_factory.mktemp("base")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        quick(patch)
        write_data(Path("data.xyz"), n=24)
        training = {"num_epochs": EPOCHS, "checkpoint_interval": 100}
        stage.run(make_options(folder, training, seed=1), None, Path("base.pt"))
    return folder


def quick(patch):
    """What a run makes at its end has tests of its own."""
    patch.setattr(stage, "_pictures", lambda *_: None)
    patch.setattr(stage, "_export", lambda ckpt, output, *_: output.write_bytes(b""))


@pytest.fixture(autouse=True)
def folder(trained, tmp_path, monkeypatch):
    """A folder with ``base.ckpt``, and with data of the same kind whose energies are shifted."""
    monkeypatch.chdir(tmp_path)
    quick(monkeypatch)
    shutil.copy(trained / "base.ckpt", BASE)
    write_data(Path("data.xyz"), seed=5)
    Path("data.xyz").write_text(shifted(Path("data.xyz").read_text()))
    return tmp_path


def shifted(text):
    """An extxyz text with ``SHIFTS`` added to the energies."""
    done, lines = [], text.splitlines()
    while lines:
        n = int(lines[0])
        shift = sum(SHIFTS[line.split()[0]] for line in lines[2 : 2 + n])
        found = re.search(r"energy=(\S+)", lines[1])
        assert found is not None
        energy = f"energy={float(found.group(1)) + shift!r}"
        done += [lines[0], lines[1].replace(found.group(0), energy), *lines[2 : 2 + n]]
        lines = lines[2 + n :]
    return "\n".join(done) + "\n"


def options_of(folder, fine_tune=True, training=None, **changes):
    small = {"num_epochs": 2, "batch_size": 3, "fine_tune": fine_tune}
    return make_options(folder, small | (training or {}), **changes)


def begin(options, source=BASE, output=TUNED):
    """The run at its beginning, and what was said."""
    said = []
    return prepare(options, source, output, said.append), said


def refusal(options, source=BASE, output=TUNED):
    before = sorted(Path().rglob("*"))
    with pytest.raises(UserError) as caught:
        stage.run(options, source, output)
    assert sorted(Path().rglob("*")) == before
    return str(caught.value)


def run_folders():
    return sorted(Path("outputs").glob("*/*/"))


# ---- the beginning ----


@pytest.mark.parametrize(("weights", "prefix"), [("best", "best/"), ("last", "model/")])
def test_a_run_begins_with_the_weights_of_the_base_and_with_nothing_else(folder, weights, prefix):
    header, tensors = checkpoint.read(BASE)
    assert header.best.epoch not in (0, EPOCHS)  # so that best and last are two things
    work, said = begin(options_of(folder, {"weights": weights}))
    for name, one in work.state.model.core.state_dict().items():
        assert torch.equal(one, tensors[f"{prefix}core.{name}"]), name
    assert vars(work.state.position) == {"epoch": 0, "step": 0, "batch": 0}
    assert (work.state.history, work.state.best, work.state.best_epoch.epoch) == ([], {}, 0)
    assert work.state.optimizer.state == {}
    assert work.problem.num_steps == 6
    scratch = prepare(options_of(folder, False), None, TUNED, lambda text: None)
    assert work.data.split == scratch.data.split != header.split
    assert work.header.data_hash == scratch.header.data_hash != header.data_hash
    epoch = header.best.epoch if weights == "best" else EPOCHS
    assert said[0].startswith(
        f"fine-tuning from base.ckpt: {weights} weights (epoch {epoch}), baseline fitted again "
        "(largest change "
    )
    assert work.header.origin == Origin(
        content_hash=header.content_hash,
        name="pet",
        version=header.architecture.version,
        weights=weights,
        epoch=epoch,
        baseline="refit",
        kind="fine-tuning",
    )


def test_the_baseline_is_fitted_to_what_the_base_leaves(folder):
    _, tensors = checkpoint.read(BASE)
    options = options_of(folder)
    work, said = begin(options)
    # The same by another path: energies as mtt eval gives them, numpy's least squares.
    structures = [read_datasets(options.training_set)[i] for i in work.data.split["train"]]
    predicted = [one["energy"].values for one in open_model(BASE, "cpu").predict(structures)]
    left = [float(one.references["energy"].values[0]) for one in structures] - np.array(predicted)[
        :, 0
    ]
    counts = np.array([[(one.types == t).sum() for t in (1, 6, 8, 29)] for one in structures])
    correction, *_ = np.linalg.lstsq(counts.astype(float), left, rcond=None)
    baseline = work.state.model.baseline("energy")
    before, after = tensors["best/baselines.0.composition"], baseline.composition
    assert (after - before).numpy()[:, 0] == pytest.approx(
        correction, rel=0, abs=1e-9 * np.abs(correction).max()
    )
    assert np.abs(left - counts @ correction).max() < 0.01 * np.abs(left).max()
    largest = int(np.abs(correction).argmax())
    assert said[0].endswith(
        f"(largest change {correction[largest]:+.6g} eV per atom of type "
        f"{['1 (H)', '6 (C)', '8 (O)', '29 (Cu)'][largest]})"
    )
    assert baseline.scale == tensors["model/baselines.0.scale"]
    items = [work.problem.train[index] for index in range(9)]
    assert max(abs(item.references["energy"].values[0]) for item in items) < 10.0


def test_a_baseline_that_is_kept(folder):
    _, tensors = checkpoint.read(BASE)
    work, said = begin(options_of(folder, {"baseline": "keep"}))
    for name in ("composition", "scale"):
        kept = work.state.model.baseline("energy").get_buffer(name)
        assert torch.equal(kept, tensors[f"best/baselines.0.{name}"])
    assert said[0].startswith("fine-tuning from base.ckpt: best weights (epoch ")
    assert said[0].endswith("), baseline kept")
    assert work.header.origin.baseline == "keep"


def test_types_that_do_not_occur_any_more_stay_in_the_model(folder):
    systems = {"read_from": str(folder / "data.xyz"), "indices": "::3"}  # water
    _, tensors = checkpoint.read(BASE)
    work, _ = begin(options_of(folder, training_set={"systems": systems}))
    assert work.header.atomic_types == [1, 6, 8, 29]
    change = work.state.model.baseline("energy").composition[:, 0]
    change -= tensors["best/baselines.0.composition"][:, 0]
    assert change[1] == change[3] == 0.0 and change[0] != 0.0 and change[2] != 0.0
    # One molecule only: the shortest correction.
    assert float(change[0]) == pytest.approx(2 * float(change[2]))


@pytest.mark.parametrize("baseline", ["refit", "keep"])
def test_the_precision_may_change(folder, baseline):
    work, said = begin(options_of(folder, {"baseline": baseline}, base_precision=64))
    _, tensors = checkpoint.read(BASE)
    for name, one in work.state.model.core.state_dict().items():
        assert one.dtype == (torch.float64 if one.is_floating_point() else one.dtype)
        assert torch.equal(one.float(), tensors[f"best/core.{name}"].float())
    assert ", converted from 32 to 64 bits, baseline " in said[0]
    assert work.header.precision == 64


def test_fine_tuning_is_worth_it(folder):
    """One epoch each on data of another level of theory."""
    training = {"num_epochs": 1, "learning_rate": 1e-4}
    stage.run(options_of(folder, True, training), BASE, TUNED)
    stage.run(options_of(folder, False, training), None, Path("scratch.pt"))
    rows = [checkpoint.read_header(Path(f"{name}.ckpt")).history for name in ("tuned", "scratch")]
    (tuned,), (scratch,) = rows
    for name in ("energy_rmse_per_atom", "forces_rmse"):
        print(name, tuned[f"validation_{name}"], scratch[f"validation_{name}"])
    for name, less in (("energy_rmse_per_atom", 0.5), ("forces_rmse", 0.8)):
        assert tuned[f"validation_{name}"] < less * scratch[f"validation_{name}"], name
    stage.run(options_of(folder, {"baseline": "keep"}, training), BASE, Path("kept.pt"))
    (kept,) = checkpoint.read_header(Path("kept.ckpt")).history
    assert kept["validation_energy_rmse_per_atom"] > 100.0


# ---- going on ----


def test_going_on_from_any_step_gives_the_same_bits_without_the_base(folder, capsys):
    options = options_of(folder, "base.ckpt", {"checkpoint_every": "1 steps", "keep_last": 100})
    stage.run(options, None, TUNED)
    whole = checkpoint.read(Path("tuned.ckpt"))
    (run,) = run_folders()
    resolved = load_options(run / "options.yaml")
    BASE.unlink()
    found = sorted(run.glob("*.ckpt"))
    positions = [checkpoint.read_header(path).position for path in found]
    assert {(one.epoch, one.batch) for one in positions} == {
        *((epoch, batch) for epoch in (0, 1) for batch in (0, 1, 2, 3)),
        (2, 0),
    }
    for path in found:
        capsys.readouterr()
        stage.run(resolved, path, Path("again.pt"))
        assert f"resuming from {path}" in capsys.readouterr().out
        header, tensors = checkpoint.read(Path("again.ckpt"))
        assert header == whole[0] and tensors.keys() == whole[1].keys()
        assert all(torch.equal(one, tensors[name]) for name, one in whole[1].items())
        Path("again.ckpt").unlink()
    capsys.readouterr()
    stage.run(options, "auto", TUNED)
    assert "training is finished: all 2 epochs are done" in capsys.readouterr().out


def test_checkpoints_name_the_base_by_its_content_and_no_path(folder):
    stage.run(options_of(folder, {"read_from": str(folder / "base.ckpt")}), None, TUNED)
    header = checkpoint.read_header(Path("tuned.ckpt"))
    assert header.origin.content_hash == checkpoint.read_header(BASE).content_hash
    assert str(folder) not in str(header.origin)


def test_continue_begins_with_a_base_and_goes_on_with_a_run(folder, capsys):
    options = options_of(folder)
    stage.run(options, BASE, TUNED)
    (run,) = run_folders()
    assert "fine-tuning from base.ckpt: best weights" in capsys.readouterr().out
    first = run / "model_1.ckpt"
    stage.run(options, first, Path("again.pt"))
    assert f"resuming from {first}: epoch 1, step 3" in capsys.readouterr().out
    assert Path("again.ckpt").read_bytes() == Path("tuned.ckpt").read_bytes()
    # With the base named in the options too, as a path or as another path to the same file.
    shutil.copy(BASE, "moved.ckpt")
    for name in ("base.ckpt", "moved.ckpt"):
        stage.run(options_of(folder, name), first, Path("again.pt"))
        assert f"resuming from {first}" in capsys.readouterr().out
    other = options_of(folder, training={"learning_rate": 0.5})
    assert refusal(other, first) == (
        "the options differ from those that the checkpoint was trained with:\n"
        "    architecture.training.learning_rate: 0.01 in the checkpoint, now 0.5\n"
        f"  where: {first}\n"
        "  hint: undo these changes to resume (num_epochs may be made larger), train anew without "
        "--continue, or fine-tune the checkpoint on purpose by naming it in "
        "architecture.training.fine_tune.read_from"
    )
    found = refusal(options_of(folder, None), first)
    assert "    architecture.training.fine_tune: {'read_from': None, 'weights': 'best', " in found
    assert "in the checkpoint, now None\n" in found


def test_a_fine_tuned_model_can_be_a_base(folder, capsys):
    stage.run(options_of(folder), BASE, TUNED)
    write_data(folder / "data.xyz", seed=9)
    assert "the data of training_set have changed" in refusal(options_of(folder), "tuned.ckpt")
    options = options_of(folder, "tuned.ckpt")
    capsys.readouterr()
    for source, name in ((None, "twice"), (Path("tuned.ckpt"), "twice-more")):
        stage.run(options, source, Path(f"{name}.pt"))
        assert "fine-tuning from tuned.ckpt: best weights" in capsys.readouterr().out
    assert Path("twice.ckpt").read_bytes() == Path("twice-more.ckpt").read_bytes()
    origin = checkpoint.read_header(Path("twice.ckpt")).origin
    assert origin.content_hash == checkpoint.read_header(Path("tuned.ckpt")).content_hash


def test_auto_never_takes_a_base(folder, capsys):
    base_run = Path("outputs/2030-01-01/00-00-00")
    base_run.mkdir(parents=True)
    shutil.copy(BASE, base_run / "model_30.ckpt")
    for fine_tune in (True, "base.ckpt"):
        assert refusal(options_of(folder, fine_tune), "auto").startswith(
            "there is no checkpoint of this run to resume from; found: 1 of runs with other options"
        )
    header, tensors = checkpoint.read(BASE)
    name = "model/baselines.0.composition"
    changed = {name: tensors[name] + 1.0}
    checkpoint.write(Path("other.ckpt"), header, tensors | changed)
    for name in ("base.ckpt", "other.ckpt"):
        stage.run(options_of(folder, name), None, TUNED)
    first, second = run_folders()[:2]
    for name, run in (("base.ckpt", first), ("other.ckpt", second)):
        stage.run(options_of(folder, name, {"num_epochs": 3}), "auto", TUNED)
        assert f"resuming from {run}/model_2.ckpt" in capsys.readouterr().out
    # Nor the run of another base that has the same name now.
    shutil.move("other.ckpt", "base.ckpt")
    content = [checkpoint.read_header(run / "model_2.ckpt").origin for run in (first, second)]
    old, new = (one.content_hash[:12] for one in content)
    assert refusal(options_of(folder, "base.ckpt"), first / "model_1.ckpt") == (
        "the options differ from those that the checkpoint was trained with:\n"
        f"    architecture.training.fine_tune.read_from: 'base.ckpt' with the content hash {old} in "
        f"the checkpoint, now 'base.ckpt' with {new}\n"
        f"  where: {first}/model_1.ckpt\n"
        "  hint: undo these changes to resume (num_epochs may be made larger), train anew without "
        "--continue, or fine-tune the checkpoint on purpose by naming it in "
        "architecture.training.fine_tune.read_from"
    )


def test_a_base_that_was_upgraded_is_still_the_base(folder):
    stage.run(options_of(folder, "base.ckpt"), None, TUNED)
    header, tensors = checkpoint.read(BASE)
    before = UpgradedFrom(header.content_hash, {"format": 1})
    checkpoint.write(BASE, replace(header, upgraded_from=before), tensors)
    (run,) = run_folders()
    stage.run(options_of(folder, "base.ckpt"), run / "model_1.ckpt", Path("again.pt"))
    assert Path("again.ckpt").read_bytes() == Path("tuned.ckpt").read_bytes()


# ---- refusals ----


def test_without_words_for_it_other_data_are_refused(folder):
    stored = checkpoint.read_header(BASE).options["architecture"]["training"]
    same = {"num_epochs": EPOCHS, "batch_size": 2, "checkpoint_interval": 100}
    assert stored["fine_tune"] is None
    assert refusal(options_of(folder, None, same, seed=1)) == (
        "the data of training_set have changed since the checkpoint was written: all 24 "
        f"structures are gone; 12 are new, first {folder}/data.xyz#0\n"
        f"  where: {folder}/data.xyz\n"
        "  hint: bring the data back to resume, train anew without --continue, or fine-tune the "
        "checkpoint on purpose by naming it in architecture.training.fine_tune.read_from"
    )


def test_a_base_is_needed(folder):
    assert refusal(options_of(folder), None) == (
        "there is no base to fine-tune\n"
        "  where: architecture.training.fine_tune\n"
        "  hint: name its checkpoint, as in 'mtt train options.yaml --continue base.ckpt', or in "
        "the options, as in fine_tune: {read_from: base.ckpt}"
    )
    assert refusal(options_of(folder, "bas.ckpt"), None) == (
        "base not found: bas.ckpt; did you mean 'base.ckpt'?\n"
        "  where: architecture.training.fine_tune.read_from"
    )
    shutil.copy(BASE, "other.ckpt")
    assert refusal(options_of(folder, "base.ckpt"), Path("other.ckpt")) == (
        "this is no checkpoint of this run, whose base is base.ckpt\n"
        "  where: other.ckpt\n"
        "  hint: leave --continue out to begin with that base; to begin with this one, name it in "
        "architecture.training.fine_tune.read_from"
    )
    BASE.write_bytes(BASE.read_bytes()[:-9])
    assert refusal(options_of(folder, "base.ckpt"), None).startswith("the checkpoint is truncated")


def test_everything_that_does_not_agree_is_named(folder):
    options = options_of(
        folder,
        training_set={
            "systems": {"read_from": str(folder / "data.xyz"), "length_unit": "bohr"},
            "targets": {"energy/pbe": {"key": "energy", "unit": "Hartree"}},
        },
    )
    model = options.architecture.model.model_copy(update={"d_pet": 8, "cutoff": 3.5})
    architecture = options.architecture.model_copy(update={"model": model})
    assert refusal(options.model_copy(update={"architecture": architecture})) == (
        "the model of the base is not the one that the options describe:\n"
        "    architecture.model.cutoff: 3.0 in the base, now 3.5\n"
        "    architecture.model.d_pet: 4 in the base, now 8\n"
        "    target: 'energy' in the base, now 'energy/pbe'\n"
        "    unit: 'eV' in the base, now 'Hartree'\n"
        "  where: base.ckpt\n"
        "  hint: a fine-tuned model has hypers and targets of its base: leave hypers out of the "
        "options, and describe targets as those of the base"
    )


def test_the_case_of_a_unit_is_of_no_importance(folder):
    data = {"systems": str(folder / "data.xyz"), "targets": {"energy": {"unit": "ev"}}}
    begin(options_of(folder, training_set=data))


def test_data_in_other_units_become_those_of_the_base(folder):
    expected = begin(options_of(folder))[0].data
    frames = ase.io.read("data.xyz", ":")
    for atoms in frames:
        results = atoms.calc.results
        results["energy"] /= Hartree
        results["forces"] = results["forces"] / (Hartree / Bohr)
        if "stress" in results:
            results["stress"] = results["stress"] / (Hartree / Bohr**3)
        atoms.set_cell(atoms.cell.array / Bohr)
        atoms.positions /= Bohr
    ase.io.write("data.xyz", frames, format="extxyz")
    options = options_of(
        folder,
        training_set={
            "systems": {"read_from": str(folder / "data.xyz"), "length_unit": "bohr"},
            "targets": {"energy": {"unit": "hartree"}},
        },
    )
    run, _ = begin(options)
    assert (run.header.length_unit, run.header.targets[0].unit) == ("angstrom", "eV")
    run.save(Path("step.ckpt"))
    again, _ = begin(options, Path("step.ckpt"))
    assert again.header.data_hash == run.header.data_hash
    for one in (run, again):
        for structure, other in zip(one.data.train, expected.train, strict=True):
            np.testing.assert_allclose(structure.positions, other.positions, atol=1e-6)
            ours, theirs = (each.references["energy"] for each in (structure, other))
            np.testing.assert_allclose(ours.values, theirs.values, atol=1e-5)
            np.testing.assert_allclose(ours.forces, theirs.forces, atol=1e-5)
    # Nobody said that these numbers are in eV.
    bare = options_of(folder, training_set=str(folder / "data.xyz"))
    begin(bare)
    header, tensors = checkpoint.read(BASE)
    checkpoint.write(Path("bohr.ckpt"), replace(header, length_unit="bohr"), tensors)
    assert "length_unit: 'bohr' in the base, now 'angstrom'" in refusal(bare, Path("bohr.ckpt"))


def test_a_hyper_that_the_base_does_not_mention_has_its_default(folder):
    header, tensors = checkpoint.read(BASE)
    del header.architecture.hypers["featurizer_type"]
    checkpoint.write(BASE, header, tensors)
    begin(options_of(folder))


def test_another_architecture_is_named_alone(folder):
    options = options_of(folder)
    other = options.architecture.model_copy(update={"name": "soap"})
    assert refusal(options.model_copy(update={"architecture": other})).startswith(
        "the model of the base is not the one that the options describe:\n"
        "    architecture.name: 'pet' in the base, now 'soap'\n  where: base.ckpt\n"
    )


def test_atomic_types_that_the_base_does_not_know(folder):
    text = Path("data.xyz").read_text()
    more = text.replace("\nO ", "\nS ", 1).replace("\nCu ", "\nAu ", 1)
    Path("data.xyz").write_text(more)
    assert refusal(options_of(folder)) == (
        "the data have atomic types that the base does not know: 16 (S), 79 (Au)\n"
        "  where: base.ckpt\n"
        "  hint: it knows 1 (H), 6 (C), 8 (O), 29 (Cu): leave out the structures that have others, "
        "or train from scratch"
    )


def test_a_base_that_has_no_best_weights_yet(folder):
    write_data(Path("young.xyz"))
    young = make_options(folder, training_set=str(folder / "young.xyz"))
    prepare(young, None, Path("x.pt"), lambda text: None).save(Path("young.ckpt"))
    assert refusal(options_of(folder), Path("young.ckpt")) == (
        "the base has no best weights: no epoch had been validated when it was written\n"
        "  where: young.ckpt\n"
        "  hint: use its last weights, as in fine_tune: {weights: last}"
    )
    _, said = begin(options_of(folder, {"weights": "last"}), Path("young.ckpt"))
    assert said[0].startswith("fine-tuning from young.ckpt: last weights (epoch 0), baseline ")


def test_the_scale_is_that_of_the_base(folder):
    scale = float(checkpoint.read(BASE)[1]["model/baselines.0.scale"])
    assert refusal(options_of(folder, True, {"scale_targets": False})) == (
        f"the scale cannot be left at 1: that of the base is {scale:.6g} eV, and its weights go "
        "with it\n"
        "  where: architecture.training.scale_targets\n"
        "  hint: leave scale_targets out"
    )


def test_a_base_is_never_replaced(folder):
    options = options_of(folder)
    before = BASE.read_bytes()
    expected = (
        "the fine-tuned model would replace its base\n"
        "  where: {}\n"
        "  hint: give it a name of its own, as in --output fine-tuned.pt"
    )
    assert refusal(options, BASE, Path("base.pt")) == expected.format("base.ckpt")
    stage.run(options, BASE, TUNED)
    (run,) = run_folders()
    # Whoever goes on forgets about names easily: model.ckpt is what a run writes by default.
    BASE.rename("model.ckpt")
    found = refusal(options, run / "model_1.ckpt", Path("model.pt"))
    assert found == expected.format("model.ckpt")
    assert Path("model.ckpt").read_bytes() == before


# ---- options ----


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (None, None),
        (False, None),
        (True, FineTuneOptions()),
        ({}, FineTuneOptions()),
        ("a/base.ckpt", FineTuneOptions(read_from=Path("a/base.ckpt"))),
        ({"weights": "last", "baseline": "keep"}, FineTuneOptions(weights="last", baseline="keep")),
    ],
)
def test_short_forms(folder, written, meant):
    options = options_of(folder, written)
    assert options.architecture.training.fine_tune == meant
    assert type(options).from_dict(options.to_dict()) == options


def test_an_atomic_baseline_is_refused_at_its_line(folder):
    with pytest.raises(OptionsError) as caught:
        options_of(folder, True, {"atomic_baseline": {"energy": -1.0}})
    assert (
        "architecture.training.atomic_baseline: cannot be given with fine_tune: the energies per "
        "atom are those of the base, or fitted to what it leaves (fine_tune.baseline)"
    ) in str(caught.value)
    with pytest.raises(OptionsError, match="fine_tune.weights: expected 'best' or 'last'"):
        options_of(folder, {"weights": "first"})


# ---- the page about it ----


def blocks(language):
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "fine-tune.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_the_options_of_the_page_are_accepted(folder):
    write_data(Path("new-data.xyz"), n=1)
    found = []
    for text in blocks("yaml"):
        Path("fine.yaml").write_text(text)
        found.append(load_options("fine.yaml").architecture.training.fine_tune)
    assert found == [
        FineTuneOptions(),
        FineTuneOptions(read_from=BASE, weights="best", baseline="refit"),
    ]


def test_the_commands_of_the_page_do_what_it_says(folder, capsys):
    options_of(folder)
    shutil.move("options.yaml", "fine.yaml")
    commands = [shlex.split(line) for block in blocks("bash") for line in block.splitlines()]
    assert [words[:3] for words in commands] == [["mtt", "show", "base.ckpt"]] + 3 * [
        ["mtt", "train", "fine.yaml"]
    ]
    _, begins, with_options, resumes = commands
    assert main(begins[1:]) == 0
    assert "fine-tuning from base.ckpt: best weights (epoch " in capsys.readouterr().out
    BASE.unlink()
    assert main(resumes[1:]) == 0
    assert "training is finished" in capsys.readouterr().out
    # Without a base, which is found out before torch is imported.
    script = (
        "import sys; from mtt.__main__ import main; "
        f"code = main({with_options[1:]}); sys.exit('torch' if 'torch' in sys.modules else code)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: there is no base to fine-tune\n")


# ---- hypers of the base ----


def without_model(folder, model=None, fine_tune="base.ckpt"):
    """Options that say nothing of the model, or only what is given."""
    options_of(folder, fine_tune)
    path = folder / "options.yaml"
    content = yaml.safe_load(path.read_text())
    content["architecture"]["model"] = model or {}
    path.write_text(yaml.safe_dump(content))
    return load_options(path)


def test_hypers_that_are_left_out_are_those_of_the_base(folder):
    whole = begin(options_of(folder, "base.ckpt"), None)[0]
    for model in (None, {"cutoff": 3.0, "num_attention_layers": 1}):
        work, _ = begin(without_model(folder, model), None)
        assert work.header.options == whole.header.options
        assert work.header.options_hash == whole.header.options_hash


def test_hypers_that_contradict_the_base_are_named(folder):
    assert refusal(without_model(folder, {"d_pet": 8}), None).startswith(
        "the model of the base is not the one that the options describe:\n"
        "    architecture.model.d_pet: 4 in the base, now 8\n  where: base.ckpt\n"
    )
    # Two that do not fit together: 4 is no multiple of 3.
    assert "num_heads: 1 in the base, now 3" in refusal(
        without_model(folder, {"num_heads": 3, "d_pet": 6}), None
    )


def test_a_run_with_hypers_of_the_base_is_resumed_without_it(folder, capsys):
    options = without_model(folder)
    stage.run(options, None, TUNED)
    whole = checkpoint.read(Path("tuned.ckpt"))
    BASE.unlink()
    (run,) = run_folders()
    for source in (min(run.glob("*.ckpt")), "auto"):
        stage.run(options, source, Path("again.pt"))
        header, tensors = checkpoint.read(Path("again.ckpt"))
        assert header == whole[0]
        assert all(torch.equal(one, tensors[name]) for name, one in whole[1].items())
        for made in Path().glob("again.*"):
            made.unlink()
    assert "training is finished: all 2 epochs are done" in capsys.readouterr().out
