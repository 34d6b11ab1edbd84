"""A run does not go on with other data, and says which structures are not what they were."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from small_runs import make_options, write_data

from mtt import architecture_registry, checkpoint
from mtt.data import changes
from mtt.data.structure import Reference, Structure, content_hash, fingerprints
from mtt.errors import UserError
from mtt.options import Options, load_options
from mtt.training.prepare import prepare
from mtt.training.runs.option_changes import as_begun, differences, refused

HASH = "fa38641347e6eccac7ff3c6927d26d484043ad62a1c7deee406ab22650c1a725"
CKPT = Path("model.ckpt")
GOLDEN = Path(__file__).parents[1] / "golden/checkpoints/format-3_pet-3_options-2/0.ckpt"
SINCE = "have changed since the checkpoint was written: "
HINT = (
    "\n  hint: bring the data back to resume, train anew without --continue, or fine-tune the "
    "checkpoint on purpose by naming it in architecture.training.fine_tune.read_from"
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def start(options):
    """A checkpoint of a run that has not yet made a step."""
    prepare(options, None, Path("model.pt"), lambda text: None).save(CKPT)


def resume_run(options):
    prepare(options, CKPT, Path("model.pt"), lambda text: None)


def refusal(options):
    with pytest.raises(UserError) as caught:
        resume_run(options)
    return str(caught.value)


# ---- files that somebody edits: a frame is the text of one structure ----


def frames_of(path):
    lines = path.read_text().splitlines()
    frames = []
    while lines:
        n = int(lines[0]) + 2
        frames.append("\n".join(lines[:n]) + "\n")
        lines = lines[n:]
    return frames


def other_energy(frame):
    return re.sub(r"energy=\S+", "energy=0.25", frame)


def other_forces(frame):
    return frame.rstrip()[:-8] + "25000000\n"


def moved_atom(frame):
    head, line, rest = frame.partition(frame.splitlines(keepends=True)[2])
    symbol, x, tail = line.split(maxsplit=2)
    return f"{head}{symbol} {float(x) + 0.01:.8f} {tail}{rest}"


def other_element(frame):
    return re.sub(r"^O ", "S ", frame, count=1, flags=re.MULTILINE)


def other_cell(frame):
    return frame.replace("3.61", "3.62", 1)


def edited(frames, changed):
    return [changed.get(index, lambda one: one)(one) for index, one in enumerate(frames)]


EDITS = {
    "energies": (
        lambda old, new: edited(old, {5: other_energy, 6: other_energy, 11: other_energy}),
        "3 of its 12 structures have other targets, first {}#5",
    ),
    "forces": (
        lambda old, new: edited(old, {4: other_forces}),
        "1 of its 12 structures has other targets, {}#4",
    ),
    "position": (
        lambda old, new: edited(old, {2: moved_atom}),
        "1 of its 12 structures has other positions, cells or types, {}#2",
    ),
    "cell": (
        lambda old, new: edited(old, {8: other_cell}),
        "1 of its 12 structures has other positions, cells or types, {}#8",
    ),
    "element": (
        lambda old, new: edited(old, {0: other_element, 9: other_element}),
        "2 of its 12 structures have other positions, cells or types, first {}#0",
    ),
    "both": (
        lambda old, new: edited(old, {1: moved_atom, 7: other_energy, 3: other_energy}),
        "1 of its 12 structures has other positions, cells or types, {}#1; "
        "2 have other targets, first {}#3",
    ),
    "everything": (
        lambda old, new: new,
        "all 12 structures have other positions, cells or types, first {}#0",
    ),
    "one more": (
        lambda old, new: old + new[:1],
        "the first 12 structures are unchanged; 1 was added at the end, {}#12",
    ),
    "more": (
        lambda old, new: old + new[:3],
        "the first 12 structures are unchanged; 3 were added at the end, first {}#12",
    ),
    "fewer": (
        lambda old, new: old[:10],
        "10 of its 12 structures are unchanged; 2 are gone from its end",
    ),
    "a hole": (
        lambda old, new: old[:3] + old[4:],
        "11 of its 12 structures are unchanged; 1 is gone",
    ),
    "inserted": (
        lambda old, new: old[:3] + new[:1] + old[3:],
        "all 12 structures are unchanged; 1 is new, {}#3",
    ),
    "order": (
        lambda old, new: old[:3] + old[6:9] + old[3:6] + old[9:],
        "it has the same 12 structures in another order, first {}#3",
    ),
    "replaced and shifted": (
        lambda old, new: old[1:4] + [other_energy(old[4])] + old[5:] + new[:1],
        "10 of its 12 structures are unchanged; 1 is gone; 1 is new, {}#11; "
        "1 has other targets, {}#3",
    ),
    "one twice": (
        lambda old, new: old[:11] + old[:1],
        "1 of its 12 structures has other positions, cells or types, {}#11",
    ),
}


@pytest.mark.parametrize("case", EDITS)
def test_what_changed_in_a_file(folder, case):
    edit, said = EDITS[case]
    options = make_options(folder)
    data = folder / "data.xyz"
    start(options)
    write_data(folder / "new.xyz", seed=1)
    data.write_text("".join(edit(frames_of(data), frames_of(folder / "new.xyz"))))
    expected = said.replace("{}", str(data))
    assert refusal(options) == (
        f"the data of training_set {SINCE}{expected}\n  where: {data}{HINT}"
    )


def test_every_set_that_changed_is_named(folder):
    for seed, name in enumerate(("validation", "test", "more")):
        write_data(folder / f"{name}.xyz", n=3, seed=seed + 5)
    training = make_options(folder).training_set[0].systems.read_from
    options = make_options(
        folder,
        training_set=[str(training), str(folder / "more.xyz")],
        validation_set=str(folder / "validation.xyz"),
        test_set=str(folder / "test.xyz"),
    )
    start(options)
    resume_run(options)
    more, test = folder / "more.xyz", folder / "test.xyz"
    more.write_text("".join(edited(frames_of(more), {1: other_energy})))
    test.write_text("".join(frames_of(test)[:2]))
    assert refusal(options) == (
        f"the data of training_set {SINCE}1 of its 15 structures has other targets, {more}#1; "
        "those of test_set: 2 of its 3 structures are unchanged; 1 is gone from its end\n"
        f"  where: {training}, {more}, {test}{HINT}"
    )


def stripped(change):
    """The checkpoint with other fingerprints."""
    header, tensors = checkpoint.read(CKPT)
    rows = tensors.pop("data/training_set")
    checkpoint.write(CKPT, header, tensors | change(rows))


def test_fingerprints_in_a_checkpoint(folder):
    write_data(folder / "validation.xyz", n=5, seed=7)
    start(make_options(folder, validation_set=str(folder / "validation.xyz")))
    _, tensors = checkpoint.read(CKPT)
    found = {name: one for name, one in tensors.items() if name.startswith("data/")}
    assert {name: tuple(one.shape) for name, one in found.items()} == {
        "data/training_set": (12, 2),
        "data/validation_set": (5, 2),
    }
    assert all(one.dtype == torch.int64 for one in found.values())
    rows = found["data/training_set"]
    assert len(torch.unique(rows)) == 24


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: {},
        lambda rows: {"data/training_set": rows[:5]},
        lambda rows: {"data/training_set": rows[:, :1].clone()},
        lambda rows: {"data/training_set": rows[:0]},
        lambda rows: {"data/training_set": rows.to(torch.int32)},
        lambda rows: {"data/training_set": rows.flatten()},
    ],
)
def test_checkpoints_without_good_fingerprints_say_less(folder, change):
    options = make_options(folder)
    start(options)
    stripped(change)
    resume_run(options)
    data = folder / "data.xyz"
    frames = frames_of(data)
    data.write_text("".join(edited(frames, {3: other_energy})))
    assert refusal(options) == (
        f"the data of training_set {SINCE}of its 12 structures, some have other positions, cells "
        f"or targets\n  where: {data}{HINT}"
    )
    data.write_text("".join(frames[:11]))
    assert f"{SINCE}it had 12 structures and now has 11\n" in refusal(options)


# ---- fingerprints and blocks of them ----


def structure(index, energy=None, x=None):
    positions = np.array([[float(index) if x is None else x, 0.0, 0.0]])
    value = float(index) if energy is None else energy
    reference = Reference(np.array([value]), np.zeros((1, 3)))
    types = np.array([1], dtype=np.int32)
    pbc = np.zeros(3, dtype=bool)
    return Structure(
        types, positions, np.zeros((3, 3)), pbc, {"energy": reference}, f"d.xyz#{index}"
    )


def described(old, new):
    kept = changes.to_keep(fingerprints(old)[1])
    return changes.describe(kept, len(old), new, fingerprints(new)[1])


def test_hashes_of_data_are_those_of_all_versions():
    # In every checkpoint there is: another hash for the same data would refuse them all.
    assert content_hash([structure(0), structure(1, energy=-2.5)]) == HASH


def test_a_fingerprint_tells_geometry_from_targets():
    content, rows = fingerprints([structure(0), structure(1), structure(0, energy=2.0)])
    assert content == content_hash([structure(0), structure(1), structure(0, energy=2.0)])
    assert rows.shape == (3, 2) and rows.dtype == np.int64
    assert rows[0, 0] == rows[2, 0] and rows[0, 1] != rows[2, 1]
    assert len(np.unique(rows)) == 5
    assert fingerprints([])[1].shape == (0, 2)


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7, 100])
def test_blocks_have_a_size_that_can_be_told_from_their_number(limit, monkeypatch):
    monkeypatch.setattr(changes, "MAX_ROWS", limit)
    for n in range(1, 30):
        old = [structure(index) for index in range(n)]
        assert len(changes.to_keep(fingerprints(old)[1])) <= limit
        assert described(old, old) is None
        new = [*old, structure(n), structure(n + 1)]
        assert described(old, new) == (
            f"the first {n} structures are unchanged; 2 were added at the end, first d.xyz#{n}"
        )
        for changed in (0, n // 2, n - 1):
            text = described(old, edited(old, {changed: lambda one: structure(99, x=0.5)}))
            assert "have" in text or "has" in text


def test_what_blocks_tell(monkeypatch):
    monkeypatch.setattr(changes, "MAX_ROWS", 4)
    old = [structure(index) for index in range(11)]  # blocks of 3, 3, 3 and 2
    retargeted = [structure(i, energy=i + (i in (4, 10))) for i in range(11)]
    assert described(old, retargeted) == (
        "2 of the 4 blocks of 3 structures have other targets, first between d.xyz#3 and d.xyz#5"
    )
    moved = edited(old, {9: lambda one: structure(9, x=0.5)})
    assert described(old, moved) == (
        "1 of the 4 blocks of 3 structures has other positions, cells, types or targets, between "
        "d.xyz#9 and d.xyz#10"
    )
    assert described(old, old[:6]) == "it had 11 structures and now has 6"
    assert described(old, old[:2] + old[3:]) == (
        "it had 11 structures and now has 10; the first difference is between d.xyz#0 and d.xyz#3"
    )


def test_very_many_structures_are_described_in_no_time():
    rows = np.arange(2 * 65_536, dtype=np.int64).reshape(-1, 2)
    one = structure(0)
    now = rows.copy()
    now[[7, 900], 1] += 1
    kept = changes.to_keep(rows)
    assert kept.shape == rows.shape
    assert changes.describe(kept, len(rows), [one] * len(rows), now) == (
        "2 of its 65536 structures have other targets, first d.xyz#0"
    )
    assert changes.to_keep(np.zeros((65_537, 2), dtype=np.int64)).shape == (32_769, 2)


# ---- options, by what they mean ----


def restored(change):
    header, tensors = checkpoint.read(CKPT)
    change(header.options)
    checkpoint.write(CKPT, header, tensors)


def test_options_that_did_not_exist_yet_have_their_defaults(folder):
    options = make_options(folder)
    start(options)

    def forget(stored):
        for name in ("fine_tune", "grad_clip_norm"):
            del stored["architecture"]["training"][name]

    restored(forget)
    resume_run(options)
    assert refusal(make_options(folder, {"grad_clip_norm": 0.5})) == (
        "the options differ from those that the checkpoint was trained with:\n"
        "    architecture.training.grad_clip_norm: 1.0 in the checkpoint, now 0.5\n"
        "  where: model.ckpt\n"
        "  hint: undo these changes to resume (num_epochs may be made larger), train anew without "
        "--continue, or fine-tune the checkpoint on purpose by naming it in "
        "architecture.training.fine_tune.read_from"
    )


def test_options_that_this_version_cannot_read_are_compared_as_they_are(folder):
    options = make_options(folder)
    start(options)

    def of_another_version(stored):
        stored["architecture"]["training"]["learning_rates"] = [0.1]
        del stored["architecture"]["training"]["grad_clip_norm"]

    restored(of_another_version)
    found = refusal(options)
    for line in (
        "    architecture.training.learning_rates: [0.1] in the checkpoint, now nothing\n",
        "    architecture.training.grad_clip_norm: nothing in the checkpoint, now 1.0\n",
    ):
        assert line in found
    assert found.count(" in the checkpoint, now ") == 2


def header_with(options):
    """What of a checkpoint's header decides whether options are those of its run."""
    header = checkpoint.read_header(GOLDEN)
    return replace(
        header,
        architecture=checkpoint.ArchitectureRecord("pet", architecture_registry.get("pet").version),
        options=options,
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("best_model_metric", "loss", "'rmse_prod' in the checkpoint, now 'loss'"),
        ("batch_size", 3, "2 in the checkpoint, now 3"),
        ("learning_rate", 0.5, "0.01 in the checkpoint, now 0.5"),
        ("atomic_baseline", {"energy": -1.0}, None),
        ("fine_tune", True, "None in the checkpoint, now {'read_from': None, "),
    ],
)
def test_each_of_them_makes_another_run(folder, name, value, said):
    options = make_options(folder)
    header = header_with(options.to_dict())
    assert refused(header, options) == []
    (found,) = refused(header, make_options(folder, {name: value}))
    assert found[0].startswith(f"architecture.training.{name}")
    assert said is None or f"{found[1]} in the checkpoint, now {found[2]}".startswith(said)


