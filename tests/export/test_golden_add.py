"""Adding systems to the golden pack of a file: what is kept, where references come from, what is refused."""

import os
import zipfile
from pathlib import Path

import ase
import ase.io
import pytest
import torch
from metatomic.torch import System
from small_pet import checkpoint_of_pet, export_pet
from toy_models import Embedded, Pair, export_toy

from mtt.errors import UserError, VerificationFailed
from mtt.export import golden_add, golden_pack
from mtt.export.archive_edit import NotAnArchive, with_record
from mtt.export.golden_pack import GoldenPack
from mtt.verify import run as stage

GOLDEN = "extra/mtt/golden.safetensors"


@pytest.fixture(scope="module")
def systems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``my.xyz``: a molecule and a crystal."""
    try:
        stage.program()
    except UserError as error:
        pytest.skip(str(error))
    path = tmp_path_factory.mktemp("systems") / "my.xyz"
    water = ase.Atoms("OHH", [[0, 0, 0], [0.76, 0.59, 0.02], [-0.75, 0.6, 0.0]])
    cell = [[4.0, 0, 0], [0.5, 4.0, 0], [0, 0, 4.2]]
    places = [[0, 0, 0], [1.9, 0.1, 0], [0.1, 2, 0.2], [1.8, 1.9, 2.1]]
    ase.io.write(path, [water, ase.Atoms("CuCOH", places, cell=cell, pbc=True)])
    return path


def records(path: Path) -> dict[str, bytes]:
    """All records of a file but the golden pack, in order."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {n: archive.read(n) for n in archive.namelist() if not n.endswith(GOLDEN)}


def pack(path: Path) -> tuple[dict[str, object], dict[str, torch.Tensor]]:
    """The header of a golden pack and its tensors."""
    with zipfile.ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(GOLDEN)]
        content = archive.read(name)
    # The tensors have the names of format 2, whatever the format of the file.
    return golden_pack.read_contents(content), dict(GoldenPack.parse(content).tensors)


