"""A run that resumes under other conditions says which, records them, and nothing is said otherwise."""

import dataclasses
import json
import os
from pathlib import Path

import pytest
import torch
from command import mtt
from small_runs import make_options
from warm import warm

from mtt import checkpoint
from mtt.architectures import kernels
from mtt.checkpoint import Conditions, Position
from mtt.lineage import compare_runs
from mtt.training.runs import conditions

LINE = "bits may differ from those of a run without a break: "
# Trains without what is made at the end; stops itself at a step, as a queue would.
SCRIPT = """
import os, signal, sys
from mtt.__main__ import main
from mtt.training import run as train
train._pictures = train._export = lambda *_: None  # tests of their own
stop, *words = sys.argv[1:]
step = train._Observer.step
def stopping(self, loss, n):
    step(self, loss, n)
    if self.job.state.position.step == int(stop):
        os.kill(os.getpid(), signal.SIGTERM)
train._Observer.step = stopping
sys.exit(main(["train", "options.yaml", *words]))
"""


def train(folder: Path, stop: int, *words: str, **environment: str) -> str:
    """Run the program until a step, or to the end if there is no such step; what it says."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    done = warm().run(SCRIPT, [str(stop), *words], cwd=folder, env=variables)
    messages = done.stderr.decode()
    assert done.returncode == (143 if f"{stop} steps" in messages else 0), messages
    return done.stdout.decode()


def lines(text: str) -> list[str]:
    # Each line begins with the time.
    return [line.partition(LINE)[2] for line in text.splitlines() if LINE in line]


def recorded(folder: Path, name: str | Path = "model.ckpt") -> list[Conditions]:
    return checkpoint.read_header(folder / name).conditions


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of three epochs of five steps, of which three are done with one thread."""
    make_options(tmp_path)
    assert lines(train(tmp_path, 3)) == []
    return tmp_path


def test_a_number_that_nobody_gives_is_that_of_before(folder: Path) -> None:
    assert lines(train(folder, 0, "-c", "auto", OMP_NUM_THREADS="")) == []
    assert [part.values["threads"] for part in recorded(folder)] == ["1"]


def test_other_threads_are_said_and_recorded(folder: Path) -> None:
    said = lines(train(folder, 7, "-c", "auto", OMP_NUM_THREADS="2"))
    assert said == ["the number of threads was 1, and is 2 now"]
    # The same as before: nothing is said. And back again.
    assert lines(train(folder, 9, "-c", "auto", OMP_NUM_THREADS="2")) == []
    said = lines(train(folder, 0, "-c", "auto"))
    assert said == ["the number of threads was 2, and is 1 now"]
    parts = recorded(folder)
    assert [(part.step, part.values["threads"]) for part in parts] == [(0, "1"), (3, "2"), (9, "1")]
    log = next(folder.glob("outputs/*/*/train.log")).read_text()
    assert log.count(LINE) == 2
    shown = mtt(folder, "show", "model.ckpt")
    assert "from step 3 on: threads=2" in shown and "from step 9 on: threads=1" in shown
    # A finished run computes nothing more.
    assert lines(train(folder, 0, "-c", "auto", OMP_NUM_THREADS="2")) == []
    assert recorded(folder) == parts


def test_the_model_file_and_its_statement_know(folder: Path) -> None:
    train(folder, 0, "-c", "auto", OMP_NUM_THREADS="2")
    mtt(folder, "export", "model.ckpt", "--no-verify")
    statement = json.loads((folder / "model.pt.intoto.json").read_text())
    inner = statement["predicate"]["buildDefinition"]["internalParameters"]
    expected = [part.to_dict() for part in recorded(folder)]
    assert len(expected) == 2 and inner == {"trained_under": expected}
    shown = json.loads(mtt(folder, "show", "model.pt", "--json"))
    assert shown["provenance"]["conditions"] == expected
    assert "from step 3 on: threads=2" in mtt(folder, "show", "model.pt")
    assert compare_runs.changed_on_the_way(recorded(folder)) == [
        "from step 3 on: the number of threads was 1, and is 2 now"
    ]


def test_another_set_of_instructions(folder: Path) -> None:
    here = torch.backends.cpu.get_cpu_capability()
    if here == "DEFAULT":
        pytest.skip("this processor has no other set of instructions")
    said = lines(train(folder, 0, "-c", "auto", ATEN_CPU_CAPABILITY="default"))
    assert said == [f"the kind of instructions was {here}, and is DEFAULT now"]
    assert recorded(folder)[1].values["instructions"] == "DEFAULT"


