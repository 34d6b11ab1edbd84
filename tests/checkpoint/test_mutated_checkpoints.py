"""A thousand checkpoints that something or somebody has changed: none runs anything, hangs, takes the
memory or is loaded for what it is not; each ends in one clear message and exit code 2."""

import contextlib
import random
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mutants
import pytest
from golden.golden_runs import Silent
from small_runs import make_options

from mtt import checkpoint
from mtt.__main__ import main
from mtt.errors import UserError
from mtt.training import loop
from mtt.training.prepare import prepare

# What a file could do with code of its own; Python tells of each.
FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "subprocess.Popen",
    "pickle.find_class",
    "socket.connect",
)
# Somebody corrected the hash: then a file may say what it likes, as long as it makes sense.
CORRECTED = (mutants.edited_and_hashed, mutants.retabled, mutants.revalued)
OLD = Path(__file__).parents[1] / "golden" / "checkpoints" / "format-1_pet-1_options-1" / "8.ckpt"

events: list[str] | None = None


def hook(event: str, arguments: tuple[object, ...]) -> None:
    if events is not None and event in FORBIDDEN:
        events.append(f"{event} {arguments}")


sys.addaudithook(hook)


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Nothing forbidden happens, within ten seconds of processor time and 300 MB."""
    global events
    events = []
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        yield
    finally:
        seen, events = events, None
    assert seen == []
    assert time.process_time() - started < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
    assert not Path("executed").exists()


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Options and bytes of a finished run."""
    folder = tmp_path_factory.mktemp("original")
    options = make_options(folder)
    run = prepare(options, None, folder / "model.pt", lambda _: None)
    loop.train(run.state, run.problem, Silent())
    run.save(folder / "model.ckpt")
    return options, (folder / "model.ckpt").read_bytes()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_watch_sees_what_it_must():
    import pickle

    with pytest.raises(AssertionError), watched():
        pickle.loads(pickle.dumps(mutants.Payload()))
    with pytest.raises(AssertionError), watched():
        Path("executed").touch()


def assert_one_message(said: str) -> None:
    lines = said.splitlines()
    assert lines[0].startswith("error: ") and len(lines) <= 3, said
    assert all(line.startswith(("  where: ", "  hint: ")) for line in lines[1:]), said
    assert len(said) < 1000 and said.replace("\n", "").isprintable(), said


@pytest.mark.parametrize("kind", mutants.KINDS, ids=lambda kind: kind.__name__)
def test_a_thousand_changed_checkpoints(original, kind, capsys):
    options, raw = original
    refused = 0
    for number in range(mutants.KINDS[kind]):
        dice = random.Random(f"{kind.__name__} {number}")
        source = OLD.read_bytes() if dice.random() < 0.2 else raw
        changed = kind(source, dice)
        Path("changed.ckpt").write_bytes(changed)
        with watched():
            code = main(["upgrade", "changed.ckpt", "-o", "new.ckpt"])
        said = capsys.readouterr()
        if code == 0:
            assert changed == source or kind in CORRECTED, "damage that was not noticed"
            going_on(options)
        else:
            refused += 1
            assert code == 2 and said.out == ""
            assert_one_message(said.err)
        with watched():
            shown = main(["show", "changed.ckpt"])
        said = capsys.readouterr()
        assert shown == 2 or changed == source or kind in CORRECTED, "shown as if it were whole"
        assert said.out.replace("\n", "").isprintable()
        if shown != 0:
            assert_one_message(said.err)
    assert refused >= mutants.KINDS[kind] * (0.3 if kind in CORRECTED else 1)


def going_on(options) -> None:
    """The file loads: then a model comes out of it, and training continues or refuses clearly."""
    with watched():
        header, tensors = checkpoint.read(Path("changed.ckpt"))
        for weights in ("best", "last"):
            with contextlib.suppress(UserError):
                checkpoint.load_potential(header, tensors, weights)
        with contextlib.suppress(UserError):
            prepare(options, Path("changed.ckpt"), Path("model.pt"), lambda _: None)


def test_there_are_a_thousand():
    assert sum(mutants.KINDS.values()) == 1000
