"""Data sets as metatrain packs them: archives of structures, and files of values."""

import io
import logging
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import metatensor.torch as mts
import numpy as np
import pytest
import torch
from metatensor.torch import Labels, TensorMap
from packed_files import (
    energy_map,
    numbered,
    packed_values,
    plain_map,
    spherical_map,
    write_packed,
    write_values,
)
from small_runs import write_data

from mtt.data.frames import read_all
from mtt.data.read_files import read_plain, read_structures
from mtt.data.structure import Structure
from mtt.errors import UserError
from mtt.inspect import data_reading
from mtt.options import DatasetOptions

SHAPE = {"per": "atom", "type": "spherical", "irreps": [{"o3_lambda": 0}, {"o3_lambda": 2}]}
TARGETS: dict[str, Any] = {
    "energy": {"forces": {"key": "forces"}, "stress": {"key": "stress", "missing": "allow"}},
    "energy/pbe": {"key": "pbe", "forces": {"key": "pbe_forces"}},
    "mtt::charges": {"per": "atom"},
    "mtt::dipole": {"type": "vector"},
    "mtt::alpha": {"type": "matrix"},
    "mtt::shape": SHAPE,
    "non_conservative_force": {"key": "forces"},
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    write_data(folder / "data.xyz", several=True)
    write_packed(folder / "packed.zip", ase.io.read(folder / "data.xyz", ":"))
    return folder


@pytest.fixture
def frames(written: Path) -> list[ase.Atoms]:
    return ase.io.read(written / "data.xyz", ":")


@pytest.fixture
def packed(written: Path, tmp_path: Path) -> Path:
    shutil.copytree(written, tmp_path / "data")
    return tmp_path / "data" / "packed.zip"


def structures(path: Path, targets: Any, **others: Any) -> list[Structure]:
    content = {"systems": {"read_from": str(path)}, "targets": targets, **others}
    return read_structures(DatasetOptions.model_validate(content))


def check_same(ours: list[Structure], theirs: list[Structure]) -> None:
    assert len(ours) == len(theirs) == 12
    for one, other in zip(ours, theirs, strict=True):
        assert one.types.tolist() == other.types.tolist() and one.pbc.tolist() == other.pbc.tolist()
        np.testing.assert_array_equal(one.positions, other.positions)
        np.testing.assert_array_equal(one.cell, other.cell)
        assert one.references.keys() == other.references.keys()
        for name, reference in one.references.items():
            expected = other.references[name]
            np.testing.assert_array_equal(reference.values, expected.values)
            for part in ("forces", "stress"):
                values, others = (getattr(each, part) for each in (reference, expected))
                assert (values is None) == (others is None)
                if values is not None:
                    np.testing.assert_allclose(values, others, rtol=1e-12, atol=1e-15)


def test_an_archive_has_what_the_file_of_structures_has(packed: Path) -> None:
    plain = structures(packed.parent / "data.xyz", TARGETS)
    own = {**TARGETS, "energy/pbe": {"key": "pbe", "forces": {"key": "pbe/forces"}}}
    check_same(structures(packed, own), plain)
    assert any(one.references["energy"].stress is not None for one in plain)
    assert any(one.references["energy"].stress is None for one in plain)


def test_files_of_values_have_them_too(packed: Path, frames: list[ase.Atoms]) -> None:
    """Each has one target, whose key nobody needs; structures are from another file."""
    values = packed_values(frames)
    folder = packed.parent
    mixed = {
        **TARGETS,
        "energy": {"forces": {"key": "forces"}, "virial": {"key": "virial", "missing": "allow"}},
        "energy/pbe": {"key": "pbe", "forces": {"key": "forces"}},
    }
    names = {"energy/pbe": "pbe", "mtt::dipole": "dipole", "mtt::alpha": "alpha"}
    for index, (name, target) in enumerate(mixed.items()):
        own = names.get(name, "forces" if "force" in name else name)
        written = values[own]
        mixed[name] = {
            **target,
            "read_from": str(write_values(folder / f"{index}.mts", written)),
        }
    expected = structures(folder / "data.xyz", TARGETS)
    check_same(structures(folder / "data.xyz", mixed), expected)
    check_same(structures(packed, mixed), expected)


def test_gradients_are_used_where_they_are_and_left_out_where_that_is_said(
    packed: Path, frames: list[ase.Atoms], caplog: Any
) -> None:
    caplog.set_level(logging.INFO)
    one = structures(packed, {"energy": {}})[2].references["energy"]
    assert one.forces is not None and one.stress is not None
    off = structures(packed, {"energy": {"forces": False, "stress": False, "virial": False}})
    assert all(each.references["energy"].forces is None for each in off)
    assert all(each.references["energy"].stress is None for each in off)
    with pytest.raises(UserError, match="4 of 12 structures|8 of 12 structures"):
        structures(packed, {"energy": {"stress": {"key": "stress"}}})
    plain = [energy_map(1.0, None) for _ in frames]
    path = write_packed(packed.parent / "bare.zip", frames, {"energy": plain})
    assert structures(path, {"energy": {}})[0].references["energy"].forces is None
    with pytest.raises(UserError, match="forces were asked for"):
        structures(path, {"energy": {"forces": {"key": "forces"}}})


def test_blocks_are_put_in_the_order_of_the_target(packed: Path) -> None:
    turned = {**SHAPE, "irreps": [{"o3_lambda": 2}, {"o3_lambda": 0}]}
    ours = structures(packed, {"mtt::shape": SHAPE})[1].references["mtt::shape"].values
    other = structures(packed, {"mtt::shape": turned})[1].references["mtt::shape"].values
    np.testing.assert_array_equal(ours, np.concatenate([other[:, 5:], other[:, :5]], axis=1))


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("mtt::shape", {"per": "atom", "properties": 6}),
        ("mtt::shape", {**SHAPE, "irreps": [{"o3_lambda": 0, "o3_sigma": -1}, {"o3_lambda": 2}]}),
        ("mtt::shape", {**SHAPE, "irreps": [{"o3_lambda": 0}]}),
        ("mtt::dipole", {"type": "spherical", "irreps": [{"o3_lambda": 1}]}),
        ("mtt::dipole", {"properties": 3}),
        ("mtt::dipole", {"per": "atom"}),
        ("mtt::charges", {"properties": 3}),
        ("mtt::alpha", {"type": "vector", "properties": 3}),
    ],
)
def test_values_of_another_kind_are_refused(packed: Path, name: str, target: Any) -> None:
    with pytest.raises(UserError) as caught:
        structures(packed, {name: target})
    assert "; the target is" in str(caught.value) and "packed.zip#0" in str(caught.value)


