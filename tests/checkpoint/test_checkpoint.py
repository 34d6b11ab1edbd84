"""Checkpoints: the layout, every way a file can be wrong, and that nothing in it is ever run."""

import json
import os
import pickle
import random
import struct
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_runs import make_options

from mtt import __version__, checkpoint
from mtt.checkpoint import MeasuredError, Position
from mtt.checkpoint.header import ENTRIES
from mtt.data.target import Target
from mtt.errors import UserError
from mtt.training import loop
from mtt.training.final_checkpoint import add_test_errors, content_without_errors
from mtt.training.prepare import prepare

COPY = "\n  hint: copy it again, or use another checkpoint of the run"
# Entries of the header in memory that are tensors in the file.
PLACES = {"content_hash": "content_hash", "history": "history", "split": "split/train"}
GIVE = "\n  hint: give a checkpoint (.ckpt) that 'mtt train' wrote, or a model file (.pt)"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Header and tensors of a trained run, without the entries that writing adds."""
    folder = tmp_path_factory.mktemp("small")
    run = prepare(make_options(folder), None, folder / "model.pt", lambda text: None)

    class Silent:
        def stop_requested(self):
            return False

        def step(self, loss, n_structures):
            pass

        def epoch(self, row):
            pass

    loop.train(run.state, run.problem, Silent())
    entries, tensors = run.state.to_checkpoint()
    return replace(run.header, **entries), {**tensors, **run.check_tensors}


@pytest.fixture
def path(small, tmp_path):
    checkpoint.write(tmp_path / "model.ckpt", *small)
    return tmp_path / "model.ckpt"


def message(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    return str(caught.value)


def rewrite(path: Path, header=None, table=None, tail: bytes | None = None) -> None:
    """Write ``path`` again with another header or table of tensors, as an attacker would."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    found = json.loads(raw[8 : 8 + length])
    if header is not None:
        found["__metadata__"]["mtt"] = header if isinstance(header, str) else json.dumps(header)
    if table is not None:
        found.update(table)
    text = json.dumps(found).encode()
    rest = raw[8 + length :] if tail is None else tail
    path.write_bytes(struct.pack("<Q", len(text)) + text + rest)


def table_of(path):
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + length])


def stored_header(path):
    return json.loads(table_of(path)["__metadata__"]["mtt"])


def test_round_trip(small, path):
    header, tensors = checkpoint.read(path)
    assert header == checkpoint.read_header(path)
    assert replace(header, content_hash="") == small[0]
    assert header.format_version == 3
    assert header.origin is None and header.upgraded_from is None
    assert tensors.keys() == small[1].keys()
    for name, tensor in small[1].items():
        assert torch.equal(tensor, tensors[name]) and tensor.dtype == tensors[name].dtype


def test_what_the_header_says(small, path):
    header = checkpoint.read_header(path)
    assert header.architecture.name == "pet" and header.architecture.version == 3
    assert header.architecture.hypers["d_pet"] == 4
    assert header.atomic_types == [1, 6, 8, 29]
    assert header.length_unit == "angstrom"
    assert header.targets == [Target("energy", gradients=("positions", "strain"))]
    assert header.precision == 32 and header.num_steps == 12
    assert header.position == Position(epoch=3, step=12, batch=0)
    assert len(header.history) == 3 and header.best.metric == "rmse_prod"
    parts = header.split
    assert sorted(parts["train"] + parts["validation"] + parts["test"]) == list(range(12))
    assert header.packages["mtt"] == __version__ and "torch" in header.packages
    assert header.image_digest is None
    assert {name.split("/")[1] for name in small[1] if name.startswith("check/")} == set("0123")


def test_same_content_same_bytes(small, path):
    assert checkpoint.to_bytes(*small) == path.read_bytes()


