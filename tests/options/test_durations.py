"""Durations and intervals: what is understood, how it is stored, and every refusal."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtt.errors import UserError
from mtt.options import Options, load_options
from mtt.options.schema.durations import seconds, steps
from mtt.options.schema.training import TrainingHypers


def stored(text: object) -> str | None:
    """What ``checkpoint_every`` becomes."""
    hypers = TrainingHypers.model_validate({"checkpoint_every": text})
    return hypers.checkpoint_every


@pytest.mark.parametrize(
    ("text", "canonical", "length"),
    [
        ("10 min", "10 min", 600),
        ("90 s", "1 min 30 s", 90),
        ("1h30m", "1 h 30 min", 5400),
        ("2 h", "2 h", 7200),
        ("11h30m", "11 h 30 min", 41400),
        ("1d 2h", "1 d 2 h", 93600),
        ("1.5 hours", "1 h 30 min", 5400),
        ("  30 minutes ", "30 min", 1800),
        ("2 days 1 second", "2 d 1 s", 172801),
        ("0.25 s", "0.25 s", 0.25),
        ("100 d", "100 d", 8640000),
        ("1000 s", "16 min 40 s", 1000),
    ],
)
def test_durations(text: str, canonical: str, length: float) -> None:
    assert stored(text) == stored(canonical) == canonical
    assert TrainingHypers(max_time=text).max_time == canonical
    assert seconds(canonical) == length
    assert steps(canonical) is None


def test_steps() -> None:
    assert [stored(text) for text in ("500 steps", "1 steps", " 1 step")] == [
        "500 steps",
        "1 step",
        "1 step",
    ]
    assert steps("500 steps") == 500 and steps("1 step") == 1
    assert stored(None) is None


def test_defaults() -> None:
    hypers = TrainingHypers()
    assert (hypers.checkpoint_every, hypers.max_time) == ("10 min", None)
    assert (hypers.keep_last, hypers.keep_best, hypers.keep_every) == (2, True, 1)


@given(st.integers(1, 10**11))
def test_what_is_stored_means_the_same(milliseconds: int) -> None:
    if milliseconds > 10_000 * 86_400_000:
        return
    text = stored(f"{milliseconds / 1000:.3f} s")
    assert text is not None and seconds(text) == milliseconds / 1000
    assert stored(text) == text


INTERVAL = "expected steps such as '500 steps', or a duration such as '90 s', '10 min' or '1h30m'"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500", f"{INTERVAL}, found 500 without a unit"),
        ("'5'", f"{INTERVAL}, found '5'"),
        ("0.5", f"{INTERVAL}, found 0.5 without a unit"),
        ("on", f"{INTERVAL}, found on (true)"),
        ("[10 min]", f"{INTERVAL}, found a list"),
        ("0 steps", f"{INTERVAL}, found '0 steps'"),
        ("-1 s", f"{INTERVAL}, found '-1 s'"),
        ("1e3 s", f"{INTERVAL}, found '1e3 s'"),
        ("1h 1h", f"{INTERVAL}, found '1h 1h'"),
        ("1h30", f"{INTERVAL}, found '1h30'"),
        ("2 weeks", f"{INTERVAL}, found '2 weeks'"),
        ("0 s", "must be longer than 0 and at most 10000 days, found '0 s'"),
        ("20000 d", "must be longer than 0 and at most 10000 days, found '20000 d'"),
    ],
)
def test_wrong_text_is_shown_at_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: str
) -> None:
    assert refusal(tmp_path, monkeypatch, f"checkpoint_every: {text}") == (
        f"options.yaml:5:23: error: architecture.training.checkpoint_every: {expected}\n"
        f"  5 |     checkpoint_every: {text}\n"
        f"    |                       ^"
    )


def test_wrong_times_and_numbers_are_shown_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "max_time: 12 hrs\n    keep_last: 0\n    keep_every: -1\n    keep_best: 1"
    shown = refusal(tmp_path, monkeypatch, lines)
    assert re.findall(r"error: architecture\.training\.(.*)", shown) == [
        "max_time: expected a duration such as '10 min', '11h30m' or '1d 2h', found '12 hrs'",
        "keep_last: must be larger than 0, found 0",
        "keep_every: must be larger than 0, found -1",
        "keep_best: expected on or off, found 1",
    ]


def refusal(folder: Path, monkeypatch: pytest.MonkeyPatch, lines: str) -> str:
    monkeypatch.chdir(folder)
    Path("a.xyz").touch()
    Path("options.yaml").write_text(
        f"training_set: a.xyz\narchitecture:\n  name: pet\n  training:\n    {lines}\n"
    )
    with pytest.raises(UserError) as caught:
        load_options(Path("options.yaml"))
    return caught.value.report()


def test_stored_options_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.xyz").touch()
    text = "{checkpoint_every: 90 s, max_time: 1d2h, keep_every: null}"
    Path("options.yaml").write_text(
        f"training_set: a.xyz\narchitecture: {{name: pet, training: {text}}}\n"
    )
    options = load_options(Path("options.yaml"))
    stored = options.to_dict()["architecture"]["training"]
    assert (stored["checkpoint_every"], stored["max_time"]) == ("1 min 30 s", "1 d 2 h")
    assert stored["keep_every"] is None
    assert Options.from_dict(options.to_dict()) == options