def test_values_that_are_missing_are_not_made_up(packed: Path, frames: list[ase.Atoms]) -> None:
    """metatrain has NaN for what it does not know."""
    values = packed_values(frames)
    values["dipole"][3] = plain_map(np.full((1, 3, 1), np.nan))
    path = write_packed(packed.parent / "gap.zip", frames, values)
    with pytest.raises(UserError) as caught:
        structures(path, {"mtt::dipole": {"type": "vector"}})
    assert caught.value.what == (
        "the value under the key 'dipole' is NaN, which counts as missing, in 1 of 12 structures"
    )
    assert caught.value.where == f"{path}#3 (counted from 0)"
    assert caught.value.hint == (
        "write the numbers into the data; 'missing: allow' learns it from the others"
    )
    own = structures(path, {"mtt::dipole": {"type": "vector", "missing": "allow"}})
    assert (
        "mtt::dipole" not in own[3].references
        or np.isnan(own[3].references["mtt::dipole"].values).all()
    )
    values["dipole"][3] = plain_map(np.array([[[1.0], [np.nan], [0.0]]]))
    path = write_packed(packed.parent / "hole.zip", frames, values)
    with pytest.raises(UserError, match="there is nan"):
        structures(path, {"mtt::dipole": {"type": "vector", "missing": "allow"}})