def test_the_history_takes_little_room_and_comes_back(small, tmp_path):
    header, tensors = small
    rows = [{"epoch": 1, "train_loss": 0.1}, {"epoch": 2, "validation_loss": 1 / 3}, {}]
    path = tmp_path / "history.ckpt"
    checkpoint.write(path, replace(header, history=rows), tensors)
    assert checkpoint.read(path)[0].history == checkpoint.read_header(path).history == rows
    many = [dict.fromkeys(header.history[0], 0.1)] * 100
    checkpoint.write(path, replace(header, history=many), tensors)
    before = path.stat().st_size
    checkpoint.write(path, replace(header, history=2 * many), tensors)
    assert path.stat().st_size - before == 100 * len(many[0]) * 8


@pytest.mark.parametrize("columns", [None, 1, ["epoch"], [1] * 22])
def test_histories_that_are_wrong(path, columns):
    header = stored_header(path)
    assert len(header["history_columns"]) == 21
    rewrite(path, header={**header, "history_columns": columns})
    assert message(checkpoint.read_header, path) == (
        f"the checkpoint is damaged: its header lacks a proper 'history'\n  where: {path}{COPY}"
    )


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "why"),
    [
        ("history", [63], "F64", "its header lacks a proper 'history'"),
        ("history", [3, 21], "I64", "its header lacks a proper 'history'"),
        ("split/test", [0], "I64", "its header lacks a proper 'split'"),
        ("split/train", [3, 3], "I32", "its header lacks a proper 'split'"),
        ("content_hash", [4, 8], "U8", "it has no proper content hash"),
        ("content_hash", [32], "I8", "it has no proper content hash"),
    ],
)
def test_parts_of_the_header_that_are_not_the_tensors_they_must_be(path, name, shape, dtype, why):
    entry = {**table_of(path)[name], "shape": shape, "dtype": dtype}
    rewrite(path, table={name: entry})
    assert message(checkpoint.read, path) == (
        f"the checkpoint is damaged: {why}\n  where: {path}{COPY}"
    )


@pytest.mark.parametrize("indices", [[0, 1, 1], [0, 12], [-1]])
def test_a_split_that_is_none(small, path, indices):
    header, tensors = small
    split = {"train": indices, "validation": [], "test": []}
    checkpoint.write(path, replace(header, split=split), tensors)
    assert message(checkpoint.read_header, path) == (
        f"the checkpoint is damaged: its header lacks a proper 'split'\n  where: {path}{COPY}"
    )


def test_tensors_that_share_memory(small, tmp_path):
    header, tensors = small
    tied = dict(tensors)
    tied["optimizer/tied"] = tied["model/baselines.0.composition"]
    checkpoint.write(tmp_path / "tied.ckpt", header, tied)
    assert torch.equal(
        checkpoint.read(tmp_path / "tied.ckpt")[1]["optimizer/tied"],
        tensors["model/baselines.0.composition"],
    )


