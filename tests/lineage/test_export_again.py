"""A model is its checkpoint's export byte by byte, or a link of the chain is broken; it is never run."""

import dataclasses
import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest
from command import mtt
from safetensors.numpy import load, save

from mtt import checkpoint as checkpoints
from mtt.canonical import canonical_json
from mtt.export import process, provenance
from mtt.export.add_metadata import with_metadata
from mtt.export.archive_edit import with_record
from mtt.files import sha256_of
from mtt.lineage import chain
from mtt.options import Metadata

MODEL, CHECKPOINT = Path("model.pt"), Path("model.ckpt")
PACK = "extra/mtt/golden.safetensors"


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a model, its checkpoint and its statement."""
    for name in ("model.ckpt", "model.pt", "model.pt.intoto.json"):
        shutil.copy(trained / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def change(content: bytes) -> None:
    """Replace the model, and let its statement follow, as whoever wants to deceive does."""
    before = sha256_of(MODEL)
    MODEL.write_bytes(content)
    provenance.restate(MODEL, before, sha256_of(MODEL))


def records() -> dict[str, bytes]:
    with zipfile.ZipFile(MODEL) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def links() -> dict[str, chain.Link]:
    return {link.name: link for link in chain.check(chain.Given(MODEL, CHECKPOINT))}


def export_link() -> chain.Link:
    """The link to the export; every other one must be none the wiser."""
    found = links()
    assert all(link.state != "broken" for name, link in found.items() if name != chain.EXPORT)
    return found[chain.EXPORT]


def test_an_export_is_found_to_be_one(folder: Path) -> None:
    link = export_link()
    size = MODEL.stat().st_size
    assert link == chain.Link(
        "export -> model", "verified", f"exported once more: all {size} bytes are the same"
    )


def test_only_the_checkpoint_is_given_to_a_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = []
    monkeypatch.setattr(process, "run", lambda task: tasks.append(task) or MODEL.read_bytes())
    assert export_link().state == "verified"
    assert tasks == [process.Task(CHECKPOINT, "best", None, True, record=None)]


def test_code_that_multiplies_breaks_the_link(folder: Path) -> None:
    """Weights, provenance and statement are as they were: only the code computes something else."""
    name, code = next(
        (name, text)
        for name, text in records().items()
        if name.endswith(".py") and b"torch.mul(" in text
    )
    changed = code.replace(b"torch.mul(", b"torch.mul(1.5, ", 1)
    change(with_record(MODEL.read_bytes(), name, changed))
    link = export_link()
    assert link.state == "broken"
    assert link.why == f"the checkpoint exports to another model: {name} differ"
    words = ["show", "--chain", "model.pt", "--ckpt", "model.ckpt"]
    from mtt.__main__ import main

    assert main(words) == 3


@pytest.mark.parametrize("name", ["constants.pkl", "data.pkl", "extra/extensions", "version"])
def test_any_other_record_too(folder: Path, name: str) -> None:
    change(with_record(MODEL.read_bytes(), name, records()[name] + b" "))
    link = export_link()
    assert (link.state, link.why) == (
        "broken",
        f"the checkpoint exports to another model: {name} differ",
    )


def test_records_that_are_not_in_an_export(folder: Path) -> None:
    change(with_record(MODEL.read_bytes(), "code/more.py", b"x = 1"))
    assert export_link().why == "the checkpoint exports to another model: code/more.py differ"


def test_bytes_between_records(folder: Path) -> None:
    """All records are the same; another reader might find others in this archive."""
    content, pack = MODEL.read_bytes(), records()[PACK]
    change(with_record(content, PACK, pack))
    assert MODEL.read_bytes() != content
    link = export_link()
    assert link.state == "broken"
    assert "the same records in another archive" in link.why


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("mtt", "9.9", "mtt was 9.9, and is "),
        ("exported_in", "sha256:1", "the image was sha256:1, and is none here"),
    ],
)
def test_another_environment_is_never_a_pass(folder: Path, key: str, value: str, why: str) -> None:
    record = provenance.read_record(MODEL) or {}
    Path("model.pt.intoto.json").unlink()
    text = canonical_json({**record, key: value})
    change(with_record(MODEL.read_bytes(), provenance.RECORD, text.encode()))
    link = export_link()
    assert link.state == "not checked" and why in link.why


def test_another_torch_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = checkpoints.package_versions
    monkeypatch.setattr(
        checkpoints, "package_versions", lambda name: {**real(name), "torch": "9.9"}
    )
    link = export_link()
    assert link.state == "not checked"
    assert link.why == (
        "only the same environment exports the same bytes: torch was "
        f"{real()['torch']}, and is 9.9 here"
    )


@pytest.mark.parametrize(
    "changes", [{"weights": "none"}, {"metadata": {"authors": 3}}, {"metadata": []}]
)
def test_a_record_that_no_export_has(folder: Path, changes: dict[str, object]) -> None:
    record = {**(provenance.read_record(MODEL) or {}), **changes}
    change(with_record(MODEL.read_bytes(), provenance.RECORD, canonical_json(record).encode()))
    assert links()[chain.EXPORT].state == "broken"


@pytest.mark.parametrize(("size", "state"), [(1e-13, "verified"), (1e-3, "broken")])
def test_last_bits_of_the_golden_pack(folder: Path, size: float, state: str) -> None:
    """References depend on the processor in their last bits: that alone is no tampering."""
    pack = records()[PACK]
    length = 8 + int.from_bytes(pack[:8], "little")
    numbers = load(pack)
    name = next(name for name, array in numbers.items() if "energy" in name and array.size)
    numbers[name] = numbers[name] + size * max(1.0, float(abs(numbers[name]).max()))
    changed = save(numbers)
    body = changed[8 + int.from_bytes(changed[:8], "little") :]
    change(with_record(MODEL.read_bytes(), PACK, pack[:length] + body))
    link = export_link()
    assert link.state == state
    expected = "the same but last bits of the golden pack" if state == "verified" else PACK
    assert expected in link.why


@pytest.mark.parametrize(("key", "state"), [("rotations", "verified"), ("systems", "broken")])
def test_a_pack_that_does_not_say_how_it_turns(folder: Path, key: str, state: str) -> None:
    """Older versions did not write that into the header; all else there counts."""
    pack = records()[PACK]
    length = 8 + int.from_bytes(pack[:8], "little")
    head = json.loads(pack[8:length])
    about = {**json.loads(head["__metadata__"]["mtt"]), key: "exact"}
    head["__metadata__"]["mtt"] = canonical_json(about)
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    changed = len(text).to_bytes(8, "little") + text + pack[length:]
    change(with_record(MODEL.read_bytes(), PACK, changed))
    assert export_link().state == state


def test_an_export_of_another_kind_of_processor(folder: Path) -> None:
    environment = {"ATEN_CPU_CAPABILITY": "default"}
    mtt(folder, "export", "model.ckpt", "-o", "other.pt", "--no-verify", **environment)
    os.replace("other.pt", MODEL)
    Path("model.pt.intoto.json").unlink()
    assert export_link().state == "verified"


def test_metadata_of_later_are_allowed_and_said(folder: Path) -> None:
    Path("model.pt.intoto.json").unlink()
    change(with_metadata(MODEL, Metadata.model_validate({"name": "a new name"})))
    link = export_link()
    assert link.state == "verified"
    assert link.why == "exported once more: the same but its metadata, which are of later"


def test_code_is_seen_under_new_metadata(folder: Path) -> None:
    Path("model.pt.intoto.json").unlink()
    change(with_metadata(MODEL, Metadata.model_validate({"name": "a new name"})))
    change(with_record(MODEL.read_bytes(), "constants.pkl", records()["constants.pkl"] + b" "))
    assert export_link().state == "broken"


def test_the_note_of_an_image_is_allowed(folder: Path) -> None:
    note = json.dumps({"image": "pet@3"}).encode()
    change(with_record(MODEL.read_bytes(), "extra/mtt/image.json", note))
    assert export_link().state == "verified"


def test_an_export_of_an_older_mtt(folder: Path) -> None:
    """Its checkpoint and its provenance say nothing about the conditions of the training."""
    header, tensors = checkpoints.read(CHECKPOINT)
    checkpoints.write(CHECKPOINT, dataclasses.replace(header, conditions=[]), tensors)
    Path("model.pt.intoto.json").unlink()
    mtt(folder, "export", "model.ckpt", "--no-verify")
    Path("model.pt.intoto.json").unlink()
    record = provenance.read_record(MODEL) or {}
    assert record.pop("conditions") == []
    MODEL.write_bytes(process.run(process.Task(CHECKPOINT, "best", None, False, record)))
    link = export_link()
    assert link.state == "verified" and "without conditions" in link.why
    del record["history"]
    MODEL.write_bytes(process.run(process.Task(CHECKPOINT, "best", None, False, record)))
    assert export_link().state == "broken"