def test_charge_and_spin_are_read_as_well(packed: Path, frames: list[ase.Atoms]) -> None:
    values: dict[str, Any] = {"energy": packed_values(frames)["energy"]}
    for name, number in (("charge", -1.0), ("spin_multiplicity", 2.0)):
        values[name] = [plain_map(np.full((1, 1), number)) for _ in frames]
    path = write_packed(packed.parent / "states.zip", frames, values)
    extra = {"charge": {"key": "charge"}, "spin_multiplicity": {"key": "spin_multiplicity"}}
    assert {one.state for one in structures(path, {"energy": {}}, extra_data=extra)} == {(-1, 2)}


def test_an_archive_is_read_where_files_are(packed: Path) -> None:
    assert len(read_plain(packed)) == len(read_all(packed)) == 12
    (shown,) = data_reading.read(packed, {})
    assert shown.frames == 12 and shown.taken == {"energy": "energy", "forces": "energy/forces"}
    assert {"dipole", "mtt::charges", "charges", "energy/strain"} <= shown.keys.keys()


Change = Callable[[dict[str, bytes]], Any]


def rewritten(path: Path, change: Change, packing: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    change(records)
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    return path


def inner(record: str, change: Change, packing: int = zipfile.ZIP_STORED) -> Change:
    """Change records of an archive within the archive."""

    def changed(records: dict[str, bytes]) -> None:
        wrapped = records[record].startswith(b"\x93NUMPY")
        content = np.load(io.BytesIO(records[record])).tobytes() if wrapped else records[record]
        stream = io.BytesIO()
        with (
            zipfile.ZipFile(io.BytesIO(content)) as archive,
            zipfile.ZipFile(stream, "w", packing) as other,
        ):
            own = {name: archive.read(name) for name in archive.namelist()}
            change(own)
            for name, part in own.items():
                other.writestr(name, part)
        records[record] = stream.getvalue()

    return changed


def array(values: Any, dtype: Any = None) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(values, dtype), allow_pickle=True)
    return stream.getvalue()


def header(shape: str, kind: str = "<f8") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\1\0v\0" + text.encode()


def put(name: str, content: bytes) -> Change:
    return lambda records: records.update({name: content})


def values_map(values: TensorMap) -> bytes:
    return mts.save_buffer(values).numpy().tobytes()


