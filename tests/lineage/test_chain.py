"""The chain from data to report: it holds for what belongs together, and each link breaks on its own."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from command import mtt

from mtt import checkpoint as checkpoints
from mtt.__main__ import main
from mtt.export import provenance
from mtt.files import sha256_of
from mtt.lineage import chain, keys, sign

NAMES = [
    "data -> checkpoint",
    "options -> checkpoint",
    "checkpoint -> model",
    "weights -> model",
    "export -> model",
    "image -> checkpoint",
    "model -> statement",
    "model -> report",
    "model -> signature",
]


@pytest.fixture(scope="module")
def whole(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All files of a model, with a report, a key and a signature."""
    folder = tmp_path_factory.mktemp("whole")
    for name in ("model.ckpt", "model.pt", "model.pt.intoto.json", "data.xyz"):
        shutil.copy(trained / name, folder)
    mtt(folder, "verify", "model.pt", "--only", "LOAD", "--json", "report.json")
    keys.new_key(folder / "lab")
    sign.run(folder / "model.pt", folder / "lab.key")
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with copies of them all."""
    copied = tmp_path / "copies ü"
    shutil.copytree(whole, copied)
    monkeypatch.chdir(copied)
    return copied


def given(**changes: object) -> chain.Given:
    files = {
        "model": Path("model.pt"),
        "checkpoint": Path("model.ckpt"),
        "report": Path("report.json"),
        "data": [Path("data.xyz")],
        "key": Path("lab.pub"),
    }
    return chain.Given(**{**files, **changes})  # type: ignore[arg-type]


def broken() -> dict[str, str]:
    """The links that do not hold, and why; none may be left out."""
    links = chain.check(given())
    assert [one.name for one in links] == NAMES
    assert {one.state for one in links} <= {"verified", "broken"}
    return {one.name: one.why for one in links if one.state == "broken"}


def other_checkpoint(changes: Mapping[str, object]) -> None:
    header, tensors = checkpoints.read(Path("model.ckpt"))
    checkpoints.write(Path("model.ckpt"), replace(header, **changes), tensors)


def test_what_belongs_together_holds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert broken() == {}
    words = "show --chain model.pt --ckpt model.ckpt --report report.json --data data.xyz"
    assert main([*words.split(), "--require-signature", "lab.pub"]) == 0
    lines = capsys.readouterr().out.splitlines()
    content = checkpoints.read_header(Path("model.ckpt")).content_hash[:12]
    assert lines[2] == (
        f"verified     checkpoint -> model    content hash of the checkpoint {content}"
    )
    assert all(line.startswith("verified     ") for line in lines)


def test_what_is_not_given_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("model.pt.intoto.json").unlink()
    assert main(["show", "--chain", "model.pt", "--json"]) == 0
    links = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["state"]) for one in links] == [(one, "not checked") for one in NAMES]


def test_other_data(folder: Path) -> None:
    text = Path("data.xyz").read_text()
    place = text.index("0.", text.index("\nO"))
    Path("data.xyz").write_text(text[:place] + "1." + text[place + 2 :])
    assert list(broken()) == ["data -> checkpoint"]
    assert "1 of its 12 structures has other" in broken()["data -> checkpoint"]


def test_other_options(folder: Path) -> None:
    header = checkpoints.read_header(Path("model.ckpt"))
    other_checkpoint({"options": {**header.options, "seed": 99}})
    assert list(broken()) == ["options -> checkpoint", "checkpoint -> model", "export -> model"]


def test_another_checkpoint(folder: Path) -> None:
    header, tensors = checkpoints.read(Path("model.ckpt"))
    name = next(one for one in tensors if one.startswith("best/core."))
    tensors[name] = tensors[name] + 1
    checkpoints.write(Path("model.ckpt"), header, tensors)
    assert list(broken()) == ["checkpoint -> model", "weights -> model", "export -> model"]
    assert broken()["weights -> model"].endswith(f"tensors are not in the model: ['{name}']")


def test_a_checkpoint_of_another_image(folder: Path) -> None:
    other_checkpoint({"image_digest": "sha256:abc"})
    assert list(broken()) == ["checkpoint -> model", "export -> model", "image -> checkpoint"]


def test_a_damaged_checkpoint(folder: Path) -> None:
    content = bytearray(Path("model.ckpt").read_bytes())
    content[-1] ^= 1
    Path("model.ckpt").write_bytes(content)
    why = "the checkpoint does not fit its own hash"
    assert broken() == dict.fromkeys(NAMES[2:5], why)


def test_a_changed_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One bit of a weight: the file is another for whoever signed, reported or stated it."""
    content = bytearray(Path("model.pt").read_bytes())
    header, tensors = checkpoints.read(Path("model.ckpt"))
    weights = max((v for k, v in tensors.items() if k.startswith("best/core.")), key=len)
    place = content.find(weights.numpy().tobytes())
    assert place > 0
    content[place] ^= 1
    Path("model.pt").write_bytes(content)
    words = "show --chain model.pt --report report.json --require-signature lab.pub"
    assert main(words.split()) == 3
    captured = capsys.readouterr()
    assert captured.err == (
        "error: the chain is broken: model -> statement, model -> report, model -> signature\n"
    )
    assert captured.out.count("broken       ") == 3