def test_without_the_kernels_that_there_were(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert recorded(folder, newest(folder))[0].values["kernels"] == "mtt"
    rewrite(folder, kernels="torch")
    said = lines(train(folder, 0, "-c", "auto"))
    assert said == ["the origin of kernels was torch, and is mtt now"]
    assert [part.values["kernels"] for part in recorded(folder)] == ["torch", "mtt"]
    monkeypatch.setattr(kernels, "missing", lambda: "none here")
    assert conditions.here(torch.device("cpu"), "pet")["kernels"] == "torch"


def newest(folder: Path) -> Path:
    """Return the run's newest checkpoint."""
    paths = folder.glob("outputs/*/*/model_*.ckpt")
    return max(paths, key=lambda path: path.stat().st_mtime_ns)


def rewrite(folder: Path, **changes: str | None) -> None:
    """Let the run's newest checkpoint say that it was made otherwise; None is that it does not say."""
    path = newest(folder)
    header, tensors = checkpoint.read(path)
    values = {**header.conditions[0].values, **changes}
    known = {name: value for name, value in values.items() if value is not None}
    checkpoint.write(
        path, dataclasses.replace(header, conditions=[Conditions(0, 0, known)]), tensors
    )


def test_other_packages_and_another_processor_in_one_line(folder: Path) -> None:
    rewrite(folder, torch="2.12.0", numpy="1.0", processor="an old one")
    now = conditions.here(torch.device("cpu"), "pet")
    (said,) = lines(train(folder, 0, "-c", "auto"))
    assert said.split("; ") == [
        f"the processor was an old one, and is {now['processor']} now",
        f"torch was 2.12.0, and is {now['torch']} now",
        f"numpy was 1.0, and is {now['numpy']} now",
    ]
    assert [part.values["torch"] for part in recorded(folder)] == ["2.12.0", now["torch"]]


def test_a_checkpoint_of_an_older_mtt(folder: Path) -> None:
    """It has no entry at all, and is read; what it does not say may have been another."""
    path = newest(folder)
    header, tensors = checkpoint.read(path)
    checkpoint.write(path, dataclasses.replace(header, conditions=[]), tensors)
    assert b'"conditions"' not in path.read_bytes().replace(b"\\", b"")
    (said,) = lines(train(folder, 0, "-c", "auto"))
    assert said == (
        "the checkpoint does not say the number of threads, the processor, the kind of instructions, "
        "the device, the origin of kernels"
    )
    first, second = recorded(folder)
    assert first.values.keys() == {"mtt", "torch", "numpy", "vesin"}
    assert (second.step, second.values["threads"]) == (3, "1")


def test_under_the_same_conditions_the_bytes_stay(folder: Path) -> None:
    """Of the run that was stopped, and of one that changed its mind before it computed anything."""
    train(folder, 0, "-c", "auto")
    whole = (folder / "model.ckpt").read_bytes()
    header = checkpoint.read_header(folder / "model.ckpt")
    (first,) = header.conditions
    at = dataclasses.replace(
        header,
        position=Position(0, 3, 3),
        conditions=[first, Conditions(0, 3, {**first.values, "threads": "2"})],
    )
    assert conditions.carried_on(at, first.values) == ([first], [])
    other = folder / "other"
    other.mkdir()
    options = (folder / "options.yaml").read_text()
    (other / "options.yaml").write_text(options)
    train(other, 0)
    assert (other / "model.ckpt").read_bytes() == whole


def test_what_a_header_says_improperly_is_refused(folder: Path) -> None:
    for wrong in ([{"epoch": -1, "step": 0, "values": {}}], [{"epoch": 0}], {"a": 1}, [3], [[]]):
        plain = checkpoint.read_header(next(folder.glob("outputs/*/*/model_0.ckpt"))).to_dict()
        with pytest.raises(ValueError, match="^conditions$"):
            checkpoint.header.header_from_dict({**plain, "conditions": wrong})


def test_what_a_strange_checkpoint_says_stays_one_harmless_line() -> None:
    hostile = "1\n::error::x\x1b[2J" + "9" * 1000
    (said,) = conditions.differences({"threads": hostile}, {"threads": "2"})
    assert said.isprintable() and len(said) < 250
