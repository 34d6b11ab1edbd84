"""Spectra that are known up to a shift: the loss against its formula, and a run from options to errors."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ase.io
import numpy as np
import pytest
import torch
import yaml
from small_runs import write_data

from mtt import checkpoint
from mtt.__main__ import main
from mtt.architectures.evaluate import Values
from mtt.data.batch import Batch, BatchReferences
from mtt.data.read_files import read_structures
from mtt.data.spectra import aligned, running_sums
from mtt.data.target import Target
from mtt.errors import UserError
from mtt.evaluation.predict import open_model
from mtt.inspect.data_report import of_options
from mtt.options import DatasetOptions, LossOptions, Options, load_options
from mtt.training import run as train
from mtt.training.baseline import fit_baseline
from mtt.training.loss import TargetTerm
from mtt.training.run_data import read_run_data

POINTS, EXTRA = 12, 4
NAME = "mtt::dos"
TARGET = Target(NAME, quantity="", unit="", properties=POINTS, shift=EXTRA)
SHIFT = {"extra_points": EXTRA, "gradient_weight": 0.3, "integral_weight": 0.7, "spacing": 0.5}


def term(shift=SHIFT, **others) -> TargetTerm:
    return TargetTerm(TARGET, LossOptions(targets={NAME: {"shift": shift, **others}}))


def batch_of(values, mask, weights=None):
    """Return a batch of structures with one atom each, of which only references matter."""
    references = BatchReferences(values, mask, bool(mask.all()))
    ones = torch.ones(len(values), dtype=torch.int64)
    graph: Any = SimpleNamespace(system=torch.arange(len(values)))
    return Batch(graph, {NAME: references}, ones, ones.to(torch.float64), weights)


def random_batch(seed: int = 0, n: int = 5):
    random = torch.Generator().manual_seed(seed)
    values = torch.randn(n, POINTS, dtype=torch.float64, generator=random)
    mask = torch.rand(n, POINTS, generator=random) < 0.8
    mask[1] = True
    mask[2] = False
    mask[3, -3:] = False
    predicted = torch.randn(n, POINTS, dtype=torch.float64, generator=random)
    return predicted, torch.where(mask, values, torch.nan), mask


def plain(own: TargetTerm, predicted, values, mask, weights=None):
    """The same loss point by point, each shift tried in turn."""
    shift, total, count = own.shift, 0.0, 0
    part = own.parts[own.value_row]

    def function(difference):
        size = difference.abs()
        if part.type == "mse":
            return size**2
        if part.type == "mae":
            return size
        return size**2 / 2 if size < part.delta else part.delta * (size - part.delta / 2)

    for row in range(len(predicted)):
        tried = []
        for start in range(shift.extra_points + 1):
            # Point of the prediction: point of the data.
            pairs = {
                start + j: shift.extra_points + j
                for j in range(POINTS - shift.extra_points)
                if mask[row, shift.extra_points + j]
            }
            size = sum((predicted[row, i] - values[row, j]) ** 2 for i, j in pairs.items())
            size = size + sum(predicted[row, i] ** 2 for i in range(start))
            tried.append((float(torch.as_tensor(size).detach()), start, pairs))
        _, start, pairs = min(tried)
        count += len(pairs)
        if not pairs:
            continue
        own_sum, integral = 0.0, 0.0
        for i in range(POINTS):
            if i in pairs:
                difference = predicted[row, i] - values[row, pairs[i]]
                integral = integral + shift.spacing * difference
                own_sum = own_sum + function(difference) + shift.integral_weight * integral**2
            elif i < start:
                own_sum = own_sum + function(predicted[row, i])
            elif i > 0:
                slope = (predicted[row, i] - predicted[row, i - 1]) / shift.spacing
                own_sum = own_sum + shift.gradient_weight * slope**2
        total = total + own_sum * (1.0 if weights is None else weights[row])
    return total / count


@pytest.mark.parametrize("kind", ["mse", "mae", "huber"])
@pytest.mark.parametrize("weighted", [False, True])
def test_loss_and_gradients_are_those_of_the_formula(kind: str, weighted: bool) -> None:
    own = term(type=kind, delta=0.6)
    starts = set()
    for seed in range(8):
        predicted, values, mask = random_batch(seed)
        weights = torch.tensor([1.0, 2.0, 0.5, 0.0, 3.0]).double() if weighted else None
        batch = batch_of(values, mask, weights)
        gradients = []
        for function in (
            lambda x, b=batch: own(own.errors(Values(x, x), b), b),
            lambda x, v=values, m=mask, w=weights: plain(own, x, v, m, w),
        ):
            x = predicted.clone().requires_grad_()
            loss = function(x)
            gradients.append((loss.detach(), *torch.autograd.grad(loss, x)))
        torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)
        starts |= set(aligned(predicted, values, mask, EXTRA).before.sum(dim=1).tolist())
    assert starts == set(range(EXTRA + 1))


def shift_agnostic(predicted, values, mask, gradient_weight, integral_weight, h):
    """The loss of spectra that may begin anywhere, in numpy: metatrain's but for what the docs name.

    Of each structure the place s is tried that makes the squared errors of known values and the squares
    of what is predicted before it least, where the prediction has as many zeros on both sides.
    """
    total, n_points = 0.0, predicted.shape[1]
    for row in range(len(predicted)):
        zeros = np.zeros(n_points)
        points = np.concatenate([zeros, predicted[row], zeros])
        known = np.flatnonzero(mask[row])
        if not len(known):
            continue
        sizes = [
            np.sum((points[s + known] - values[row, known]) ** 2) + np.sum(points[:s] ** 2)
            for s in range(2 * n_points + 1)
        ]
        start = int(np.argmin(sizes))
        total += sizes[start]
        inside = np.zeros(3 * n_points, bool)
        inside[start + known] = True
        flat = ~inside & (np.arange(3 * n_points) >= start)
        total += gradient_weight * np.sum((np.diff(points) / h)[flat[1:]] ** 2)
        errors = np.zeros(3 * n_points)
        errors[start + known] = points[start + known] - values[row, known]
        total += integral_weight * np.sum((h * np.cumsum(errors))[inside] ** 2)
    return total / mask.sum()


@pytest.mark.parametrize("weights", [(0.0, 0.0), (0.3, 0.7)])
def test_spectra_may_begin_anywhere(weights: tuple[float, float]) -> None:
    gradient, integral = weights
    shift = {
        "extra_points": "anywhere",
        "gradient_weight": gradient,
        "integral_weight": integral,
        "spacing": 0.5,
    }
    target = Target(NAME, quantity="", unit="", properties=POINTS, shift=2 * POINTS)
    own = TargetTerm(target, LossOptions(targets={NAME: {"shift": shift}}))
    predicted, values, mask = random_batch(seed=3, n=6)
    # One that fits five points further on, one before the prediction, and one that is best beyond it.
    for row, moved in ((0, 5), (4, -4), (5, 3 * POINTS)):
        mask[row] = True
        values[row] = torch.zeros(POINTS)
        for j in range(POINTS):
            if 0 <= j + moved < POINTS:
                values[row, j] = predicted[row, j + moved]
    leaf = predicted.clone().requires_grad_(True)
    batch = batch_of(values.nan_to_num(9.0), mask)
    errors = own.errors(Values(leaf, leaf), batch)
    loss = own(errors, batch)
    expected = shift_agnostic(predicted.numpy(), values.numpy(), mask.numpy(), *weights, 0.5)
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    assert own.loss_of(as_sums(own, errors, batch)) == pytest.approx(expected, rel=1e-12)
    (slopes,) = torch.autograd.grad(loss, leaf)
    step = 1e-6
    for place in ((0, 3), (1, 7), (4, 2), (5, 0)):
        around = []
        for sign in (1, -1):
            changed = predicted.clone()
            changed[place] += sign * step
            around.append(
                shift_agnostic(changed.numpy(), values.numpy(), mask.numpy(), *weights, 0.5)
            )
        slope = (around[0] - around[1]) / (2 * step)
        assert float(slopes[place]) == pytest.approx(slope, abs=1e-6)


def as_sums(own: TargetTerm, errors, batch) -> dict[str, dict[str, float]]:
    from mtt.training.loss import _COLUMNS, _ROWS

    rows = [row.tolist() for row in own.rows(errors, batch)]
    return {
        name: dict(zip(_COLUMNS, row, strict=True)) for name, row in zip(_ROWS, rows, strict=True)
    }


def test_gradients_are_derivatives() -> None:
    own = term()
    predicted, values, mask = random_batch(3)
    batch = batch_of(values, mask)
    predicted.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: own(own.errors(Values(x, x), batch), batch), predicted
    )


def test_a_spectrum_may_begin_at_any_point() -> None:
    own = term({"extra_points": EXTRA, "integral_weight": 2.0})
    spectrum = torch.tensor([1.0, 3.0, 2.0, 5.0, 4.0, 1.0, 2.0, 3.0], dtype=torch.float64)
    mask = torch.ones(1, POINTS, dtype=torch.bool)
    # What stands in the room for shifts counts for nothing.
    values = torch.cat([torch.full((EXTRA,), 99.0), spectrum]).double()[None]
    batch = batch_of(values, mask)
    for start in range(EXTRA + 1):
        predicted = torch.zeros(1, POINTS, dtype=torch.float64)
        predicted[0, start : start + 8] = spectrum + 0.1
        loss = own(own.errors(Values(predicted, predicted), batch), batch)
        integrals = 0.1 * np.arange(1, 9)
        assert float(loss) == pytest.approx(0.01 + 2.0 * np.mean(integrals**2))


def test_sums_of_an_epoch_are_those_of_one_batch() -> None:
    own = term()
    predicted, values, mask = random_batch(4)
    whole = batch_of(values, mask)
    rows = torch.zeros(5, 4, dtype=torch.float64)
    for part in (slice(0, 2), slice(2, 5)):
        batch = batch_of(values[part], mask[part])
        errors = own.errors(Values(predicted[part], predicted[part]), batch)
        rows += torch.stack(own.rows(errors, batch))
    errors = own.errors(Values(predicted, predicted), whole)
    squares, _, loss, count = rows[1].tolist()
    assert count == int(mask[:, EXTRA:].sum()) < mask.sum()
    assert loss / count == pytest.approx(float(own(errors, whole)), rel=1e-12)
    assert squares == pytest.approx(float((errors.values**2).sum()), rel=1e-12)
    assert squares < loss


@pytest.mark.parametrize("n", [1, 63, 64, 65, 200])
def test_running_sums(n: int) -> None:
    values = torch.randn(3, n, dtype=torch.float64)
    torch.testing.assert_close(running_sums(values), values.cumsum(dim=1))


def write_spectra(path: Path, seed: int) -> None:
    """Write structures with a smooth spectrum each, whose energies count from anywhere."""
    write_data(path, n=9, seed=seed)
    random = np.random.default_rng(seed)
    frames = ase.io.read(path, ":")
    for atoms in frames:
        middle = 5.0 + 0.1 * atoms.numbers.mean() + random.integers(-2, 3)
        grid = np.arange(POINTS - EXTRA)
        spectrum = len(atoms) * np.exp(-((grid - middle + 3.0) ** 2) / 4.0)
        known = grid < len(grid) - random.integers(0, 3)
        atoms.info["dos"] = np.concatenate([np.zeros(EXTRA), spectrum])
        atoms.info["known"] = np.concatenate([np.zeros(EXTRA), known]).astype(int)
    ase.io.write(path, frames)


DATA = {"key": "dos", "mask": "known", "properties": POINTS}


def options_of(loss=None, target=None, **training):
    return {
        "device": "cpu",
        "base_precision": 64,
        "architecture": {
            "name": "soap_bpnn",
            "model": {
                "soap": {"max_radial": 2, "max_angular": 1, "cutoff": {"radius": 3.0}},
                "bpnn": {"num_neurons_per_layer": 4},
            },
            "training": {
                "num_epochs": 2,
                "batch_size": 3,
                "keep_last": 100,
                "checkpoint_every": "1 steps",
                "loss": {"targets": {NAME: loss or {"shift": SHIFT}}},
                **training,
            },
        },
        "training_set": {"systems": "data.xyz", "targets": {NAME: DATA | (target or {})}},
        "validation_set": {"systems": "others.xyz", "targets": {NAME: DATA | (target or {})}},
    }


def load(plain) -> Options:
    Path("options.yaml").write_text(yaml.safe_dump(plain))
    return load_options(Path("options.yaml"))


def test_it_is_trained_resumed_exported_and_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    write_spectra(Path("data.xyz"), 0)
    write_spectra(Path("others.xyz"), 1)
    train.run(load(options_of()))
    (report,) = Path("outputs").glob("*/*/verification.json")
    verdict = json.loads(report.read_text())
    assert (verdict["verdict"], verdict["for"]) == ("pass", ["lammps:compute"])
    # The command reads single numbers: nobody has tried it with these.
    (compute,) = [use for use in verdict["verdicts"] if use["use"] == "lammps:compute"]
    assert compute["answer"] == "untried"
    assert compute["reason"].startswith("it reads one number")
    header, tensors = checkpoint.read(Path("model.ckpt"))
    assert header.targets == [TARGET]
    assert not tensors["model/baselines.0.composition"].any()
    assert "known up to a shift has no baseline" in " ".join(capsys.readouterr().out.split())

    monkeypatch.setattr(train, "_pictures", lambda *_: None)
    monkeypatch.setattr(train, "_export", lambda *_: None)
    expected = Path("model.ckpt").read_bytes()
    sources = sorted(Path("outputs").glob("*/*/*.ckpt"))
    assert len(sources) >= 4
    for source in sources:
        train.run(load_options(Path("options.yaml")), source, Path("again.pt"))
        assert Path("again.ckpt").read_bytes() == expected, source.name

    own_data = {"systems": {"read_from": Path("others.xyz")}, "targets": {NAME: DATA}}
    masked = read_structures(DatasetOptions(**own_data))
    Path("eval.yaml").write_text(yaml.safe_dump({"systems": "others.xyz", "targets": {NAME: DATA}}))
    structures = read_structures(DatasetOptions(systems={"read_from": Path("others.xyz")}), False)
    left, pointwise, starts = [], [], []
    for structure, atoms in zip(structures, ase.io.read("others.xyz", ":"), strict=True):
        (prediction,) = open_model(Path("model.ckpt"), "cpu").predict([structure])
        values, known = prediction[NAME].values, atoms.info["known"][EXTRA:] == 1
        spectrum = atoms.info["dos"][EXTRA:][known]
        sizes = [
            sum((values[start : start + 8][known] - spectrum) ** 2) + sum(values[:start] ** 2)
            for start in range(EXTRA + 1)
        ]
        best = int(np.argmin(sizes))
        starts.append(best)
        left.append(values[best : best + 8][known] - spectrum)
        pointwise.append(values[EXTRA:][known] - spectrum)
    parts = left
    left, pointwise = np.concatenate(left), np.concatenate(pointwise)
    for model in ("model.ckpt", "model.pt"):
        assert main(["eval", model, "eval.yaml"]) == 0
        report = json.loads(Path("predictions.json").read_text())
        assert report["errors"][NAME]["rmse"] == pytest.approx(np.sqrt(np.mean(left**2)), rel=1e-6)
        assert report["errors"][NAME]["values"] == len(left)
        assert report["shifts"] == {NAME: EXTRA}
        assert report["starts"] == {NAME: starts} and len(set(starts)) > 1
        written = ase.io.read("predictions.xyz", ":")
        assert [atoms.info["dos_start"] for atoms in written] == starts
        for atoms, own in zip(written, ase.io.read("others.xyz", ":"), strict=True):
            expected = np.where(own.info["known"] == 1, own.info["dos"], np.nan)
            np.testing.assert_array_equal(atoms.info["reference_dos"], expected)
            np.testing.assert_array_equal(atoms.info["reference_dos_mask"], own.info["known"])
        # The file is data with the same values.
        described = {"key": "reference_dos", "mask": "reference_dos_mask", "properties": POINTS}
        same = {"systems": {"read_from": Path("predictions.xyz")}, "targets": {NAME: described}}
        for one, other in zip(read_structures(DatasetOptions(**same)), masked, strict=True):
            np.testing.assert_array_equal(
                one.references[NAME].values, other.references[NAME].values
            )
        assert "each structure is compared where it fits best" in " ".join(
            capsys.readouterr().out.split()
        )
    assert np.mean(left**2) < 0.99 * np.mean(pointwise**2)
    frames = ase.io.read("others.xyz", ":")
    for atoms in frames:
        atoms.info["dos"][:EXTRA] = np.nan
        atoms.info["known"][:EXTRA] = 1
    frames[1].info["known"][EXTRA:] = 0
    ase.io.write("empty_room.xyz", frames)
    assert main(["eval", "model.ckpt", "eval.yaml", "-r", "systems=empty_room.xyz"]) == 0
    again = json.loads(Path("predictions.json").read_text())
    assert again["starts"] == {NAME: [starts[0], None, *starts[2:]]}
    assert "dos_start" not in ase.io.read("predictions.xyz", 1).info
    others = np.concatenate([part for index, part in enumerate(parts) if index != 1])
    assert again["errors"][NAME]["rmse"] == pytest.approx(np.sqrt(np.mean(others**2)))

    base = {"fine_tune": "model.ckpt", "num_epochs": 1}
    train.run(load(options_of(**base)), None, Path("tuned.pt"))
    assert checkpoint.read_header(Path("tuned.ckpt")).targets == [TARGET]
    with pytest.raises(UserError, match=r"shifted by 0 points here, and by 4 in the base"):
        train.run(load(options_of(loss={"type": "mae"}, **base)), None, Path("other.pt"))


def test_a_run_of_spectra_that_may_begin_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    write_spectra(Path("data.xyz"), 0)
    write_spectra(Path("others.xyz"), 1)
    options = load(options_of(loss={"shift": "anywhere"}))
    stored = options.to_dict()["architecture"]["training"]["loss"]["targets"][NAME]["shift"]
    assert stored["extra_points"] == "anywhere"
    assert Options.from_dict(options.to_dict()) == options
    train.run(options)
    header = checkpoint.read_header(Path("model.ckpt"))
    assert header.targets[0].shift == 2 * POINTS and header.targets[0].room == 0
    monkeypatch.setattr(train, "_pictures", lambda *_: None)
    monkeypatch.setattr(train, "_export", lambda *_: None)
    expected = Path("model.ckpt").read_bytes()
    for source in sorted(Path("outputs").glob("*/*/*.ckpt"))[1:3]:
        train.run(options, source, Path("again.pt"))
        assert Path("again.ckpt").read_bytes() == expected, source.name
    Path("eval.yaml").write_text(yaml.safe_dump({"systems": "others.xyz", "targets": {NAME: DATA}}))
    structures = read_structures(DatasetOptions(systems={"read_from": Path("others.xyz")}), False)
    left, starts = [], []
    for structure, atoms in zip(structures, ase.io.read("others.xyz", ":"), strict=True):
        (prediction,) = open_model(Path("model.ckpt"), "cpu").predict([structure])
        zeros = np.zeros(POINTS)
        points = np.concatenate([zeros, prediction[NAME].values, zeros])
        known = np.flatnonzero(atoms.info["known"] == 1)
        spectrum = atoms.info["dos"][known]
        sizes = [
            sum((points[start + known] - spectrum) ** 2) + sum(points[:start] ** 2)
            for start in range(2 * POINTS + 1)
        ]
        best = int(np.argmin(sizes))
        starts.append(best - POINTS)
        left.append(points[best + known] - spectrum)
    for model in ("model.ckpt", "model.pt"):
        assert main(["eval", model, "eval.yaml"]) == 0
        report = json.loads(Path("predictions.json").read_text())
        rmse = np.sqrt(np.mean(np.concatenate(left) ** 2))
        assert report["errors"][NAME]["rmse"] == pytest.approx(rmse, rel=1e-6)
        assert report["starts"] == {NAME: starts}
        said = " ".join(capsys.readouterr().out.split())
        assert f"beginning at one of {2 * POINTS + 1} points" in said


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("room", [5.0, np.nan, np.inf])
def test_what_stands_in_the_room_counts_for_nothing(
    room: float, masked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scales, found = [], []
    for number in (0.0, room):
        for name in ("data", "others"):
            write_spectra(Path(f"{name}.xyz"), 0)
            frames = ase.io.read(f"{name}.xyz", ":")
            for atoms in frames:
                atoms.info["dos"][:EXTRA] = number
                # As if all were known there, as a mask of ones says.
                atoms.info["known"][:EXTRA] = 1
            ase.io.write(f"{name}.xyz", frames)
        options = load(options_of(target=None if masked else {"mask": ""}))
        data = read_run_data(options)
        assert data.targets == [TARGET]
        found.append([one.references[NAME].values for one in data.train])
        scales.append(fit_baseline(data.train, TARGET, data.train.types, 0.0).scale)
        of_options(options)
    assert scales[0] == scales[1]
    known = np.concatenate([values[EXTRA:] for values in found[0]])
    np.testing.assert_array_equal(known, np.concatenate([values[EXTRA:] for values in found[1]]))
    # Numbers stay, as the hash of the data depends on them.
    expected = room if np.isfinite(room) else np.nan
    assert all(np.array_equal(one[:EXTRA], [expected] * EXTRA, True) for one in found[1])
    frames[1].info["dos"][EXTRA] = np.nan
    frames[1].info["known"][EXTRA] = 1
    ase.io.write("data.xyz", frames)
    with pytest.raises(UserError, match=r"there is nan in the value under the key 'dos'"):
        read_run_data(options)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (options_of(target={"per": "atom"}), "a shift belongs to a structure as a whole"),
        (options_of(target={"type": "vector"}), "is a vector: what is moved along a grid is"),
        (options_of({"shift": POINTS}), "has 12 points (properties), and extra_points must be"),
        (options_of({"shift": 0}), "shift: must be larger than 0, found 0"),
        (options_of({"shift": 1.5}), "shift: expected an integer, found 1.5"),
        (options_of({"shift": "anywhre"}), "did you mean 'anywhere'"),
        (options_of({"shift": {"spacing": 0.1}}), "extra_points"),
        (options_of(atomic_baseline={NAME: 1.0}), "is known up to a shift, and has no baseline"),
    ],
)
def test_what_cannot_be_is_refused(
    options, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("data", "others"):
        write_spectra(Path(f"{name}.xyz"), 0)
    with pytest.raises(UserError) as caught:
        load(options)
    assert reason in str(caught.value)
    # One error for one mistake, without the insides of a union.
    assert str(caught.value).count("extra_points:") <= 1
    assert "literal" not in str(caught.value) and "constrained" not in str(caught.value)


def test_only_what_is_asked_for_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("data", "others"):
        write_spectra(Path(f"{name}.xyz"), 0)
    plain = options_of({"weight": 2.0}, {"mask": ""})
    stored = load(plain).to_dict()
    assert "shift" not in stored["architecture"]["training"]["loss"]["targets"][NAME]
    assert "mask" not in stored["training_set"][0]["targets"][NAME]
    full = load(options_of({"shift": EXTRA}))
    assert Options.from_dict(full.to_dict()) == full
    assert full.architecture.training.loss.extra_points(NAME, POINTS) == EXTRA
    described = Target(NAME, properties=POINTS)
    assert "shift" not in described.to_dict()
    assert Target.from_dict(TARGET.to_dict()) == TARGET
    for wrong in ({"shift": POINTS}, {"shift": 0}, {"shift": -1}, {"per": "atom"}):
        with pytest.raises(ValueError, match="shift"):
            Target.from_dict(TARGET.to_dict() | wrong)
