"""Training again from what a file records: the same bits, or the place where they first differ."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import leave_undrawn, verify_one_family

from mtt import checkpoint as checkpoints
from mtt.__main__ import main
from mtt.checkpoint import Position
from mtt.cli.arguments import check_data
from mtt.errors import UserError
from mtt.export import run as export
from mtt.export.add_metadata import with_metadata
from mtt.lineage import compare_runs, recorded, reproduce
from mtt.options import Metadata


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the files of a run; its data lie elsewhere under another name."""
    monkeypatch.chdir(tmp_path)
    for name in ("model.ckpt", "model.pt"):
        shutil.copy(trained / name, tmp_path)
    Path("dä ta").mkdir()
    shutil.copy(trained / "data.xyz", "dä ta/x.xyz")
    return tmp_path


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are verified in one family: that takes longest, and has tests of its own."""
    verify_one_family(monkeypatch)
    leave_undrawn(monkeypatch)


@pytest.fixture
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """For runs of which only the checkpoint is looked at."""
    monkeypatch.setattr(export, "run", lambda *_, **__: None)


DATA = Path("dä ta/x.xyz")


def test_the_same_bits(folder: Path, quick: None) -> None:
    """Of the model file, byte for byte, and of the checkpoint that is made on the way."""
    result = reproduce.run(Path("model.pt"), Path("an other folder"), [DATA])
    assert result.lines == [
        "bit-identical: model.pt and an other folder/model.pt are the same bytes"
    ]
    assert result.identical
    again = compare_runs.checkpoints(
        recorded.read(Path("model.ckpt")), Path("an other folder/model"), []
    )
    assert again.lines == [
        "bit-identical: model.ckpt and an other folder/model.ckpt are the same bytes"
    ]
    assert (folder / "an other folder/model.pt.intoto.json").is_file()
    assert sorted(os.listdir()) == ["an other folder", "dä ta", "model.ckpt", "model.pt"]


def test_another_seed(folder: Path, no_export: None, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["reproduce", "model.ckpt", "--data", str(DATA), "-o", "new", "-r", "seed=4"]
    assert main(words) == 3
    captured = capsys.readouterr()
    lines = captured.out[captured.out.index("different: ") :].splitlines()
    assert lines[:3] == [
        "different: new/model.ckpt is not model.ckpt",
        "  first difference: before step 1, in which structures are trained on",
        "  then: before step 1, in the energies of single atoms and the scale",
    ]
    assert lines[3].startswith("  then: epoch 1, steps 1 to 4: train_energy_mae ")
    assert lines[-1] == "  possible reason: seed was 3, and is 4 now"
    assert captured.err == "error: the run in new is not bit-identical to model.ckpt\n"


def test_the_first_epoch_that_differs_is_named(folder: Path) -> None:
    """With its steps, from the second epoch on too; without a difference before that."""
    header, tensors = checkpoints.read(Path("model.ckpt"))
    history = [dict(row) for row in header.history]
    history[1]["train_loss"] += 1.0
    before = header.history[1]["train_loss"]
    name = next(one for one in tensors if one.startswith("model/core."))
    tensors[name] = tensors[name] + 1
    packages = {**header.packages, "torch": "1.0"}
    checkpoints.write(
        Path("new.ckpt"), replace(header, history=history, packages=packages), tensors
    )
    result = compare_runs.checkpoints(recorded.read(Path("model.ckpt")), Path("new"), [])
    assert not result.identical
    assert result.lines == [
        "different: new.ckpt is not model.ckpt",
        f"  first difference: epoch 2, steps 5 to 8: train_loss {before!r} and now {before + 1.0!r}",
        f"  2 of {len(tensors) + 5} tensors differ: history, {name}",
        f"  possible reason: torch was {header.packages['torch']}, and is 1.0 now",
    ]


def test_weights_alone(folder: Path) -> None:
    header, tensors = checkpoints.read(Path("model.ckpt"))
    name = next(one for one in tensors if one.startswith("optimizer/core."))
    tensors[name] = tensors[name] + 1
    checkpoints.write(Path("new.ckpt"), header, tensors)
    result = compare_runs.checkpoints(recorded.read(Path("model.ckpt")), Path("new"), [])
    assert result.lines[1] == "  first difference: after the last epoch"
    assert result.lines[-1] == ("  possible reason: none that the files record")
    header.packages["ase"] = "1.0"
    tensors[name] = tensors[name] - 1
    checkpoints.write(Path("new.ckpt"), header, checkpoints.read(Path("model.ckpt"))[1])
    result = compare_runs.checkpoints(recorded.read(Path("model.ckpt")), Path("new"), [])
    assert result.lines == [
        "bit-identical: all tensors of model.ckpt and new.ckpt",
        "  what they record differs: packages",
    ]


def change_a_byte(path: Path) -> None:
    text = path.read_text()
    place = text.index("0.", text.index("\nO"))
    path.write_text(text[:place] + "1." + text[place + 2 :])


def test_changed_data_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change_a_byte(DATA)
    hint = "  hint: give the files as they were with --data; nothing else gives the same model\n"
    assert main(["reproduce", "model.ckpt", "--data", str(DATA), "-o", "new"]) == 2
    found = capsys.readouterr().err
    assert found.startswith(
        "error: the data of training_set have changed since the run: 1 of its 12 "
    )
    assert found.endswith(f"  where: {folder / DATA}\n{hint}")
    assert main(["reproduce", "model.pt", "--data", str(DATA), "-o", "new"]) == 2
    assert capsys.readouterr().err == (
        "error: the data of training_set have changed since the run: of its 12 structures, some have "
        f"other positions, cells or targets\n  where: {folder / DATA}\n{hint}"
    )
    assert not Path("new").exists()


def refusal(*arguments: object, **named: object) -> str:
    with pytest.raises(UserError) as caught:
        reproduce.run(*arguments, **named)  # type: ignore[arg-type]
    return str(caught.value)


def test_what_cannot_be_reproduced(folder: Path) -> None:
    ckpt = Path("model.ckpt")
    assert refusal(ckpt, Path("new")) == (
        "the data of the run are not here: data.xyz\n"
        "  where: model.ckpt\n"
        "  hint: give them with --data FILE, where they are now"
    )
    assert refusal(ckpt, Path("new"), [DATA, DATA]) == (
        f"it is not clear which file of the run this is: {DATA}\n"
        "  where: model.ckpt\n"
        "  hint: the run read data.xyz: give each file, once, by the name it had"
    )
    assert refusal(ckpt, Path("dä ta"), [DATA]) == (
        "the folder for the new run is there already\n"
        "  where: dä ta\n"
        "  hint: name another with -o FOLDER"
    )
    assert refusal(ckpt, Path("new"), [DATA], base=ckpt) == (
        "the run has no base: it was no fine-tuning\n  where: model.ckpt"
    )
    assert refusal(DATA, Path("new")).startswith("this is ")
    header, tensors = checkpoints.read(ckpt)
    half = replace(header, history=header.history[:1], position=Position(epoch=1, step=4))
    checkpoints.write(Path("half.ckpt"), half, tensors)
    assert refusal(Path("half.ckpt"), Path("new"), [DATA]) == (
        "the run was not finished: 1 of 2 epochs are done\n"
        "  where: half.ckpt\n"
        "  hint: give the last file of the run, or finish it with: mtt train ... --continue"
    )
    assert sorted(os.listdir()) == ["dä ta", "half.ckpt", "model.ckpt", "model.pt"]


def test_data_of_a_pattern_are_given_by_a_pattern(folder: Path) -> None:
    options = recorded.read(Path("model.ckpt"))
    options.options["training_set"][0]["systems"]["read_from"] = "old/*.xyz"
    Path("now").mkdir()
    Path("now/data.xyz").write_text("")
    with pytest.raises(UserError, match=r"the data of the run are not here: old/\*\.xyz"):
        recorded.with_files(options, [])
    for written in (Path("now"), Path("now/*.xyz")):
        found = recorded.with_files(options, [written])
        assert found.training_set[0].systems.read_from == folder / written
        check_data([written])


def test_metadata_added_later_is_no_difference(folder: Path) -> None:
    """What a reproduced file gets in the end: the text of the old one, and then it is the old one."""
    from mtt.export.add_metadata import text_of, with_text

    changed = with_metadata(Path("model.pt"), Metadata(name="ethanol ü", authors=["A. Person"]))
    Path("named.pt").write_bytes(changed)
    assert with_text(Path("model.pt"), text_of(Path("named.pt"))) == changed


def test_a_run_of_an_old_version_is_reproduced_in_its_image(folder: Path) -> None:
    golden = Path(__file__).parents[1] / "golden" / "checkpoints" / "format-2_pet-1_options-1"
    for number in ("0", "1"):
        with pytest.raises(UserError) as caught:
            reproduce.run(golden / f"{number}.ckpt", Path("again"), [DATA])
        assert caught.value.what == "the run was of pet@1, and pet@3 is installed"
        assert "apptainer run IMAGE.sif reproduce" in (caught.value.hint or "")
    assert not Path("again").exists()
