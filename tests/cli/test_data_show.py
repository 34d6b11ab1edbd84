"""`mtt data show`: finds the bad frame before anything is trained on it."""

import json
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from small_runs import make_options, write_data

from mtt.__main__ import main


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_data(Path("good.xyz"), n=30)
    return tmp_path


def frames() -> Any:
    return ase.io.read("good.xyz", ":")


def report(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["data", "show", *words, "--json", "-"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def doubts_in(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the doubts that were printed, line by line."""
    return capsys.readouterr().out.partition("doubts:\n")[2].splitlines()


def test_sound_data(capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, "good.xyz")
    assert (found["structures"], found["atoms"]) == (30, 130)
    assert found["atoms_by_type"] == {"H": 60, "C": 10, "O": 20, "Cu": 40}
    assert found["periodic_axes"] == {"0": 20, "3": 10}
    (file,) = found["files"]
    assert (file["frames"], file["usable"], file["faults"], file["missing"]) == (30, 30, [], {})
    assert file["taken"] == {"energy": "energy", "forces": "forces", "stress": "stress"}
    closest = {pair["pair"]: pair["distance"] for pair in found["closest_pairs"]}
    assert 0.8 < closest["H-O"] < 1.0 and 2.3 < closest["Cu-Cu"] < 2.6
    energy = found["targets"]["energy"]["energy"]
    assert (energy["structures"], energy["unusual"]) == (30, [])
    assert main(["data", "show", "good.xyz"]) == 0
    out = capsys.readouterr().out
    assert "good.xyz" in out and "Cu-Cu" in out
    # Three compositions do not determine what belongs to each element, and nothing else is wrong.
    (doubt,) = found["doubts"]
    assert "compositions" in doubt and found["targets"]["energy"]["forces"]["unusual"] == []
    assert sorted(path.name for path in Path().iterdir()) == ["good.xyz"]


def test_bad_frames_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    some = frames()
    some[3].calc.results["energy"] += 1e5
    some[4].calc.results["forces"][1, 2] = np.nan
    del some[5].calc.results["energy"]
    some[6].positions[1] = some[6].positions[0] + [0.0, 0.0, 0.2]
    some[7].calc.results["forces"] *= 1e4
    ase.io.write("bad.xyz", some, format="extxyz")
    found = report(capsys, "bad.xyz")
    (file,) = found["files"]
    (fault,) = file["faults"]
    assert fault["where"] == "bad.xyz#4" and "nan" in fault["what"]
    assert file["missing"]["energy"] == {"frames": 1, "where": "bad.xyz#5"}
    assert [each["where"] for each in found["close"]] == ["bad.xyz#6"]
    target = found["targets"]["energy"]
    assert [each["where"] for each in target["energy"]["unusual"]] == ["bad.xyz#3"]
    assert [each["where"] for each in target["forces"]["unusual"]] == ["bad.xyz#7"]
    assert main(["data", "show", "bad.xyz"]) == 0
    doubts = capsys.readouterr().out.partition("doubts:")[2]
    for frame in range(3, 8):
        assert f"bad.xyz#{frame}" in doubts


POINT = np.zeros((1500, 3))
SPOILT = {
    "coincident": (Atoms("H2", [[0, 0, 0], [0, 0, 0]]), "atoms 0 and 1 coincide"),
    "one point": (Atoms("H1500", POINT), "neighbor pairs within the cutoff"),
    "small cell": (Atoms("H", cell=[2e-3] * 3, pbc=True), "neighbor pairs within the cutoff"),
    "far away": (Atoms("H2", [[0, 0, 0], [0, 0, 9e4]]), "the structure is 9.0e+04 long"),
    "no volume": (Atoms("H", cell=[[1, 0, 0], [1, 0, 0], [0, 0, 1]], pbc=True), "does not span"),
    "huge cell": (Atoms("H", cell=[1e300] * 3, pbc=True), "none may be beyond"),
    "no position": (Atoms("H", [[0, 0, np.nan]]), "not finite numbers"),
    "empty": (Atoms(), "the structure has no atoms"),
    "energy": (Atoms("H", info={"energy": 1e308}), "there is 1e+308 in the energy"),
}


@pytest.mark.parametrize("name", SPOILT)
@pytest.mark.parametrize("alone", [False, True])
def test_no_frame_ends_it(name: str, alone: bool, capsys: pytest.CaptureFixture[str]) -> None:
    frame, what = SPOILT[name]
    some = [frame] if alone else [*frames()[:6], frame, *frames()[6:]]
    ase.io.write("spoilt.xyz", some, format="extxyz")
    found = report(capsys, "spoilt.xyz")
    assert found["structures"] >= len(some) - 1
    assert main(["data", "show", "spoilt.xyz", "--plot", "spoilt.png"]) == 0
    line = f"- spoilt.xyz#{0 if alone else 6}: "
    assert [told for told in doubts_in(capsys) if told.startswith(line) and what in told]


def test_copies_across_files(capsys: pytest.CaptureFixture[str]) -> None:
    some = frames()
    ase.io.write("other.xyz", [some[2], some[5]], format="extxyz")
    found = report(capsys, "good.xyz", "other.xyz")
    (pair,) = found["copies"]["across"]
    assert pair.pop("where") == ["good.xyz#2", "other.xyz#0"]
    assert pair == {"one": "good.xyz", "other": "other.xyz", "structures": 2}
    assert ["good.xyz#2", "other.xyz#0"] in found["copies"]["groups"]
    assert report(capsys, "good.xyz")["copies"]["number_of_groups"] == 0
    assert main(["data", "show", "good.xyz", "other.xyz"]) == 0
    lines = [line for line in doubts_in(capsys) if "other.xyz" in line]
    assert lines == [
        "- 2 structures are in good.xyz and in other.xyz, as good.xyz#2 and other.xyz#0"
    ]


def test_copies_in_a_file_are_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    some = frames()
    ase.io.write("twice.xyz", [*some, some[4]], format="extxyz")
    assert main(["data", "show", "twice.xyz"]) == 0
    lines = [line for line in doubts_in(capsys) if "twice.xyz#30" in line]
    assert lines == [
        "- 1 structure is a copy of another in twice.xyz, as twice.xyz#30 is of twice.xyz#4"
    ]


def test_forces_that_do_not_add_up_to_zero(capsys: pytest.CaptureFixture[str]) -> None:
    some = frames()
    some[4].calc.results["forces"][1] += [0.0, 0.0, 3.0]
    ase.io.write("frozen.xyz", some, format="extxyz")
    found = report(capsys, "frozen.xyz")
    (entry,) = found["targets"]["energy"]["forces"]["unbalanced"]
    assert entry["where"] == "frozen.xyz#4" and abs(entry["value"] - 3.0) < 1e-6
    assert report(capsys, "good.xyz")["targets"]["energy"]["forces"]["unbalanced"] == []
    assert main(["data", "show", "frozen.xyz"]) == 0
    (line,) = [line for line in doubts_in(capsys) if "add up to zero" in line]
    assert "frozen.xyz#4 (3)" in line


@pytest.mark.parametrize(
    ("model", "cutoff"),
    [
        ({"name": "soap_bpnn", "model": {"soap": {"cutoff": {"radius": 0.8}}}}, "0.8"),
        ({"name": "pet", "model": {"cutoff": 0.7, "d_pet": 4, "num_heads": 1}}, "0.7"),
    ],
)
def test_the_cutoff_is_that_of_the_architecture(
    model: dict[str, Any], cutoff: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Within so little there is no neighbor of most atoms, which is a doubt."""
    make_options(Path(), training_set="good.xyz", architecture=model)
    found = report(capsys, "--options", "options.yaml")
    assert any(cutoff in line and "cutoff" in line for line in found["doubts"]), found["doubts"]


def test_own_keys(capsys: pytest.CaptureFixture[str]) -> None:
    some = frames()
    for atoms in some:
        atoms.info["REF_energy"] = atoms.calc.results["energy"]
        atoms.arrays["dft_forces"] = atoms.calc.results["forces"]
        atoms.info["weight"] = 1.0
        atoms.calc = None
    ase.io.write("own.xyz", some, format="extxyz")
    found = report(capsys, "own.xyz")
    assert found["files"][0]["taken"] == {"energy": "REF_energy", "forces": "dft_forces"}
    keys = {key["key"]: key for key in found["files"][0]["keys"]}
    assert keys["dft_forces"]["shapes"] == {"(atoms, 3)": 30}
    assert "forces" in keys["dft_forces"]["could_be"]
    given = report(capsys, "own.xyz", "--energy-key", "weight")
    assert given["files"][0]["taken"]["energy"] == "weight"
    assert main(["data", "show", "own.xyz", "--energy-key", "U"]) == 2
    assert "no structure has the energy 'U'" in capsys.readouterr().err


def test_the_data_sets_of_an_options_file(capsys: pytest.CaptureFixture[str]) -> None:
    some = frames()
    ase.io.write("held.xyz", some[:4], format="extxyz")
    make_options(Path(), training_set="good.xyz", test_set="held.xyz")
    found = report(capsys, "--options", "options.yaml")
    assert found["sets"] == {"training_set": 30, "test_set": 4}
    assert any("held.xyz" in line or "test_set" in line for line in found["doubts"])


def test_pictures_and_files(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "show", "good.xyz", "--json", "report.json"]
    assert main([*words, "--plot", "data.svg"]) == 0
    assert json.loads(Path("report.json").read_text())["structures"] == 30
    assert "<svg" in Path("data.svg").read_text()[:1000]
    assert main(["data", "show", "good.xyz", "--plot", "data.png"]) == 0
    assert Path("data.png").read_bytes().startswith(b"\x89PNG")
    names = ["data.png", "data.svg", "good.xyz", "report.json"]
    assert sorted(path.name for path in Path().iterdir()) == names
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give data files, or --options with an options file"),
        (["good.xyz", "--plot", "data.pdf"], "ends in .png or .svg"),
        (["good.xyz", "--json", "good.xyz"], "good.xyz"),
        (["none.xyz"], "none.xyz"),
        (["page.xyz"], "web page"),
        (["good.xyz", "--energy-unit", "parrots"], "unknown unit of energy 'parrots'"),
        (["good.xyz", "-r", "seed=1"], "-r changes an options file"),
        (["--options", "options.yaml", "--energy-key", "U"], "those of the options file"),
    ],
)
def test_mistakes(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("page.xyz").write_text("<!DOCTYPE html><html><body>Not found</body></html>\n")
    before = Path("good.xyz").read_bytes()
    assert main(["data", "show", *words]) == 2
    assert message in capsys.readouterr().err
    assert Path("good.xyz").read_bytes() == before


def test_masks_are_known(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    some = frames()[:12]
    for number, atoms in enumerate(some):
        atoms.info["dos"] = np.arange(5.0)
        atoms.info["dos_mask"] = np.array([1, 1, 1, 0, number % 2])
        atoms.info["odd"], atoms.info["odd_mask"] = np.arange(5.0), np.arange(5.0)
        atoms.info["lone_mask"] = np.array([1, 0])
    some[2].info["dos_mask"] = np.zeros(5, int)
    ase.io.write("masked.xyz", some, format="extxyz")
    found = report(capsys, "masked.xyz")
    keys = {key["key"]: key for key in found["files"][0]["keys"]}
    # 12 times the fourth, 6 times the fifth, and three more of the structure without any.
    left_out = {"of": "dos", "values": 60, "left_out": 21}
    assert keys["dos_mask"]["mask"] == left_out and keys["dos_mask"]["could_be"] == ["mask of dos"]
    assert all("mask" not in keys[name] for name in ("dos", "odd_mask", "lone_mask"))
    assert main(["data", "show", "masked.xyz"]) == 0
    out = capsys.readouterr().out
    assert "dos_mask leaves out 21 of 60 values of dos; training takes it" in " ".join(out.split())
    target = {"key": "dos", "mask": "dos_mask", "properties": 5, "missing": "allow"}
    data = {"systems": "masked.xyz", "targets": {"energy": {}, "mtt::dos": target}}
    make_options(folder, training_set=data, validation_set=0.25)
    found = report(capsys, "--options", "options.yaml")
    assert found["masks"] == [
        {
            "set": "training_set",
            "target": "mtt::dos",
            "key": "dos_mask",
            "values": found["masks"][0]["values"],
            "known": 39,
            "structures": 12,
            "structures_without": 1,
        }
    ]
    assert found["masks"][0]["values"] in (55, 60)
    assert main(["data", "show", "--options", "options.yaml"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "values known structures without any" in out and "1 of 12" in out
    make_options(folder)
    assert report(capsys, "--options", "options.yaml")["masks"] == []


def test_values_that_are_no_energies(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    some = frames()
    for atoms in some:
        atoms.info["dipole"] = rng.normal(size=3)
        atoms.arrays["q"] = rng.normal(size=len(atoms))
    some[7].info["dipole"][1] = 1e4
    some[9].arrays["q"][0] = -5e3
    ase.io.write("dipoles.xyz", some, format="extxyz")
    Path("dipoles.yaml").write_text(
        "architecture: pet\n"
        "training_set:\n"
        "  systems: dipoles.xyz\n"
        "  targets:\n"
        "    mtt::dipole: {type: vector, quantity: dipole, unit: Debye}\n"
        "    mtt::q: {per: atom, quantity: charge, unit: e}\n"
        "validation_set: 0.1\n"
    )
    targets = report(capsys, "--options", "dipoles.yaml")["targets"]
    parts = {part["component"]: part for part in targets["mtt::dipole"]["components"]}
    assert list(parts) == ["x", "y", "z"]
    assert parts["x"]["values"] == 30 and 0.5 < parts["x"]["spread"] < 2.0
    assert parts["x"]["unusual"] == parts["z"]["unusual"] == []
    assert parts["y"]["unusual"] == [{"where": "dipoles.xyz#7", "value": 1e4}]
    (charge,) = targets["mtt::q"]["components"]
    assert (charge["values"], charge["missing"]) == (130, 0)
    assert charge["unusual"] == [{"where": "dipoles.xyz#9", "value": -5e3}]
    assert main(["data", "show", "--options", "dipoles.yaml"]) == 0
    out = capsys.readouterr().out
    assert "y / Debye" in out
    assert "- mtt::dipole (y): unusual values: dipoles.xyz#7 (1e+04)" in out
    # What a training run says, too.
    assert (
        "- 1 structure of training_set has values of 'mtt::q' far from all others, as -5000 e, where"
        in out
    )


def test_gaps_are_counted_by_key(capsys: pytest.CaptureFixture[str]) -> None:
    some = frames()
    for atoms in some[5:]:
        atoms.info["dipole"] = np.ones(3)
    some[7].info["dipole"][:2] = np.nan
    some[9].info["dipole"][1] = np.nan
    ase.io.write("gaps.xyz", some, format="extxyz")
    (file,) = report(capsys, "gaps.xyz")["files"]
    keys = {key["key"]: key for key in file["keys"]}
    names = ("frames", "without", "not_finite", "frames_not_finite")
    assert [keys["dipole"][name] for name in names] == [25, 5, 3, 2]
    assert [keys["energy"][name] for name in names] == [30, 0, 0, 0]
    assert main(["data", "show", "gaps.xyz"]) == 0
    assert doubts_in(capsys)[0] == (
        "- gaps.xyz: 3 values of dipole are NaN or infinite, in 2 of 25 structures: gaps.xyz#7, #9"
    )