E = "blocks/0/"
DAMAGES: list[tuple[Change, str]] = [
    (lambda records: records.pop("3/system.mta"), "no 3/system.mta"),
    (lambda records: records.pop("0/energy.mts"), "no energy is stored"),
    (put("../../outside.mts", b""), "leads elsewhere"),
    (put("/etc/0/energy.mts", b""), "leads elsewhere"),
    (put("0\\..\\x.mts", b""), "leads elsewhere"),
    (put("99999999999999999999/system.mta", b""), "is not how structures are counted"),
    (put("00/system.mta", b""), "00 is not how structures are counted"),
    (put("20/energy.mts", b""), "no 12/system.mta"),
    (put("1/energy.mts", b""), "no archive of arrays"),
    (put("1/energy.mts", array([1.0])), "it holds float64, and not bytes"),
    (put("1/energy.mts", array([{}], object)), "it holds object, and not numbers"),
    (put("1/energy.mts", header("(99999999999999,)", "|u1")), "does not have 0 bytes"),
    (put("1/system.mta", b"PK\5\6" + bytes(18)), "no record types.npy"),
    (inner("1/system.mta", put("types.npy", array([1, 1]))), "for 2 atoms"),
    (inner("0/system.mta", put("types.npy", array([1, 1, 300]))), "the atomic number 300"),
    (inner("0/system.mta", put("types.npy", array([1, 1, -1]))), "the atomic number -1"),
    (inner("0/system.mta", put("types.npy", array(1))), "for 0 atoms"),
    (inner("0/system.mta", put("pbc.npy", array([1.0, 1.0, 1.0]))), "pbc is float64"),
    (
        inner("0/system.mta", put("cell.npy", array([1.0, 1.0, 1.0]))),
        "cell is float64 of the shape",
    ),
    (inner("0/system.mta", put("positions.npy", header("(3, 3)"))), "does not have 0 bytes"),
    (inner("0/system.mta", put("positions.npy", header("(-3, -3)"))), "it has the shape (-3, -3)"),
    (
        inner("0/system.mta", put("positions.npy", header("(True, 3)"))),
        "it has the shape (True, 3)",
    ),
    (inner("0/system.mta", put("positions.npy", b"\x93NUMPY")), "no array of NumPy"),
    (inner("0/system.mta", lambda _: None, zipfile.ZIP_DEFLATED), "is packed"),
    (inner("0/energy.mts", lambda _: None, zipfile.ZIP_DEFLATED), "is packed"),
    (inner("0/energy.mts", put(f"{E}values.npy", array([[1.0, 2.0]]))), "and labels of (1, 1)"),
    (inner("0/energy.mts", put(f"{E}values.npy", array([["a"]]))), "and not numbers"),
    (inner("0/energy.mts", put(f"{E}samples.npy", array([1.0]))), "holds no labels"),
    (
        inner("0/energy.mts", put("keys.npy", array([(0,), (1,)], [("_", "<i4")]))),
        "it has 2 blocks",
    ),
    (
        inner("0/energy.mts", put("keys.npy", array([(0,)], [("other", "<i4")]))),
        "told apart by other",
    ),
    (inner("0/energy.mts", lambda own: own.pop(f"{E}properties.npy")), "no record blocks/0/prop"),
    (
        inner("0/energy.mts", put(f"{E}gradients/positions/gradients/x/values.npy", b"")),
        "gradients of a gradient",
    ),
    (
        inner(
            "0/energy.mts",
            put(
                f"{E}gradients/positions/samples.npy",
                array([(0, 0), (0, 0), (0, 2)], [("sample", "<i4"), ("atom", "<i4")]),
            ),
        ),
        "each atom from 0 on once",
    ),
    (put("0/energy.mts", values_map(energy_map(1.0, np.zeros((2, 3))))), "a gradient of 2 atoms"),
    (
        put("0/mtt::charges.mts", values_map(plain_map(np.zeros((5, 1)), "atom"))),
        "values of 5 atoms",
    ),
    (put("0/dipole.mts", values_map(plain_map(np.zeros((2, 3, 1))))), "of 2 structures"),
    (
        put("0/mtt::shape.mts", values_map(spherical_map({(1, 1): np.zeros((3, 3))}))),
        "the target is",
    ),
    (
        inner(
            "0/mtt::shape.mts",
            put("keys.npy", array([(1, 1), (0, 1)], [("o3_lambda", "<i4"), ("o3_sigma", "<i4")])),
        ),
        "the components of degree 1 are o3_mu: -2, -1, 0, 1, 2; they must be o3_mu: -1, 0, 1",
    ),
    (
        inner(
            "0/dipole.mts",
            put(f"{E}components/0.npy", array([(0,), (2,), (1,)], [("xyz", "<i4")])),
        ),
        "the components of the values are xyz: 0, 2, 1; a vector has xyz: 0, 1, 2",
    ),
    (
        inner(
            "0/energy.mts",
            put(
                f"{E}gradients/positions/components/0.npy",
                array([(0,), (2,), (1,)], [("xyz", "<i4")]),
            ),
        ),
        "the gradient by positions has the components xyz: 0, 2, 1, not xyz: 0, 1, 2",
    ),
]


@pytest.mark.parametrize(("change", "expected"), DAMAGES)
def test_what_is_wrong_is_said(packed: Path, change: Change, expected: str) -> None:
    targets = {name: TARGETS[name] for name in TARGETS if name != "energy/pbe"}
    rewritten(packed, change)
    with pytest.raises(UserError) as caught:
        structures(packed, targets)
    assert expected in str(caught.value)
    if "components" in expected:
        assert "damaged" not in str(caught.value)


def test_a_record_that_one_structure_lacks_is_named(packed: Path) -> None:
    def longer(records: dict[str, bytes]) -> None:
        for index in range(12):
            records[f"{index}/mtt::dipole.mts"] = records.pop(f"{index}/dipole.mts")
        del records["5/mtt::dipole.mts"], records["5/energy.mts"]

    rewritten(packed, longer)
    for name, own in (("mtt::dipole", {"type": "vector"}), ("energy", {"key": "energy"})):
        with pytest.raises(UserError) as caught:
            structures(packed, {name: own})
        assert f"(as 5/{name}.mts) in 1 of 12 structures" in caught.value.what
        assert "#5 (counted from 0)" in str(caught.value.where)


