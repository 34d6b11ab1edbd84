"""Whose file this is, by its bytes: real files where the program that writes them is here, and
imitations of their structure where it is not. Nothing in them is ever run."""

import gzip
import io
import json
import os
import pickle
import random
import struct
import tarfile
import time
import types
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from mtt.filetypes import bounded_zip, inert_pickle, recognize

READ_FROM = "name it as 'read_from' of a target, beside the file of the structures"
GIVE = "give a checkpoint (.ckpt) that 'mtt train' wrote, or a model file (.pt)"
UNPACK = "unpack it, and give the file that is in it"
ANEW = "train anew from the data, or export it with the program that wrote it"
METATRAIN = (
    "export it with metatrain and check the result with 'mtt verify', or train anew from the data "
    "with the same options"
)


class Payload:
    """Leaves a file behind if anyone unpickles it."""

    def __reduce__(self):
        return os.system, ("touch ran",)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current folder, in which nothing may have been run at the end of any test."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not Path("ran").exists()


def describe(content: bytes) -> tuple[str, str, str]:
    Path("file").write_bytes(content)
    found = recognize.describe(Path("file"))
    return found.kind, found.what, found.hint


def saved(value, legacy: bool = False) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=not legacy)
    return stream.getvalue()


def of_module(name: str, **state) -> object:
    """An object whose class pickles call ``name``, as that of a package that is not installed."""
    module, _, short = name.rpartition(".")
    cls = type(short, (), {"__module__": module})
    found = cls()
    found.__dict__.update(state)
    return found


@pytest.fixture
def pretend(monkeypatch):
    """Lets objects of packages that are not installed be pickled."""
    import sys

    def make(name: str, **state) -> object:
        module, _, short = name.rpartition(".")
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            part = ".".join(parts[:end])
            monkeypatch.setitem(sys.modules, part, types.ModuleType(part))
        found = of_module(name, **state)
        setattr(sys.modules[module], short, type(found))
        return found

    return make


def variants(value) -> list[bytes]:
    """All ways in which torch and Python pickle ``value``."""
    bare = [pickle.dumps(value, protocol=protocol) for protocol in range(6)]
    return [*bare, saved(value), saved(value, legacy=True)]


def metatrain(**changes) -> dict:
    return {
        "architecture_name": "pet",
        "model_ckpt_version": 11,
        "metadata": Payload(),
        "model_data": {"model_hypers": {"d_pet": 128}},
        "epoch": 3,
        "model_state_dict": OrderedDict(a=torch.zeros(2)),
        **changes,
    }


def test_a_checkpoint_of_metatrain() -> None:
    what = "a pickled checkpoint of metatrain (architecture pet, version 11)"
    for content in variants(metatrain()):
        assert describe(content) == ("pickle-metatrain", what, METATRAIN)


def test_a_checkpoint_of_metatrain_around_another() -> None:
    inside = metatrain(architecture_name="soap_bpnn")
    outside = {"architecture_name": "llpr", "wrapped_model_checkpoint": inside}
    what = "a pickled checkpoint of metatrain (architecture llpr, around soap_bpnn)"
    assert describe(saved(outside)) == ("pickle-metatrain", what, METATRAIN)


def test_texts_of_the_file_cannot_reach_the_terminal_as_they_are() -> None:
    name = "\x1b[31mpet\u202e" + "x" * 200
    _, what, _ = describe(saved(metatrain(architecture_name=name, model_ckpt_version=10**5000)))
    shown = "\\x1b[31mpet\\u202e" + "x" * 48 + "..."
    assert what == f"a pickled checkpoint of metatrain (architecture {shown})"


