"""Metadata: what people may write, and what an export has once it was added."""

import json
import zipfile
from pathlib import Path

import pytest
from metatomic.torch import load_atomistic_model, read_model_metadata
from toy_models import export_toy

from mtt.__main__ import main
from mtt.verify import run as verify

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

METADATA = """\
name: Ethanol, gef\u00e4rbt
description: >
  gas phase
authors: [A. Person, B. Person <b@example.org>]
references:
  model: ["doi:10/model"]
  architecture: ["doi:10/mine", "doi:10/toy"]
extra: {licence: CC-BY}
"""
# What csrc/tests/test_metadata.cpp reads back as an engine does.
TEXT = """\
{
    "authors": [
        "A. Person",
        "B. Person <b@example.org>"
    ],
    "class": "ModelMetadata",
    "description": "gas phase\\n",
    "extra": {
        "licence": "CC-BY"
    },
    "name": "Ethanol, gef\u00e4rbt",
    "references": {
        "architecture": [
            "doi:10/mine",
            "doi:10/toy"
        ],
        "model": [
            "doi:10/model"
        ]
    }
}"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: an export that mtt did not make, and metadata."""
    monkeypatch.chdir(tmp_path)
    export_toy(tmp_path / "toy.pt", golden=False)
    Path("metadata.yaml").write_text(METADATA, encoding="utf-8")
    return tmp_path


def records(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def places(path: Path) -> dict[str, int]:
    with zipfile.ZipFile(path) as archive:
        return {one.filename: one.header_offset % 64 for one in archive.infolist()}


def add(*arguments: str) -> int:
    return main(["export", *arguments])


def test_anyones_export_gets_metadata_and_keeps_all_else(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path("toy.pt").read_bytes()
    assert add("toy.pt", "-m", "metadata.yaml", "-o", "n\u00e9w.pt") == 0
    assert capsys.readouterr().out.endswith("wrote n\u00e9w.pt\n")
    new = Path("n\u00e9w.pt")
    assert Path("toy.pt").read_bytes() == before
    old, changed = records(Path("toy.pt")), records(new)
    assert list(old) == list(changed)
    different = [name.partition("/")[2] for name in old if old[name] != changed[name]]
    assert sorted(different) == ["data.pkl", "extra/model-metadata"]
    kept = [name for name in old if old[name] == changed[name]]
    assert {n: places(Path("toy.pt"))[n] for n in kept} == {n: places(new)[n] for n in kept}
    (text,) = [one for name, one in changed.items() if name.endswith("extra/model-metadata")]
    assert text.decode() == TEXT
    for found in (read_model_metadata(str(new)), load_atomistic_model(str(new)).metadata()):
        assert (found.name, found.description) == ("Ethanol, gef\u00e4rbt", "gas phase\n")
        assert found.authors == ["A. Person", "B. Person <b@example.org>"]
        assert found.references["architecture"] == ["doi:10/mine", "doi:10/toy"]
        assert dict(found.extra) == {"licence": "CC-BY"}
    # In C++, from the object in the loaded model.
    report = verify.verify(new, only=["LOAD"])
    assert report.passed and report.model is not None
    assert report.model["name"] == "Ethanol, gef\u00e4rbt"


@pytest.mark.filterwarnings("ignore:.*written without verification")
def test_what_is_not_given_stays(folder: Path) -> None:
    assert add("toy.pt", "-m", "metadata.yaml", "-o", "one.pt", "--no-verify") == 0
    Path("more.yaml").write_text("references: {model: [doi:10/new]}\nextra: {group: ours}\n")
    assert add("one.pt", "-m", "more.yaml", "-o", "two.pt", "--no-verify") == 0
    found = read_model_metadata("two.pt")
    assert found.name == "Ethanol, gef\u00e4rbt"
    assert found.references["model"] == ["doi:10/new", "doi:10/model"]
    assert dict(found.extra) == {"licence": "CC-BY", "group": "ours"}
    said = json.loads(Path("two.pt.intoto.json").read_text())["predicate"]["buildDefinition"]
    assert [one["name"] for one in said["resolvedDependencies"]] == ["one.pt"]


def test_wrong_metadata_is_shown_where_it_is(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("wrong.yaml").write_text(
        "nam: x\nauthors: A. Person\nreferences:\n  modle: []\n  model: [1, '']\nextra: {a: [b]}\n"
    )
    assert add("toy.pt", "-m", "wrong.yaml", "-o", "new.pt") == 2
    assert capsys.readouterr().err == WRONG
    assert not Path("new.pt").exists()


WRONG = """\
wrong.yaml:1:1: error: nam: unknown option; did you mean 'name'?
  1 | nam: x
    | ^
wrong.yaml:2:10: error: authors: expected a list, found 'A. Person'
  2 | authors: A. Person
    |          ^
wrong.yaml:4:3: error: references.modle: unknown option; did you mean 'model'?
  4 |   modle: []
    |   ^
wrong.yaml:5:11: error: references.model[0]: expected text, found 1 (put it in quotes if it is meant as text)
  5 |   model: [1, '']
    |           ^
wrong.yaml:5:14: error: references.model[1]: must not be empty
  5 |   model: [1, '']
    |              ^
wrong.yaml:6:12: error: extra.a: expected text, found a list
  6 | extra: {a: [b]}
    |            ^
6 errors in wrong.yaml
"""


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert add(*arguments) == 2
    return capsys.readouterr().err


def test_user_errors(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fails(capsys, "toy.pt", "-m", "metadata.yaml") == (
        "error: there is no place for the result\n  where: toy.pt\n  hint: name a new file with -o\n"
    )
    assert fails(capsys, "toy.pt", "-m", "metadata.yaml", "-o", "toy.pt") == (
        "error: the output would replace toy.pt, which is read\n"
        "  where: toy.pt\n"
        "  hint: give the output another name\n"
    )
    words = ("-m", "metadata.yaml", "-o", "new.pt")
    assert fails(capsys, "toy.pt", *words, "--weights", "last") == (
        "error: --weights is about checkpoints, and this is a model\n  where: toy.pt\n"
    )
    content = Path("toy.pt").read_bytes()
    Path("cut.pt").write_bytes(content[: len(content) // 2])
    assert fails(capsys, "cut.pt", *words) == (
        "error: the metadata of the model file cannot be changed: file is not a zip file\n"
        "  where: cut.pt\n"
        "  hint: 'mtt verify cut.pt' says more\n"
    )
    with zipfile.ZipFile("other.pt", "w") as archive:
        archive.writestr("other/data.pkl", b"\x80\x02}q\x00.")
    assert fails(capsys, "other.pt", *words).startswith(
        "error: this is a pickled checkpoint of another program; it is not loaded, "
    )
    with zipfile.ZipFile("odd.pt", "w") as archive:
        archive.writestr("odd/data.pkl", b"\x80\x02}q\x00.")
        archive.writestr("odd/code/__torch__/metatomic/torch/model.py", b"")
    assert fails(capsys, "odd.pt", *words) == (
        "error: the metadata of the model file cannot be changed: its metadata is not where metatomic "
        "puts it\n"
        "  where: odd.pt\n"
        "  hint: 'mtt verify odd.pt' says more\n"
    )
    assert not Path("new.pt").exists()