def test_a_report_of_a_failure(folder: Path) -> None:
    report = json.loads(Path("report.json").read_text())
    Path("report.json").write_text(json.dumps({**report, "verdict": "fail"}))
    assert broken() == {"model -> report": "report.json says that the model failed"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            "show model.pt --ckpt model.ckpt",
            "error: --ckpt goes with --chain\n  hint: mtt show --chain model.pt ...\n",
        ),
        ("show --chain model.pt model.pt", "error: --chain is about one model, not 2\n"),
        (
            "show --chain model.pt --data data.xyz",
            "error: --data needs --ckpt, which says how the data were read\n",
        ),
        (
            "show --chain model.pt --report model.pt.intoto.json",
            (
                "error: this is no report of a verification: its schema is None, and this program "
                "knows 1, 2 and 3\n  where: model.pt.intoto.json\n"
            ),
        ),
        (
            "show --chain model.ckpt",
            (
                "error: the chain is followed from a model file, and this is a checkpoint\n"
                "  where: model.ckpt\n"
                "  hint: mtt show --chain model.pt --ckpt model.ckpt\n"
            ),
        ),
    ],
)
def test_user_errors(
    folder: Path, words: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 2
    assert capsys.readouterr().err == expected


def test_the_statement_names_the_materials(folder: Path) -> None:
    """An in-toto Statement with SLSA's predicate: subject, materials, builder, and the report."""
    said = json.loads(provenance.statement_path(Path("model.pt")).read_bytes())
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["predicateType"] == "https://slsa.dev/provenance/v1"
    digest = sha256_of(Path("model.pt"))
    assert said["subject"] == [{"name": "model.pt", "digest": {"sha256": digest}}]
    materials = {
        one["name"]: one for one in said["predicate"]["buildDefinition"]["resolvedDependencies"]
    }
    header = checkpoints.read_header(Path("model.ckpt"))
    assert materials["model.ckpt"]["digest"] == {"sha256": sha256_of(Path("model.ckpt"))}
    assert materials["options"]["digest"] == {"sha256": header.options_hash}
    assert materials["training_set"]["digest"] == {
        "mtt-structures": header.data_hash["training_set"]
    }
    (report,) = said["predicate"]["runDetails"]["byproducts"]
    assert report["annotations"]["verdict"] == "pass"
    assert report["annotations"]["checks"]["LOAD"]["pass"] > 0


@pytest.mark.parametrize("number", ["0", "1"])
def test_checkpoints_of_an_old_version(
    number: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exactly upgraded one is the same checkpoint; one that is not has options unknown here."""
    monkeypatch.chdir(tmp_path)
    golden = Path(__file__).parents[1] / "golden" / "checkpoints" / "format-2_pet-1_options-1"
    shutil.copy(golden / f"{number}.ckpt", "old.ckpt")
    Path("data.xyz").touch()
    if number == "1":
        header = checkpoints.read_header(Path("old.ckpt"))
        one = given(checkpoint=Path("old.ckpt"), data=[Path("data.xyz")])
        assert chain._data(one, header) == chain.Link(
            "data -> checkpoint", "not checked", "the options are of pet@1: check it in its image"
        )
        return
    mtt(tmp_path, "export", "old.ckpt", "-o", "model.pt", "--no-verify")
    mtt(tmp_path, "upgrade", "old.ckpt", "-o", "new.ckpt")
    for name in ("old.ckpt", "new.ckpt"):
        links = chain.check(chain.Given(Path("model.pt"), Path(name), None, [], None))
        states = {one.name: one.state for one in links}
        assert states["options -> checkpoint"] == states["checkpoint -> model"] == "verified", name
        assert states["export -> model"] == "verified", name
        assert "broken" not in states.values()