def places(path: Path) -> dict[str, int]:
    with zipfile.ZipFile(path) as archive:
        return {one.filename: one.header_offset % 64 for one in archive.infolist()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_model_of_others_gets_a_pack(systems: Path, tmp_path: Path, dtype: str) -> None:
    model = export_toy(tmp_path / "model.pt", "embedded", dtype, golden=False)
    before = model.read_bytes()
    assert golden_add.run(model, systems, tmp_path / "new.pt") == 2
    assert model.read_bytes() == before
    new = tmp_path / "new.pt"
    assert list(records(new).items()) == list(records(model).items())
    kept = places(model)
    assert {name: place for name, place in places(new).items() if name in kept} == kept
    header, tensors = pack(new)
    assert header["systems"] == ["my-0", "my-1"]
    # The interactions of the toys run in float64 whatever the file's dtype is.
    assert header["references"] == ["model float64", "model float64"]
    assert header["dtype"] == "float64"
    assert header["format"] == 2
    atoms, total = tensors["1/energy/atoms"], tensors["1/energy/total"]
    assert atoms.sum().item() == pytest.approx(total.item())
    report = stage.verify(new, only=["PARITY"])
    assert report.passed and report.golden_pack
    assert {name for check in report.checks for name in check.systems} == {"my-0", "my-1"}


def test_pack_grows_and_old_references_stay(systems: Path, tmp_path: Path) -> None:
    model = export_toy(tmp_path / "model.pt", "pair")
    header, tensors = pack(model)
    count = len(header["systems"])  # type: ignore[arg-type]
    kept, before = records(model), places(model)
    assert golden_add.run(model, systems, model) == count + 2
    assert golden_add.run(model, systems, model) == count + 4
    assert records(model) == kept
    # The pack was the first record: all others have moved, by multiples of 64 bytes.
    after = places(model)
    assert {n: after[n] for n in kept} == {n: before[n] for n in kept}
    again, more = pack(model)
    assert again["systems"] == [*header["systems"], "my-0", "my-1", "my-2", "my-3"]  # type: ignore[misc]
    assert again["references"] == ["checkpoint"] * count + ["model float64"] * 4
    assert all(torch.equal(more[key], value) for key, value in tensors.items())
    assert torch.equal(more[f"{count}/energy/forces"], more[f"{count + 2}/energy/forces"])


def test_references_of_the_checkpoint_are_better(systems: Path, tmp_path: Path) -> None:
    checkpoint = checkpoint_of_pet(tmp_path, precision=32)
    model = export_pet(checkpoint, tmp_path / "pet.pt")
    new = tmp_path / "new.pt"
    golden_add.run(model, systems, new, checkpoint=checkpoint)
    header, tensors = pack(new)
    assert set(header["references"]) == {"checkpoint"}  # type: ignore[arg-type]
    golden_add.run(model, systems, tmp_path / "own.pt")
    _, own = pack(tmp_path / "own.pt")
    last = len(header["systems"]) - 1  # type: ignore[arg-type]
    difference = (tensors[f"{last}/energy/forces"] - own[f"{last}/energy/forces"]).abs().max()
    assert difference < 1e-5
    other = export_toy(tmp_path / "other.pt", "pair")
    with pytest.raises(UserError) as error:
        golden_add.run(other, systems, tmp_path / "x.pt", checkpoint=checkpoint)
    assert str(error.value) == (
        f"the model was not exported from this checkpoint: {checkpoint}\n"
        f"  where: {other}\n"
        "  hint: give the right one, or none: references then come from the model itself"
    )


def test_units_of_the_structures_are_converted(systems: Path, tmp_path: Path) -> None:
    model = export_toy(tmp_path / "model.pt", "pair", golden=False)
    scaled = ase.io.read(systems, ":")
    for atoms in scaled:
        atoms.set_cell(0.1 * atoms.cell.array, scale_atoms=False)
        atoms.positions *= 0.1
    ase.io.write(tmp_path / "my.xyz", scaled)
    golden_add.run(model, systems, tmp_path / "a.pt")
    golden_add.run(model, tmp_path / "my.xyz", tmp_path / "b.pt", length_unit="nm")
    first, second = (pack(tmp_path / name)[1] for name in ("a.pt", "b.pt"))
    torch.testing.assert_close(
        first["1/energy/forces"], second["1/energy/forces"], rtol=0, atol=1e-5
    )


class Drifting(Embedded):
    """Adds a random number: what it computes is not what it gave before."""

    def anchor(self, system: System) -> torch.Tensor:
        return 0.0 * system.positions.sum().to(torch.float64) + 0.01 * torch.rand(1).sum()


def test_nothing_is_written_that_does_not_verify(systems: Path, tmp_path: Path) -> None:
    model = export_toy(tmp_path / "model.pt", Drifting, golden=False)
    before = model.read_bytes()
    with pytest.raises(VerificationFailed, match=r"model\.pt failed .*PARITY/energy"):
        golden_add.run(model, systems, model)
    assert model.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.pt"]


def test_what_cannot_be_added_is_said(systems: Path, tmp_path: Path) -> None:
    model = export_toy(tmp_path / "model.pt", "pair")
    ase.io.write(tmp_path / "gold.xyz", ase.Atoms("Au"))
    with pytest.raises(UserError) as error:
        golden_add.run(model, tmp_path / "gold.xyz", tmp_path / "x.pt")
    assert str(error.value) == (
        "atom 0 has the atomic type 79 (Au), which the model does not know\n"
        f"  where: {tmp_path / 'gold.xyz'}#0\n"
        "  hint: the model knows 1 (H), 6 (C), 8 (O), 29 (Cu)"
    )
    (tmp_path / "text.pt").write_text("no archive")
    with pytest.raises(UserError) as error:
        golden_add.run(tmp_path / "text.pt", systems, tmp_path / "x.pt")
    assert str(error.value) == (
        "this is no exported model: file is not a zip file\n"
        f"  where: {tmp_path / 'text.pt'}\n"
        f"  hint: 'mtt verify {tmp_path / 'text.pt'}' says more"
    )
    assert not (tmp_path / "x.pt").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06", b"PK\x05\x06" + b"\xff" * 18, b"x" * 100])
def test_damaged_archives_are_refused(content: bytes) -> None:
    with pytest.raises(NotAnArchive):
        with_record(content, "a", b"")


def test_every_cut_of_an_archive_is_refused_or_read(tmp_path: Path) -> None:
    path = tmp_path / "small.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/a", b"1")
        archive.writestr("m/b", b"2" * 100)
    content = path.read_bytes()
    for size in range(len(content)):
        with pytest.raises(NotAnArchive):
            with_record(content[:size], "c", b"3")
    path.write_bytes(with_record(content, "a", b"longer"))
    with zipfile.ZipFile(path) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    assert found == {"m/a": b"longer", "m/b": b"2" * 100}


def test_a_pack_from_one_model_fails_in_another(systems: Path, tmp_path: Path) -> None:
    one = export_toy(tmp_path / "one.pt", Pair, golden=False)
    other = export_toy(tmp_path / "other.pt", Embedded, golden=False)
    golden_add.run(one, systems, tmp_path / "new.pt")
    with zipfile.ZipFile(tmp_path / "new.pt") as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(GOLDEN)]
        stolen = archive.read(name)
    (tmp_path / "mixed.pt").write_bytes(with_record(other.read_bytes(), GOLDEN, stolen))
    report = stage.verify(tmp_path / "mixed.pt", only=["PARITY"])
    assert "PARITY/forces" in [check.full_name for check in report.failures]