def test_a_run_keeps_the_defaults_with_which_it_began(folder):
    """The options file says nothing of a default that is another one today."""
    begun = make_options(folder, {"learning_rate": 1e-4, "best_model_smoothing": 0.0})
    start(begun)
    path = folder / "options.yaml"
    plain = yaml.safe_load(path.read_text())
    for name in ("learning_rate", "best_model_smoothing"):
        del plain["architecture"]["training"][name]
    path.write_text(yaml.safe_dump(plain))
    options = load_options(path)
    assert options.architecture.training.learning_rate == 1e-3
    run = prepare(options, CKPT, Path("model.pt"), lambda text: None)
    assert run.problem.hypers == begun.architecture.training
    assert run.header.options == begun.to_dict()
    assert refused(checkpoint.read_header(CKPT), options) == []
    # What is stated counts.
    assert refused(checkpoint.read_header(CKPT), make_options(folder, {"learning_rate": 1e-3}))


@pytest.mark.parametrize("stored", [{}, {"architecture": 3}, {"architecture": {"name": "no"}}])
def test_strange_options_are_refused_and_no_more(folder, stored):
    options: Options = make_options(folder)
    assert refused(header_with(stored), options) != []


def test_differences_are_named_to_the_place():
    old = {"a": {"b": 1, "c": [1, 2]}, "d": [{"e": 1}, {"e": 2}], "f": None}
    assert differences(old, old) == []
    new = {"a": {"b": 1.5, "c": [2, 1]}, "d": [{"e": 1}, {"e": 3}, {"e": 4}], "g": {}}
    assert differences(old, new) == [
        ("a.b", "1", "1.5"),
        ("a.c", "[1, 2]", "[2, 1]"),
        ("d[1].e", "2", "3"),
        ("d[2]", "nothing", "{'e': 4}"),
        ("f", "None", "nothing"),
        ("g", "nothing", "{}"),
    ]


