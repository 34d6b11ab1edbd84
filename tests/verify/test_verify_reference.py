"""``--record`` and ``--against``: the same numbers elsewhere, and every way in which they can differ."""

import json
from pathlib import Path

import pytest
from toy_models import Embedded, export_toy
from toy_targets import export_several

import mtt
from mtt.__main__ import main
from mtt.errors import UserError
from mtt.verify import run as stage

NAMES = ["energy", "atomic energies", "forces", "virial"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``model.pt`` in float64, without golden pack, and ``reference.json``, which was recorded of it."""
    try:
        stage.program()
    except UserError as error:
        pytest.skip(str(error))
    path = tmp_path_factory.mktemp("reference")
    model = export_toy(path / "model.pt", "embedded", golden=False)
    report = mtt.verify(model, only=["LOAD", "PARITY"], record=path / "reference.json")
    (recorded,) = [check for check in report.checks if check.name == "recorded"]
    assert report.passed and recorded.message.startswith("3 systems, torch 2.13")
    return path


def failed(model: Path, reference: Path) -> list[str]:
    report = mtt.verify(model, only=["PARITY"], against=reference)
    return [check.name for check in report.failures]


def test_the_same_file_gives_the_same_numbers(folder: Path) -> None:
    report = mtt.verify(folder / "model.pt", only=["PARITY"], against=folder / "reference.json")
    assert report.passed
    checks = {check.name: check for check in report.checks}
    assert checks["reference"].message.startswith("the same file, recorded by torch 2.13")
    for name in NAMES:
        assert checks[f"recorded {name}"].measured == 0.0
    assert {point.label for point in checks["recorded forces"].series} == set(
        checks["recorded forces"].systems
    )


def test_a_reference_is_compared_whatever_else_is_left_out(folder: Path, tmp_path: Path) -> None:
    content = json.loads((folder / "reference.json").read_text())
    content["systems"][0]["energy"] += 1e-3
    (tmp_path / "changed.json").write_text(json.dumps(content))
    report = mtt.verify(folder / "model.pt", only=["LOAD"], against=tmp_path / "changed.json")
    assert [check.full_name for check in report.failures] == ["PARITY/recorded energy"]
    mtt.verify(folder / "model.pt", only=["LOAD"], record=tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text())["format"] == "mtt-verify record"


def test_single_precision_is_within_the_tolerance_of_single_precision(folder: Path) -> None:
    single = export_toy(folder / "single.pt", "embedded", "float32", golden=False)
    report = mtt.verify(single, only=["PARITY"], against=folder / "reference.json")
    assert report.passed
    worst = {check.name: check.used for check in report.checks}
    assert 0.0 < (worst["recorded forces"] or 0.0) < 1.0


class Slightly(Embedded):
    """A hundred thousandth of a millionth stronger."""

    def __init__(self, *given, **named) -> None:  # type: ignore[no-untyped-def]
        super().__init__(*given, **named)
        self.strength *= 1.0 + 1e-7


def test_numbers_that_differ_by_little_fail(folder: Path) -> None:
    model = export_toy(folder / "slightly.pt", Slightly, golden=False)
    found = failed(model, folder / "reference.json")
    assert found == [f"recorded {name}" for name in NAMES]


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("energy", ["recorded energy"]),
        ("energies", ["recorded atomic energies"]),
        ("forces", ["recorded forces"]),
        ("virial", ["recorded virial"]),
    ],
)
def test_each_number_counts(folder: Path, tmp_path: Path, key: str, names: list[str]) -> None:
    content = json.loads((folder / "reference.json").read_text())
    system = content["systems"][-1]
    if key == "energy":
        system[key] += 1e-6
    elif key == "energies":
        system[key][-1] += 1e-6
    else:
        system[key][-1][1] = None if key == "forces" else system[key][-1][1] + 1e-6
    (tmp_path / "changed.json").write_text(json.dumps(content))
    assert failed(folder / "model.pt", tmp_path / "changed.json") == names


def test_another_model_is_not_compared(folder: Path, tmp_path: Path) -> None:
    content = json.loads((folder / "reference.json").read_text())
    content["length_unit"] = "nm"
    (tmp_path / "other.json").write_text(json.dumps(content))
    report = mtt.verify(folder / "model.pt", only=["PARITY"], against=tmp_path / "other.json")
    (failure,) = report.failures
    assert failure.sentence == (
        "PARITY/reference: the reference is about another model: its length unit is 'nm', here"
        " 'angstrom'"
    )


def test_a_file_that_is_no_reference_is_a_mistake_of_the_user(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "report.json").write_text("{}")
    model, other = folder / "model.pt", folder / "report.json"
    assert main(["verify", str(model), "--against", str(other)]) == 2
    assert capsys.readouterr().err == (
        "error: this is no reference to compare with\n"
        f"  where: {other}\n"
        "  hint: make one with: mtt verify model.pt --record FILE\n"
    )


def test_engines_without_ranks_and_those_with_them_have_rows_of_their_own(folder: Path) -> None:
    def judged(*engines: str) -> set[str]:
        report = mtt.verify(
            folder / "model.pt", only=["SCHEMA/rank without atoms"], engines=engines, level="quick"
        )
        assert {row.use for row in report.verdicts if row.judged} == set(report.judged)
        (empty, *_) = [check for check in report.checks if check.name == "rank without atoms"]
        assert "lammps:ranks=several" in empty.matters and "ase" not in empty.matters
        return set(report.judged)

    assert judged("lammps") == {"lammps:ranks=1", "lammps:ranks=several"}
    assert judged("ase", "lammps:ranks=4") == {"ase", "lammps:ranks=several"}
    assert judged("all") > judged()


def test_a_family_that_does_not_exist(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(folder / "model.pt"), "--only", "FOO"]) == 2
    assert capsys.readouterr().err == (
        "error: there is no family 'FOO'\n"
        "  hint: families are LOAD, SCHEMA, PARITY, NTH, FD, DD, GEO, SYM, DTYPE, ENGINE and LIMITS; "
        "docs/reference/verify-checks.md, in the documentation, lists all checks\n"
    )


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["--skip", "ENGINE/asee"], "ENGINE/ase"),
        (["--only", "ENGINES"], "ENGINE"),
        (["--for", "lammmps"], "lammps"),
    ],
)
def test_a_name_that_is_mistyped_is_told_the_near_one(
    words: list[str], near: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(folder / "model.pt"), *words]) == 2
    said = capsys.readouterr().err
    assert f"  hint: did you mean '{near}'? " in said and "mtt-verify" not in said


def test_every_energy_of_a_model_is_recorded_and_compared(folder: Path, tmp_path: Path) -> None:
    model = export_several(tmp_path / "several.pt")
    record = tmp_path / "several.json"
    mtt.verify(model, only=["PARITY/reference"], record=record)
    same = mtt.verify(model, only=["PARITY/reference"], against=record)
    assert same.passed
    targets = {check.target for check in same.checks if check.name == "recorded forces"}
    assert targets == {"energy", "energy/pbe", "mtt::u0"}
    content = json.loads(record.read_text())
    assert [other["output"] for other in content["others"]] == ["energy/pbe", "mtt::u0"]
    content["others"][1]["references"][0]["forces"][0][0] += 1e-3
    record.write_text(json.dumps(content))
    changed = mtt.verify(model, only=["PARITY/reference"], against=record)
    assert [check.label for check in changed.failures] == ["PARITY/recorded forces of mtt::u0"]
    del content["others"][0]
    record.write_text(json.dumps(content))
    missing = mtt.verify(model, only=["PARITY/reference"], against=record)
    assert "PARITY/reference of energy/pbe" in [check.label for check in missing.failures]


def test_a_check_without_a_target_of_its_kind_is_skipped_if_it_is_named(folder: Path) -> None:
    report = mtt.verify(folder / "model.pt", only=["LOAD", "DD/values"])
    (values,) = [check for check in report.checks if check.family == "DD"]
    assert (values.status, values.target) == ("skip", "")
    assert values.message == "the model has no target that this check is about"