def test_reading_the_header_imports_no_torch(path):
    code = (
        "import sys; from pathlib import Path; from mtt.checkpoint import read_header;"
        f"read_header(Path({str(path)!r})); assert 'torch' not in sys.modules;"
        "assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_loading_the_model(small, path):
    header, tensors = checkpoint.read(path)
    for weights, prefix in (("best", "best"), ("last", "model")):
        potential = checkpoint.load_potential(header, tensors, weights)
        for name, tensor in potential.state_dict().items():
            assert torch.equal(tensor, tensors[f"{prefix}/{name}"])
        assert not potential.training
        assert potential.baseline("energy").composition.dtype == torch.float64
        assert next(potential.core.parameters()).dtype == torch.float32


def test_loading_leaves_the_global_generator_alone(path):
    before = torch.get_rng_state()
    checkpoint.load_potential(*checkpoint.read(path))
    assert torch.equal(before, torch.get_rng_state())


def test_no_best_weights_yet(small):
    header, tensors = small
    only = {name: one for name, one in tensors.items() if not name.startswith("best/")}
    assert message(checkpoint.load_potential, header, only, "best") == (
        "the checkpoint has no best weights: no epoch had been validated when it was written\n"
        "  hint: use the last weights (--weights last), or train for at least one epoch"
    )


def test_weights_that_do_not_fit(small):
    header, tensors = small
    wrong = {**tensors, "model/scale": torch.zeros(3)}
    found = message(checkpoint.load_potential, header, wrong, "last")
    assert found.startswith("the weights of the checkpoint do not fit its architecture: ")


def test_missing_file(tmp_path):
    path = tmp_path / "no.ckpt"
    for function in (checkpoint.read, checkpoint.read_header):
        assert message(function, path) == f"there is no such checkpoint\n  where: {path}"


def test_a_folder(tmp_path):
    expected = f"the checkpoint cannot be read: Is a directory\n  where: {tmp_path}"
    assert message(checkpoint.read, tmp_path) == expected


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "an empty file"),
        (b"abc", "a file of an unknown kind (3 bytes)"),
        (b'{"a": {"b": 1}, "c": 2}', "a JSON file"),
        (struct.pack("<Q", 10) + b"0123456789", "a file of an unknown kind (18 bytes)"),
        (struct.pack("<Q", 200 * 2**20) + b"{", "a file of an unknown kind (9 bytes)"),
        (struct.pack("<Q", 2) + b"{}", "a safetensors file of another program"),
    ],
)
def test_something_else(tmp_path, content, why):
    path = tmp_path / "model.ckpt"
    path.write_bytes(content)
    expected = f"this is {why}, not a checkpoint of mtt\n  where: {path}{GIVE}"
    assert message(checkpoint.read, path) == expected
    assert message(checkpoint.read_header, path) == expected


def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    path = tmp_path / "model.ckpt"
    os.mkfifo(path)
    assert message(checkpoint.read, path) == (
        f"this is not a regular file: it is a pipe\n  where: {path}"
    )


def test_a_header_of_a_length_that_cannot_be(path):
    path.write_bytes(struct.pack("<Q", 2**40) + path.read_bytes()[8:])
    assert message(checkpoint.read, path) == (
        "the checkpoint is damaged: its header cannot have the length that it says\n"
        f"  where: {path}{COPY}"
    )


def test_another_torchscript_model(tmp_path):
    path = tmp_path / "model.pt"
    torch.jit.save(torch.jit.trace(torch.nn.Linear(1, 1), torch.ones(1)), str(path))
    assert message(checkpoint.read, path) == (
        "this is a TorchScript model without the metatomic interface, not a checkpoint of mtt\n"
        f"  where: {path}\n  hint: train anew from the data, or export it for metatomic"
    )


class Payload:
    def __reduce__(self):
        return os.system, ("touch ran",)


def test_pickles_are_refused_and_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bare, zipped = Path("bare.ckpt"), Path("zipped.ckpt")
    torch.save({"weights": Payload()}, zipped)
    for protocol in (2, 3, 4, 5):
        bare.write_bytes(pickle.dumps({"weights": Payload()}, protocol=protocol))
        for path in (bare, zipped):
            assert message(checkpoint.read, path) == (
                "this is a pickled checkpoint of another program; it is not loaded, because "
                "loading a pickle runs whatever code is in it\n"
                f"  where: {path}\n"
                "  hint: train anew from the data, or export it with the program that wrote it"
            )
    assert not Path("ran").exists()


def test_another_zip_archive(tmp_path):
    path = tmp_path / "model.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    expected = f"this is a zip archive, not a checkpoint of mtt\n  where: {path}{GIVE}"
    assert message(checkpoint.read, path) == expected


def test_truncated(path):
    whole = path.read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    for size in (len(whole) - 1, 8 + length + 5, 8 + length):
        path.write_bytes(whole[:size])
        missing = len(whole) - size
        assert message(checkpoint.read_header, path) == (
            f"the checkpoint is truncated: {missing} bytes are missing at its end\n"
            f"  where: {path}{COPY}"
        )
    for size in (8 + length - 1, 100, 9):
        path.write_bytes(whole[:size])
        assert message(checkpoint.read, path) == (
            f"the checkpoint is truncated: {8 + length - size} bytes are missing at its end\n"
            f"  where: {path}{COPY}"
        )