def test_checkpoints_of_lightning(pretend) -> None:
    content = {
        "epoch": 1,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": OrderedDict(a=torch.zeros(2)),
        "callbacks": {"x": Payload()},
        "hyper_parameters": {"model": {"_target_": "nequip.model.NequIPGNNModel"}},
    }
    what = "a pickled checkpoint of NequIP (PyTorch Lightning 2.5.0)"
    for one in variants(content):
        assert describe(one) == ("pickle-lightning", what, ANEW)
    content["hyper_parameters"] = {"model": {"_target_": "allegro.model.AllegroModel"}}
    what = "a pickled checkpoint of Allegro (PyTorch Lightning 2.5.0)"
    assert describe(saved(content)) == ("pickle-lightning", what, ANEW)
    content["hyper_parameters"] = {"config": pretend("schnetpack.Config")}
    what = "a pickled checkpoint of SchNetPack (PyTorch Lightning 2.5.0)"
    assert describe(saved(content)) == ("pickle-lightning", what, ANEW)
    del content["hyper_parameters"]
    what = "a pickled checkpoint (PyTorch Lightning 2.5.0)"
    assert describe(saved(content)) == ("pickle-lightning", what, ANEW)


def test_a_model_of_mace(pretend) -> None:
    model = pretend("mace.modules.models.ScaleShiftMACE", r_max=5.0, payload=Payload())
    what = "a pickled model of MACE (mace.modules.models.ScaleShiftMACE)"
    for content in variants(model):
        assert describe(content) == ("pickle-mace", what, ANEW)


def test_checkpoints_of_deepmd() -> None:
    content = {"model": {"_extra_state": {"model_params": {}}, "a": torch.zeros(2)}}
    expected = "pickle-deepmd-kit", "a pickled checkpoint of DeePMD-kit", ANEW
    assert describe(saved(content)) == expected
    graph = b"\n\x1c\n\x12descrpt_attr/ntypes\x12\x05Const*" + bytes(range(256))
    what = "a frozen model of DeePMD-kit (a TensorFlow graph, .pb)"
    assert describe(graph) == ("tensorflow-deepmd", what, ANEW)
    other = b"\n\x1c\n\x05input\x12\x0bPlaceholder*" + bytes(range(256))
    assert describe(other) == ("tensorflow", "a TensorFlow graph", ANEW)


def test_state_dicts() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    what = "a pickled state dict of torch (4 tensors, the first is 0.weight)"
    for content in variants(model.state_dict()):
        assert describe(content) == ("pickle-state-dict", what, ANEW)


def test_other_pickles() -> None:
    expected = "pickle", "a pickled checkpoint of another program", ANEW
    for value in ({"weights": Payload()}, [Payload(), 1], {}):
        for content in variants(value):
            assert describe(content) == expected
    odd = {1: torch.zeros(2), (2, 3): torch.zeros(2), None: 4}
    for content in variants(odd):
        assert describe(content) == expected
    for content in variants(Payload()):
        assert describe(content) == ("pickle-object", "a pickled object (posix.system)", ANEW)


def test_pickles_that_break_off_say_what_they_were() -> None:
    whole = pickle.dumps(metatrain(), protocol=4)
    what = "a pickled checkpoint of metatrain (architecture pet, version 11)"
    for size in range(100, len(whole)):
        assert describe(whole[:size]) == ("pickle-metatrain", what, METATRAIN)
    for size in range(2, 100):
        assert describe(whole[:size])[0].startswith("pickle")


def test_a_large_pickle_is_recognised_by_its_beginning() -> None:
    value = metatrain(padding=[b"x" * 1000] * 6000, many=list(range(400_000)))
    for protocol in (0, 1, 2, 5):
        content = pickle.dumps(value, protocol=protocol)
        assert len(content) > 2**20
        assert describe(content)[0] == "pickle-metatrain"


def test_archives_of_the_first_torch() -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:", format=tarfile.PAX_FORMAT) as archive:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            info = tarfile.TarInfo(name)
            info.size = 700
            archive.addfile(info, io.BytesIO(pickle.dumps(Payload()).ljust(700)))
    expected = "pickle-torch-tar", "a pickled checkpoint of torch 0.1", ANEW
    assert describe(stream.getvalue()) == expected
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:") as archive:
        archive.addfile(tarfile.TarInfo("model.ckpt"))
    assert describe(stream.getvalue()) == ("tar", "a tar archive", UNPACK)


