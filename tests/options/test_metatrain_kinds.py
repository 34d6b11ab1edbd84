"""Options files of each kind that metatrain 2026.4 has in public, in its spelling, from file to model.

A file in ``metatrain_kinds`` is a kind that is trained and exported; nothing else has to name it. It
finds the data that :func:`kinds_folder` makes. Those in ``metatrain_kinds/refused`` are refused.
"""

import shutil
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
import yaml
from memmap_folders import write_memmap
from packed_files import packed_values, write_packed, write_values
from small_runs import write_data

from mtt import checkpoint as checkpoints
from mtt.export import run as export
from mtt.options import OptionsError, load_options
from mtt.training import run as train

KINDS = Path(__file__).parent / "metatrain_kinds"
TRAINED = sorted(path.stem for path in KINDS.glob("*.yaml"))
_MODEL, _TRAINING = "architecture.model", "architecture.training"
# What is said of each option, and what to do.
REFUSED = {
    "adaptive_cutoff": {
        f"{_MODEL}.num_neighbors_adaptive": "not yet in mtt: a cutoff for each atom that follows the "
        "number of its neighbors; choose one cutoff for all",
        f"{_MODEL}.cutoff_function": "Cosine is of pet@1 only, as its second derivative jumps and "
        "forces have kinks: use Bump or Polynomial, or train pet@1 in its image with version: 1",
    },
    "distributed": {
        "device": "not yet in mtt: training on several devices; write 'cuda'",
        f"{_TRAINING}.distributed": "not yet in mtt: training on several devices; leave it out",
    },
    "extra_data": {
        "training_set.extra_data.mtt::polarizability_mask.read_from": "a mask is read from the file of "
        "the values of its target; write it into that file",
        "training_set.extra_data.temperature": "nothing in mtt uses 'temperature'; it knows charge and "
        "spin_multiplicity, and NAME_mask of a target NAME; leave it out",
        "training_set.extra_data.charge.sample_kind": "charge and spin are one number for each "
        "structure; leave it out",
    },
    "heads_only": {
        f"{_TRAINING}.finetune.method": "not yet in mtt: LoRA, and training of the heads only; write "
        "'full', which trains all",
        f"{_TRAINING}.finetune.inherit_heads": "not yet in mtt: heads for new targets; the targets are "
        "those of the base; leave it out",
    },
    "low_rank": {
        f"{_TRAINING}.finetune.method": "not yet in mtt: LoRA, and training of the heads only; write "
        "'full', which trains all",
    },
}


@pytest.fixture(scope="module")
def kinds_folder(tmp_path_factory: pytest.TempPathFactory, trained: Path) -> Path:
    """Return a folder with all that the files name.

    - ``structures.xyz``, ``others.xyz``: molecules and crystals with every kind of target;
    - ``crystals.xyz``: those that have a stress; ``held_out.txt``: numbers of structures;
    - ``structures.zip``, ``energy.mts``, ``dipole.mts``: the same as metatrain packs it;
    - ``base.ckpt``: a PET of an energy.
    """
    folder = tmp_path_factory.mktemp("kinds")
    for name, seed in (("structures", 0), ("others", 1)):
        write_data(folder / f"{name}.xyz", seed=seed, several=True)
        frames = ase.io.read(folder / f"{name}.xyz", ":")
        for index, atoms in enumerate(frames):
            state = [(0, 1), (1, 2), (-1, 2)][index % 3]
            atoms.info["total_charge"], atoms.info["spin_multiplicity"] = state
            atoms.info["dos"] = np.exp(-((np.arange(8) - atoms.numbers.mean()) ** 2)) * len(atoms)
            atoms.info["dos_mask"] = np.array([0, 0, 1, 1, 1, 1, 1, index % 2])
        ase.io.write(folder / f"{name}.xyz", frames)
        if name == "structures":
            ase.io.write(folder / "crystals.xyz", [atoms for atoms in frames if atoms.pbc.all()])
    (folder / "held_out.txt").write_text("7\n8\n9\n")
    shutil.copy(trained / "model.ckpt", folder / "base.ckpt")
    crystals = ase.io.read(folder / "crystals.xyz", ":")
    write_memmap(folder / "crystals_memmap", crystals)
    frames = ase.io.read(folder / "structures.xyz", ":")
    write_packed(folder / "structures.zip", frames)
    for name in ("energy", "dipole"):
        write_values(folder / f"{name}.mts", packed_values(frames)[name])
    return folder


@pytest.mark.parametrize("kind", TRAINED)
def test_a_kind_is_trained_and_exported(
    kind: str, kinds_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = export.verified
    # All checks take longest, and have tests of their own; so have the pictures.
    quick = lambda file, output, _, *others: real(file, output, "quick", *others)  # noqa: E731
    monkeypatch.setattr(export, "verified", quick)
    monkeypatch.setattr(train, "_pictures", lambda *_: None)
    monkeypatch.chdir(kinds_folder)
    model = tmp_path / "model.pt"
    options = load_options(KINDS / f"{kind}.yaml")
    train.run(options, None, model)
    assert model.stat().st_size > 0
    header = checkpoints.read_header(model.with_suffix(".ckpt"))
    assert header.position.epoch == options.architecture.training.num_epochs


def test_each_refused_file_has_its_reasons() -> None:
    assert set(REFUSED) == {path.stem for path in (KINDS / "refused").glob("*.yaml")}


def test_extra_data_that_nothing_uses_are_said(
    kinds_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(kinds_folder)
    options = load_options(KINDS / "extra_data_unused.yaml")
    note = "training_set.extra_data.extra: nothing uses it, so it is not read"
    assert options.notes == (note,)
    assert all(dataset.extra_data is None for dataset in options.training_set)
    train.run(options, None, tmp_path / "model.pt", dry_run=True)
    assert capsys.readouterr().out.count(f"warning: {note}\n") == 1
    # Beside what is used, that stays; a mask of a target is not taken for nothing.
    text = (KINDS / "charge_and_spin.yaml").read_text()
    used = load_options(KINDS / "charge_and_spin.yaml")
    content = yaml.safe_load(text)
    data = content["training_set"]
    data["extra_data"]["more"] = {"key": "x", "unit": ""}
    more = load_options(content)
    assert more.to_dict() == used.to_dict() and len(more.notes) == 1 and used.notes == ()
    data["extra_data"]["energy_mask"] = {"key": "known", "unit": ""}
    masked = load_options(content)
    assert masked.training_set[0].targets["energy"].mask == "known" and masked.notes == more.notes


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refusal_names_the_option_and_says_what_to_do(
    kind: str, kinds_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(kinds_folder)
    with pytest.raises(OptionsError) as caught:
        load_options(KINDS / "refused" / f"{kind}.yaml")
    reasons = {
        problem.name: "; ".join(filter(None, [problem.message, problem.advice]))
        for problem in caught.value.problems
    }
    assert reasons == REFUSED[kind]