def test_packing_and_sizes_are_not_believed(packed: Path) -> None:
    content = packed.read_bytes()
    with pytest.raises(UserError, match="is packed"):
        structures(rewritten(packed, lambda _: None, zipfile.ZIP_DEFLATED), {"energy": {}})
    # Cut off, and with a record that differs from its checksum.
    packed.write_bytes(content[:-100])
    with pytest.raises(UserError, match="the archive is cut off"):
        structures(packed, {"energy": {}})
    at = content.index(b"<f8") + 200
    packed.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    with pytest.raises(UserError, match="is damaged") as caught:
        structures(packed, {"energy": {}})
    assert caught.value.hint == "copy the archive again, or pack it again: it is not whole"
    # Records that lie one over the other are longer together than the file.
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("0/system.mta", bytes(1000))
        first = archive.filelist[0]
        for index in range(1, 5):
            other = zipfile.ZipInfo(f"{index}/system.mta")
            other.header_offset = first.header_offset
            other.file_size, other.compress_size, other.CRC = 1000, 1000, first.CRC
            archive.filelist.append(other)
            archive.NameToInfo[other.filename] = other
        # zipfile writes a directory only after writestr, and typeshed does not know the attribute.
        archive._didModify = True  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="its records are to have 5000 bytes"):
        structures(packed, {"energy": {}})


def test_files_that_are_something_else_are_told(packed: Path, frames: list[ase.Atoms]) -> None:
    folder = packed.parent
    values = packed_values(frames)["dipole"]
    alone = write_values(folder / "dipole.mts", values)
    dipole = {"mtt::dipole": {"type": "vector", "read_from": str(alone)}}
    with pytest.raises(UserError, match="values of a target, and no structures"):
        read_plain(alone)
    short = {"mtt::dipole": {**dipole["mtt::dipole"]}}
    write_values(alone, values[:-1])
    with pytest.raises(UserError, match="the file has 11 structures, but"):
        structures(packed, short)
    # Of pairs of atoms.
    block = plain_map(np.zeros((2, 1)), "atom").block()
    pairs = Labels(["system", "first_atom", "second_atom"], torch.tensor([[0, 0, 1], [0, 1, 0]]))
    mapped = TensorMap(
        Labels.single(), [mts.TensorBlock(block.values, pairs, [], block.properties)]
    )
    mts.save(str(alone), mapped)
    with pytest.raises(UserError, match="pairs of atoms"):
        structures(packed, short)
    alone.write_bytes(b"")
    with pytest.raises(UserError, match="no archive of arrays"):
        structures(packed, short)
    alone.unlink()
    with pytest.raises(UserError, match="no such file"):
        structures(packed, short)
    with zipfile.ZipFile(folder / "other.zip", "w") as archive:
        archive.writestr("data/0/system.mta", b"")
    with pytest.raises(UserError, match="from inside the folder"):
        read_plain(folder / "other.zip")
    (folder / "page.zip").write_text("<!DOCTYPE html><html></html>")
    with pytest.raises(UserError, match="web page|HTML"):
        read_plain(folder / "page.zip")


def test_structures_are_told_apart_by_their_numbers(packed: Path, frames: list[ase.Atoms]) -> None:
    """Rows of several structures may come in any order, as may atoms."""
    values = packed_values(frames)["mtt::charges"]
    joined = mts.join(numbered(values), "samples")
    order = torch.randperm(len(joined.block().values), generator=torch.manual_seed(0))
    block = joined.block()
    shuffled = mts.TensorBlock(
        block.values[order],
        Labels(block.samples.names, block.samples.values[order]),
        block.components,
        block.properties,
    )
    path = packed.parent / "charges.mts"
    mts.save(str(path), TensorMap(joined.keys, [shuffled]))
    ours = structures(packed, {"mtt::charges": {"per": "atom", "read_from": str(path)}})
    theirs = structures(packed, {"mtt::charges": {"per": "atom"}})
    check_same(ours, theirs)