def script(names: list[str]) -> bytes:
    """An archive with the records of a TorchScript file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps(Payload()))
        for name in names:
            archive.writestr(f"model/code/__torch__/{name}", "")
    return stream.getvalue()


def test_torchscript() -> None:
    stream = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Linear(1, 1), torch.ones(1)), stream)
    hint = "train anew from the data, or export it for metatomic"
    what = "a TorchScript model without the metatomic interface"
    assert describe(stream.getvalue()) == ("torchscript", what, hint)
    what = "a TorchScript model of DeePMD-kit without the metatomic interface"
    assert describe(script(["deepmd/pt/model/model.py"])) == ("torchscript", what, hint)
    hint = "give the model.ckpt that it was exported from"
    expected = "model", "an exported model (.pt)", hint
    assert describe(script(["torch/nn.py", "metatomic/torch/model.py"])) == expected
    assert describe(script(["metatensor/torch/atomistic/model.py"])) == expected


def archive_of(**records: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, text in records.items():
            archive.writestr(name, text)
    return stream.getvalue()


def test_other_archives() -> None:
    assert describe(archive_of(readme="hello")) == ("zip", "a zip archive", GIVE)
    what = "a zip archive, with run/model.ckpt in it"
    assert describe(archive_of(**{"run/model.ckpt": "x"})) == ("zip", what, UNPACK)
    what = "a package of torch.package, as NequIP writes them (.nequip.zip)"
    package = archive_of(**{"m/.data/extern_modules": "", "m/model/data.pkl": ""})
    assert describe(package) == ("pickle-package", what, ANEW)
    compiled = archive_of(**{"m/archive_format": "pt2"})
    assert describe(compiled) == ("pt2", "a compiled model of torch (.pt2)", ANEW)
    stream = io.BytesIO()
    np.savez(stream, a=np.zeros(2))
    expected = "npz", "a file of arrays of NumPy (.npz)", GIVE
    assert describe(stream.getvalue()) == expected
    own = "values", "a file of values as metatensor stores them (.mts)", READ_FROM
    assert describe(archive_of(**{"keys.npy": "", "blocks/0/values.npy": ""})) == own
    assert describe(archive_of()) == ("zip", "a zip archive", GIVE)


@pytest.mark.parametrize(
    ("content", "kind", "what", "hint"),
    [
        (b"", "empty", "an empty file", GIVE),
        (
            b"\0" * 5000,
            "zeros",
            "a file of zeros, as a crash can leave one behind",
            "copy it again, or use another checkpoint of the run",
        ),
        (b"abc", "unknown", "a file of an unknown kind (3 bytes)", GIVE),
        (b"\x01\x02" * 50, "unknown", "a file of an unknown kind (100 bytes)", GIVE),
        (b"\x89HDF\r\n\x1a\n....", "hdf5", "an HDF5 file", GIVE),
        (gzip.compress(b"hello", mtime=0), "gzip", "a file packed by gzip", UNPACK),
        (b"\x7fELF\x02\x01\x01", "elf", "a compiled program or library", GIVE),
        (
            b"\x08\x07\x12\x07pytorch\x1a\x052.5.0\x00\x01",
            "onnx",
            "an ONNX model",
            ANEW,
        ),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
            "lfs-pointer",
            "a pointer of git LFS in the place of a file that was not downloaded",
            "download it: git lfs pull",
        ),
        (
            b"<!DOCTYPE html>\n<html><body>404</body></html>",
            "html",
            "a web page (HTML)",
            "download it again: a server has sent a page in the place of the file",
        ),
        (
            b"seed: 1\narchitecture:\n  name: pet\n",
            "options",
            "a file of options (YAML)",
            "train with it: mtt train",
        ),
        (
            b'3\nLattice="1 0 0 0 1 0 0 0 1" Properties=species:S:1:pos:R:3\nO 0 0 0\n',
            "structures",
            "a file of structures (extended XYZ)",
            GIVE,
        ),
        (json.dumps({"a": list(range(20))}).encode(), "json", "a JSON file", GIVE),
        ("größer als alle anderen\n".encode() * 400, "text", "a text file", GIVE),
        (
            "some latin letters: ä".encode("latin-1"),
            "unknown",
            "a file of an unknown kind (21 bytes)",
            GIVE,
        ),
    ],
)
def test_files_of_all_kinds(content, kind, what, hint) -> None:
    assert describe(content) == (kind, what, hint)


def with_header(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def test_safetensors() -> None:
    other = "safetensors", "a safetensors file of another program", GIVE
    own = "checkpoint", "a checkpoint of mtt", GIVE
    assert describe(with_header(b'{"__metadata__":{"format":"pt"}}')) == other
    assert describe(with_header(b'{"__metadata__":[]}')) == other
    assert describe(with_header(b'{"a":' + b"[" * 100_000)) == other
    assert describe(with_header(b'{"__metadata__":{"mtt":"{}"}}')) == own
    assert describe(with_header(b'{ "a":{}, "__metadata__": {"mtt": "{}"}}')) == own
    # The length of this header begins with the two bytes that a pickle begins with.
    text = b'{"__metadata__":{"mtt":"{}"}}'.ljust(0x0280)
    assert with_header(text).startswith(b"\x80\x02")
    assert describe(with_header(text)) == own


def test_the_message() -> None:
    Path("a").write_bytes(saved(metatrain()))
    Path("b").write_bytes(b"\x89HDF\r\n\x1a\n....")
    assert str(recognize.describe(Path("a")).refusal(Path("a"))) == (
        "this is a pickled checkpoint of metatrain (architecture pet, version 11); it is not loaded, "
        f"because loading a pickle runs whatever code is in it\n  where: a\n  hint: {METATRAIN}"
    )
    assert str(recognize.describe(Path("b")).refusal(Path("b"), "a checkpoint")) == (
        f"this is an HDF5 file, not a checkpoint\n  where: b\n  hint: {GIVE}"
    )


def ending(entries: int, size: int) -> bytes:
    """The end of an archive that claims a directory of that many entries and bytes."""
    return struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, entries, entries, size, 4, 0)


def test_archives_that_claim_too_much() -> None:
    """Directories and records that would take the memory are not read."""
    start = time.process_time()
    too_large = "a zip archive that cannot be read (its directory is too large to be looked at)"
    hint = "copy it again: the archive is not whole"
    content = b"PK\x03\x04" + b"\0" * 2**23 + ending(65535, 2**23)
    assert describe(content) == ("zip-damaged", too_large, hint)
    assert describe(b"PK\x03\x04" + ending(65535, 2**31))[0] == "zip-damaged"
    bomb = io.BytesIO()
    with (
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a/data.pkl", "w") as record,
    ):
        record.write(pickle.dumps(metatrain(), protocol=2))
        for _ in range(300):
            record.write(b"\0" * 2**20)
    assert len(bomb.getvalue()) < 2**21
    assert describe(bomb.getvalue())[0] == "pickle-metatrain"
    with bounded_zip.opened(Path("file")) as opened:
        assert len(bounded_zip.read(opened, "a/data.pkl", 10**6)) == 10**6
    assert time.process_time() - start < 5


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_records_that_unpack_without_a_bound_are_left_alone(method) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr("a/data.pkl", b"\0" * 2**22)
    kind, what, _ = describe(stream.getvalue())
    assert kind == "zip-damaged"
    assert what == (
        "a zip archive that cannot be read (its record a/data.pkl is packed in an unusual way)"
    )


def test_an_archive_with_a_password() -> None:
    raw = bytearray(archive_of(**{"a/data.pkl": "x"}))
    raw[6] |= 1
    raw[raw.find(b"PK\x01\x02") + 8] |= 1
    what = "a zip archive that cannot be read (its record a/data.pkl is damaged)"
    assert describe(bytes(raw))[:2] == ("zip-damaged", what)


def test_a_record_that_is_nowhere() -> None:
    """Its place is a number of 64 bits that no file system can seek to; its name is for a terminal."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("\x1b[2J/data.pkl", "x")
    raw = stream.getvalue()
    begin, end = raw.find(b"PK\x01\x02"), raw.find(b"PK\x05\x06")
    extra = struct.pack("<HHQ", 1, 8, 2**64 - 5)
    entry = bytearray(raw[begin:end])
    struct.pack_into("<H", entry, 30, len(extra))
    struct.pack_into("<L", entry, 42, 0xFFFFFFFF)
    content = raw[:begin] + entry + extra + ending(1, end - begin + len(extra))[:16]
    content += struct.pack("<LH", begin, 0)
    kind, what, _ = describe(content)
    assert kind == "zip-damaged"
    assert what == ("a zip archive that cannot be read (its record \\x1b[2J/data.pkl is damaged)")


HOSTILE = [
    b"\x80\x02" + b"]" * 3_000_000 + b".",
    b"\x80\x02" + b"(" * 3_000_000 + b".",
    b"\x80\x02]" + b"\x85" * 190_000 + b".",
    b"\x80\x02]" + b"2\x86" * 90_000 + b".",
    b"\x80\x02X\xff\xff\xff\x7fabc",
    b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fabc",
    b"\x80\x02\x8b\xff\xff\xff\x7f",
    b"\x80\x02I" + b"9" * 100_000 + b"\n.",
    b"\x80\x02r\xff\xff\xff\x7f.",
    b"\x80\x02]q\x00h\x00a.",
    b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",
    b"\x80\x02R.",
    b"\x80\x02)\x81b0000e u.",
    b"\x80\x02NNb.",
    b"\x80\x02(cos\nsystem\nX\x09\x00\x00\x00touch ranoN.",
    b"(S'touch ran'\nios\nsystem\n.",
    b"\x80\x02cos\nsystem\nX\x09\x00\x00\x00touch ran\x85R.",
    b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x09touch ran\x85R.",
]


@pytest.mark.parametrize("content", HOSTILE)
def test_hostile_pickles_end_soon_and_run_nothing(content) -> None:
    start = time.process_time()
    kind, what, hint = describe(content)
    assert time.process_time() - start < 3
    assert kind.startswith("pickle") and len(what) < 120 and hint == ANEW


def test_random_damage_is_always_described() -> None:
    """Bytes changed, cut out or repeated in files of all kinds: a description, and soon."""
    dice = random.Random(1)
    originals = [
        *variants(metatrain()),
        archive_of(**{"a/data.pkl": "x", "b": "y" * 100}),
        with_header(b'{"__metadata__":{"mtt":"{}"}}'),
        b"seed: 1\narchitecture:\n  name: pet\n",
    ]
    start = time.process_time()
    for _ in range(600):
        content = bytearray(dice.choice(originals))
        for _ in range(dice.randrange(1, 4)):
            place = dice.randrange(min(len(content), 400) or 1)
            change = dice.randrange(3)
            if change == 0:
                content[place : place + 1] = dice.randbytes(1)
            elif change == 1:
                del content[place : place + dice.randrange(1, 30)]
            else:
                content[place:place] = content[place : place + dice.randrange(1, 30)]
        kind, what, hint = describe(bytes(content))
        assert kind and what.isprintable() and len(what) < 200 and hint
    assert time.process_time() - start < 20


def test_what_a_pickle_would_build_is_data() -> None:
    """Against the real thing: containers, numbers and texts come out as they went in."""
    value = {"a": [1, -2.5, None, True], "b": {"c": "text", "d": 10**30}, "e": b"bytes" * 100}
    for protocol in range(3, 6):
        found = inert_pickle.read(io.BytesIO(pickle.dumps(value, protocol=protocol)))
        assert found.complete and found.root == value
    shared = ["x"]
    found = inert_pickle.read(io.BytesIO(pickle.dumps({"p": shared, "q": shared, "r": (1, 2)})))
    assert found.root["p"] is found.root["q"] and found.root["r"] == [1, 2]


def test_torch_is_not_imported() -> None:
    import subprocess
    import sys

    Path("a").write_bytes(saved(metatrain()))
    code = (
        "import sys; from pathlib import Path; from mtt.filetypes import recognize; "
        "print(recognize.describe(Path('a')).kind); "
        "print([name for name in ('torch', 'numpy', 'pydantic', 'rich') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "pickle-metatrain\n[]\n"
