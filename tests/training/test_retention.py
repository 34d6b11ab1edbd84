"""Which checkpoints stay, for every choice of options."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from mtt.options.schema.training import TrainingHypers
from mtt.training.runs.folder import Point, points_in
from mtt.training.runs.retention import superfluous
from mtt.training.runs.saving import Saver

points = st.lists(
    st.builds(Point, st.integers(0, 9), st.sampled_from([0, 0, 3, 5])), min_size=1, unique=True
)


def deleted(stored, metrics=None, last=2, best=True, every=None, newest=None):
    found = superfluous(stored, newest or max(stored), metrics or {}, last, best, every)
    return [one.name for one in found]


EPOCHS = [Point(epoch, 0) for epoch in range(7)]


def test_the_newest_stay():
    assert deleted(EPOCHS, last=3, best=False) == [f"model_{n}.ckpt" for n in range(4)]
    middle = [Point(1, 0), Point(1, 7), Point(1, 5), Point(2, 0), Point(0, 3)]
    assert deleted(middle, last=2) == ["model_0_3.ckpt", "model_1.ckpt", "model_1_5.ckpt"]
    assert deleted(EPOCHS[:2], last=5) == []


def test_the_best_stays_and_of_equals_the_earlier():
    metrics = {1: 3.0, 2: 1.0, 3: 1.0, 4: 2.0, 5: 4.0, 6: 5.0}
    names = ["model_0.ckpt", "model_1.ckpt", "model_3.ckpt", "model_4.ckpt", "model_5.ckpt"]
    assert deleted(EPOCHS, metrics, last=1) == names
    assert deleted(EPOCHS, metrics, last=1, best=False) == sorted([*names, "model_2.ckpt"])
    # Of those that are there: epoch 2 was the best, but nobody wrote it.
    written = [Point(1, 0), Point(4, 0), Point(5, 0), Point(6, 0)]
    assert deleted(written, metrics, last=1) == ["model_1.ckpt", "model_5.ckpt"]
    # A step in the middle has not been judged.
    assert deleted([Point(2, 5), Point(3, 0)], metrics, last=1) == ["model_2_5.ckpt"]


def test_every_nth_epoch_stays_but_not_the_start():
    assert deleted(EPOCHS, last=1, every=1) == ["model_0.ckpt"]
    odd = ["model_0.ckpt", "model_1.ckpt", "model_2.ckpt", "model_4.ckpt", "model_5.ckpt"]
    assert deleted(EPOCHS, last=1, every=3) == odd
    assert deleted([*EPOCHS[:4], Point(3, 9)], last=1, every=3) == odd[:3]


def test_files_from_the_future_are_neither_counted_nor_deleted():
    assert deleted(EPOCHS, last=2, newest=Point(3, 0)) == ["model_0.ckpt", "model_1.ckpt"]


@given(
    points,
    st.dictionaries(st.integers(1, 9), st.floats(0, 9)),
    st.integers(1, 4),
    st.booleans(),
    st.none() | st.integers(1, 4),
)
def test_never_more_than_the_options_allow(stored, metrics, last, best, every):
    gone = superfluous(stored, max(stored), metrics, last, best, every)
    kept = set(stored) - set(gone)
    nth = [one for one in stored if every and one.step == 0 < one.epoch and one.epoch % every == 0]
    assert len(kept) <= last + best + len(nth)
    assert max(stored) in kept and set(nth) <= kept
    assert superfluous(kept, max(stored), metrics, last, best, every) == []


def test_names(tmp_path):
    for point, name in ((Point(0, 0), "model_0.ckpt"), (Point(12, 345), "model_12_345.ckpt")):
        assert point.name == name and Point.read(name) == point
    foreign = ["model.ckpt", "model_01.ckpt", "model_1_0.ckpt", "model_1.ckpt.bak", "model_-1.ckpt"]
    foreign += [
        ".model_1.ckpt",
        "model_1.pt",
        "my_model_1.ckpt",
        "model_1_2_3.ckpt",
        "model_١.ckpt",
    ]
    for name in [*foreign, "model_2_9.ckpt", "model_2.ckpt"]:
        (tmp_path / name).touch()
    assert points_in(tmp_path) == [Point(2, 0), Point(2, 9)]
    assert Point.of(3, 12, 0) == Point(3, 0) and Point.of(3, 13, 1) == Point(3, 13)


def test_the_checkpoint_kept_as_the_best_is_judged_as_the_exported_epoch(tmp_path):
    """A lucky epoch is neither exported nor kept: both go by the mean over two epochs here."""
    hypers = TrainingHypers(
        **{"num_epochs": 4, "best_model_metric": "loss", "best_model_smoothing": 0.5},
        **{"keep_last": 1, "keep_every": None},
    )
    rows = [
        {"epoch": float(epoch), "validation_loss": loss}
        for epoch, loss in enumerate((8.0, 1.0, 2.0, 9.0), 1)
    ]
    for epoch in range(1, 5):
        (tmp_path / Point(epoch, 0).name).touch()
    saver = Saver.__new__(Saver)
    saver.folder, saver._hypers = tmp_path, hypers
    saver.job = SimpleNamespace(state=SimpleNamespace(history=rows))
    saver.clean(tmp_path / Point(4, 0).name)
    assert [point.epoch for point in points_in(tmp_path)] == [3, 4]