@pytest.mark.parametrize(
    ("written", "stored", "expected"),
    [
        ({}, {"channels": 16, "center_weight": 1.0}, (16, 1.0)),
        ({"channels": 3}, {"channels": 3, "center_weight": 1.0}, (3, 1.0)),
        # What the user writes is never overruled, and what never was a default is no default.
        ({"channels": 24}, {"channels": 16, "center_weight": 1.0}, (24, 1.0)),
        ({}, {"channels": 15, "center_weight": 0.3}, (24, 0.0)),
        ({}, {"channels": 24, "center_weight": 0.0}, (24, 0.0)),
    ],
)
def test_a_run_of_soap_bpnn_1_is_resumed_with_its_defaults(written, stored, expected, folder):
    write_data(folder / "data.xyz")
    soap = {"cutoff": {"radius": 3.0}, **written}
    architecture = {"name": "soap_bpnn", "model": {"soap": soap} if written else {}}
    options = make_options(folder, architecture=architecture)
    start(options)
    header = checkpoint.read_header(CKPT)
    begun = options.to_dict()
    begun["architecture"]["model"]["soap"] |= stored
    header = replace(header, options=begun)
    found = as_begun(options, header).architecture.model.soap
    assert (found.channels, found.center_weight) == expected
    changed = {name for name, _, _ in refused(header, options)}
    prefix = "architecture.model.soap."
    assert changed == {prefix + name for name in stored if stored[name] != getattr(found, name)}