def test_a_changed_bit(path):
    whole = path.read_bytes()
    expected = (
        f"the checkpoint is damaged: its content does not fit its content hash\n"
        f"  where: {path}{COPY}"
    )
    changed = bytearray(whole)
    changed[-1] ^= 1
    path.write_bytes(changed)
    assert message(checkpoint.read, path) == expected
    changed = whole.replace(rb"\"batch\":0", rb"\"batch\":1")
    assert changed != whole
    path.write_bytes(changed)
    assert message(checkpoint.read, path) == expected


def test_bytes_behind_the_tensors(path):
    path.write_bytes(path.read_bytes() + b"xx")
    assert message(checkpoint.read_header, path) == (
        f"the checkpoint is damaged: there are 2 bytes behind its last tensor\n"
        f"  where: {path}{COPY}"
    )


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F128", "shape": [2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 12]},
        {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [True, 2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]},
        {"dtype": "F32", "shape": [2**70], "data_offsets": [0, 2**72]},
        {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [1] * 17, "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], "more": 1},
        {"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]},
        [0, 8],
    ],
)
def test_tensors_that_are_described_wrongly(path, entry):
    rewrite(path, table={"model/scale": entry})
    assert message(checkpoint.read, path) == (
        "the checkpoint is damaged: its header describes the tensor 'model/scale' wrongly\n"
        f"  where: {path}{COPY}"
    )


def test_tensors_that_overlap(path):
    rewrite(path, table={"model/more": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}})
    assert message(checkpoint.read, path) == (
        "the checkpoint is damaged: its tensors overlap or have gaps between them\n"
        f"  where: {path}{COPY}"
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "its header is not a JSON object"),
        ('{"a":1,"a":2}', "its header is not the JSON that it should be: a key is there twice"),
        ('{"a":NaN}', "its header is not the JSON that it should be: NaN is not JSON"),
        (
            '{"a":1e999}',
            "its header is not the JSON that it should be: 1e999 is not a finite number",
        ),
        ("{}", "its header lacks a proper 'format_version'"),
    ],
)
def test_headers_that_are_wrong(path, text, why):
    rewrite(path, header=text)
    expected = f"the checkpoint is damaged: {why}\n  where: {path}{COPY}"
    assert message(checkpoint.read_header, path) == expected


@pytest.mark.parametrize(
    "text", ["{", '{"a":"\\ud800', '{"a":' + "[" * 200_000, '{"a":' + "9" * 10_000 + "}"]
)
def test_headers_that_parsers_trip_over(path, text):
    rewrite(path, header=text)
    found = message(checkpoint.read_header, path)
    assert found.startswith("the checkpoint is damaged: its header is not the JSON")


@pytest.mark.parametrize("key", [key for key in ENTRIES if key not in PLACES])
def test_every_entry_of_the_header_is_needed(path, key):
    header = stored_header(path)
    rewrite(path, header={name: value for name, value in header.items() if name != key})
    expected = f"the checkpoint is damaged: its header lacks a proper '{key}'"
    assert message(checkpoint.read_header, path) == f"{expected}\n  where: {path}{COPY}"
    rewrite(path, header={**header, key: 1.5})
    assert message(checkpoint.read_header, path) == f"{expected}\n  where: {path}{COPY}"


ROW = {"quantity": "forces", "unit": "eV/A", "rmse": 0.5, "mae": 0.25, "values": 90}


def test_test_errors_are_optional(small, path):
    header, tensors = small
    assert checkpoint.read_header(path).test_errors == []
    assert "test_errors" not in stored_header(path)
    rows = [MeasuredError(**ROW)]
    before = path.read_bytes()
    add_test_errors(path, rows)
    assert stored_header(path)["test_errors"] == [ROW]
    assert checkpoint.read_header(path).test_errors == rows
    assert checkpoint.read(path)[1].keys() == tensors.keys()
    assert content_without_errors(path) == header_of(before, path).content_hash


def header_of(content, path):
    other = path.with_name("other.ckpt")
    other.write_bytes(content)
    return checkpoint.read_header(other)


@pytest.mark.parametrize(
    "rows",
    [
        {},
        [{**ROW, "rmse": "0.5"}],
        [{**ROW, "rmse": True}],
        [{**ROW, "mae": 10**400}],
        [{**ROW, "values": -1}],
        [{**ROW, "unit": None}],
        [{"quantity": "forces"}],
        [3],
    ],
)
def test_test_errors_that_are_wrong(path, rows):
    rewrite(path, {**stored_header(path), "test_errors": rows})
    assert "its header lacks a proper 'test_errors'" in message(checkpoint.read_header, path)


def test_a_newer_format(path):
    header = {**stored_header(path), "format_version": 4, "packages": {"mtt": "9.1"}}
    header["architecture"]["version"] = 5
    expected = (
        f"the checkpoint has format version 4, and this mtt ({__version__}) reads versions up to 3"
        f"\n  where: {path}\n  hint: use "
    )
    rewrite(path, header=header)
    wrote = "mtt 9.1, which wrote it, or the image of pet@5"
    assert message(checkpoint.read, path) == expected + wrote
    rewrite(path, header={**header, "image_digest": "sha256:ab"})
    assert message(checkpoint.read, path) == f"{expected}{wrote} (sha256:ab)"
    rewrite(path, header='{"format_version":4,"what":"ever"}')
    assert message(checkpoint.read, path) == f"{expected}a later mtt"


def changed_architecture(small, path, **changes):
    header, tensors = small
    checkpoint.write(
        path, replace(header, architecture=replace(header.architecture, **changes)), tensors
    )


def test_an_unknown_architecture(small, path):
    changed_architecture(small, path, name="soap")
    assert message(checkpoint.read, path) == (
        "the checkpoint is of the architecture 'soap', which is not installed\n"
        f"  where: {path}\n"
        "  hint: install the package that provides it; known here: composition, mace, pet, soap_bpnn"
    )
    assert checkpoint.read_header(path).architecture.name == "soap"


def test_another_version_of_the_architecture(small, path):
    changed_architecture(small, path, version=7)
    assert message(checkpoint.read, path) == (
        "the checkpoint needs version 7 of the architecture 'pet', but version 3 is installed\n"
        f"  where: {path}\n"
        "  hint: update mtt: use the image of pet@7"
    )


def test_what_is_written_is_json_without_nan(small, tmp_path):
    header, tensors = small
    with pytest.raises(ValueError):
        checkpoint.write(tmp_path / "a.ckpt", replace(header, num_steps=float("nan")), tensors)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file(small, path, monkeypatch):
    before = path.read_bytes()

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    found = message(checkpoint.write, path, replace(small[0], num_steps=99), small[1])
    assert found == (
        f"the disk is full\n  where: {path}\n"
        "  hint: free some space; nothing that was there has been overwritten"
    )
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == ["model.ckpt"]


def test_random_damage_is_always_one_clear_message(path):
    """Bits flipped, pieces cut out, repeated or replaced: a message or the very same content."""
    whole = path.read_bytes()
    expected, _ = checkpoint.read(path)
    dice = random.Random(0)
    (length,) = struct.unpack("<Q", whole[:8])
    for _ in range(150):
        damaged = bytearray(whole)
        place = (
            dice.randrange(8 + length + 64) if dice.random() < 0.7 else dice.randrange(len(whole))
        )
        kind = dice.randrange(4)
        if kind == 0:
            damaged[place] ^= 1 << dice.randrange(8)
        elif kind == 1:
            del damaged[place : place + dice.randrange(1, 50)]
        elif kind == 2:
            damaged[place:place] = damaged[place : place + dice.randrange(1, 50)]
        else:
            damaged[place : place + 8] = dice.randbytes(8)
        path.write_bytes(damaged)
        try:
            header, _ = checkpoint.read(path)
        except UserError as error:
            assert "\n  where: " in str(error)
        else:
            assert header == expected, "damage that was not noticed"
