"""Option files of each kind that metatrain takes, and the same in our spelling."""

from pathlib import Path
from textwrap import dedent

import pytest

from mtt.options import Options, OptionsError, load_eval_options, load_options


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.xyz", "b.xyz"):
        Path(name).touch()
    Path("held-out.txt").write_text("3  # the third\n5\n\n8\n")


def load(text: str, *overrides: str) -> Options:
    Path("options.yaml").write_text(dedent(text))
    return load_options("options.yaml", overrides)


def refusals(text: str) -> list[str]:
    with pytest.raises(OptionsError) as caught:
        load(text)
    return [f"{each.name}: {each.message}" for each in caught.value.problems]


DATA = """
training_set: {systems: a.xyz, targets: {energy: {unit: kcal/mol}}}
"""

KINDS = {
    "what metatrain writes beside a run": (
        """\
        device: cpu
        base_precision: 64
        seed: 7
        final_eval: true
        print_stats: auto
        architecture:
          name: pet
          model:
            cutoff: 5.0
            num_neighbors_adaptive: null
            adaptive_cutoff_method: solver
            cutoff_width_adaptive: 1.0
            zbl: false
            long_range: {enable: false, use_ewald: false, smearing: 1.4}
            system_conditioning: false
            max_charge: 10
          training:
            distributed_port: 39591
            num_epochs: 7
            num_workers: null
            atomic_baseline: {}
            fixed_scaling_weights: {}
            per_structure_targets: []
            log_mae: true
            loss:
              energy:
                type: mse
                weight: 1.0
                reduction: mean
                gradients:
                  positions: {type: mse, weight: 2.0, reduction: mean}
                  strain: {type: mse, weight: 0.5, reduction: mean}
            finetune: {read_from: null, method: full, config: {}, inherit_heads: {}}
        training_set:
        - systems: {read_from: a.xyz, reader: null, length_unit: angstrom}
          targets:
            energy:
              quantity: energy
              read_from: a.xyz
              reader: null
              key: energy
              unit: eV
              sample_kind: system
              type: scalar
              num_subtargets: 1
              description: ''
              forces: {read_from: a.xyz, reader: null, key: forces}
              stress: {read_from: a.xyz, reader: null, key: stress}
              virial: false
        validation_set: 0.1
        test_set: 0.2
        """,
        """\
        device: cpu
        base_precision: 64
        seed: 7
        architecture:
          name: pet
          model: {cutoff: 5.0}
          training:
            num_epochs: 7
            loss: {targets: {energy: {type: mse, weight: 1.0, forces: 2.0, stress: 0.5}}}
        training_set:
          systems: a.xyz
          targets: {energy: {read_from: a.xyz, key: energy, unit: eV, virial: off}}
        validation_set: 0.1
        test_set: 0.2
        """,
    ),
    "the shortest": (
        "architecture: {name: pet}\ntraining_set: a.xyz\nvalidation_set: 0.1\n",
        "architecture: pet\ntraining_set: a.xyz\n",
    ),
    "units left out": (
        """\
        architecture: {name: pet}
        training_set:
          systems: {read_from: a.xyz, length_unit: ''}
          targets: {energy: {key: E, unit: ''}}
        validation_set: 0.1
        """,
        "architecture: pet\ntraining_set: {systems: a.xyz, targets: {energy: {key: E}}}\n",
    ),
    "several data sets and targets": (
        """\
        architecture: {name: pet}
        training_set:
        - systems: {read_from: a.xyz, length_unit: angstrom}
          targets:
            energy: {key: E, unit: eV, forces: off, stress: off}
            mtt::charges: {quantity: charge, unit: e, per_atom: true}
        - systems: {read_from: b.xyz, length_unit: angstrom}
          targets:
            energy: {key: E, unit: eV, forces: off, stress: off}
            mtt::charges: {quantity: charge, unit: e, sample_kind: atom}
        validation_set: 0.1
        """,
        """\
        architecture: pet
        training_set:
        - systems: a.xyz
          targets: &targets
            energy: {key: E, unit: eV, forces: off, stress: off}
            mtt::charges: {quantity: charge, unit: e, per: atom}
        - systems: b.xyz
          targets: *targets
        """,
    ),
    "indices": (
        """\
        architecture: {name: pet}
        training_set: {systems: a.xyz, targets: {energy: {unit: eV}}, indices: [0, 1, 2, 4]}
        validation_set: {indices: held-out.txt}
        test_set: {systems: b.xyz, targets: {energy: {unit: eV}}, indices: [0, 7]}
        """,
        """\
        architecture: pet
        training_set:
          systems: {read_from: a.xyz, indices: [0, 1, 2, 4]}
          targets: {energy: {unit: eV}}
        validation_set: {systems: {read_from: a.xyz, indices: [3, 5, 8]}}
        test_set: {systems: {read_from: b.xyz, indices: [0, 7]}}
        """,
    ),
    "indices of the whole training set": (
        "architecture: {name: pet}\ntraining_set: a.xyz\nvalidation_set: {indices: held-out.txt}\n",
        "architecture: pet\ntraining_set: a.xyz\nvalidation_set: [3, 5, 8]\n",
    ),
    "fine-tuning": (
        f"""\
        architecture:
          name: pet
          training: {{finetune: {{method: full, read_from: base.ckpt, config: {{}}}}}}
        validation_set: 0.1
        {DATA.strip()}
        """,
        f"""\
        architecture: {{name: pet, training: {{fine_tune: base.ckpt}}}}
        {DATA.strip()}
        """,
    ),
    "energies per atom, as older versions call them": (
        f"""\
        architecture:
          name: pet
          training: {{fixed_composition_weights: {{energy: {{1: -13.6, 8: -2041.8}}}}}}
        {DATA.strip()}
        """,
        f"""\
        architecture:
          name: pet
          training: {{atomic_baseline: {{energy: {{1: -13.6, 8: -2041.8}}}}}}
        {DATA.strip()}
        """,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_each_kind_is_taken(kind: str) -> None:
    theirs, ours = KINDS[kind]
    assert load(theirs).to_dict() == load(ours).to_dict()


def test_gradients_that_metatrain_wrote_are_used_if_they_are_there() -> None:
    """With its reader, a section is what it writes of a default; what differs is asked for."""
    target = "training_set: {{systems: a.xyz, targets: {{energy: {{forces: {0}}}}}}}\n"
    for section, expected in (
        ("{reader: null, key: forces, read_from: a.xyz}", None),
        ("{reader: null}", None),
        ("{reader: null, key: f}", "f"),
        ("{key: forces}", "forces"),
        ("{reader: ase, read_from: b.xyz}", "forces"),
    ):
        options = load("architecture: pet\n" + target.format(section))
        forces = options.training_set[0].targets["energy"].forces
        assert (forces.key if forces else forces) == expected, section


def test_only_one_energy_looks_for_gradients() -> None:
    text = """\
    architecture: pet
    training_set:
      systems: a.xyz
      targets:
        energy: {forces: {reader: null}}
        mtt::other: {quantity: energy, forces: {reader: null, key: forces2}}
        mtt::third: {quantity: energy, forces: {reader: null, read_from: b.xyz}}
    """
    targets = load(text).training_set[0].targets
    assert targets["energy"].forces is None
    found = [targets[name].forces for name in ("mtt::other", "mtt::third")]
    assert [each.key for each in found if each] == ["forces2", "forces"]


LOSSES = {
    "{energy: {type: mae, forces: mae}}": "{targets: {energy: {type: mae, forces: 1.0}}}",
    "{energy: mse}": "{targets: {energy: {type: mse}}}",
    "{energy: {weight: 1.0, forces: 10}}": "{targets: {energy: {weight: 1.0, forces: 10.0}}}",
    "{energy: {type: huber, delta: 0.2, forces: {type: huber, delta: 0.2, weight: 3.0}}}": (
        "{targets: {energy: {type: huber, delta: 0.2, forces: 3.0}}}"
    ),
    "{energy: {forces: {weight: 2.0}, gradients: {positions: {weight: 4.0}}}}": (
        "{targets: {energy: {forces: 4.0}}}"
    ),
    "{energy: {virial: {weight: 2.0}}}": "{targets: {energy: {stress: 2.0}}}",
    "{type: huber, energy: {forces: {type: huber}}}": (
        "{type: huber, targets: {energy: {forces: 1.0}}}"
    ),
    "{energy: {type: mse, reduction: mean, forces: {type: huber, weight: 10.0}}}": (
        "{targets: {energy: {type: mse, forces: {type: huber, weight: 10.0}}}}"
    ),
    "{energy: {type: mae, forces: {weight: 10.0}}}": (
        "{targets: {energy: {type: mae, forces: {type: mse, weight: 10.0}}}}"
    ),
    "{energy: {type: huber, delta: 0.5, gradients: {positions: {type: huber, delta: 0.1}}}}": (
        "{targets: {energy: {type: huber, delta: 0.5, forces: {delta: 0.1, weight: 1.0}}}}"
    ),
    "{energy: huber}": "{targets: {energy: {type: huber, forces: mse}}}",
    "{energy: {type: masked_mae, forces: masked_mae}}": (
        "{targets: {energy: {type: mae, forces: 1.0}}}"
    ),
    "{energy: {gradients: {strain: {type: masked_huber, delta: 0.2}}}}": (
        "{targets: {energy: {stress: {type: huber, delta: 0.2, weight: 1.0}}}}"
    ),
    "{energy: {reduction: sum}}": (
        "{targets: {energy: {reduction: sum, forces: {reduction: mean}}}}"
    ),
    "{energy: {reduction: sum, forces: {reduction: sum, weight: 2.0}}}": (
        "{targets: {energy: {reduction: sum, forces: 2.0}}}"
    ),
    "{energy: {forces: {reduction: sum}}}": (
        "{targets: {energy: {forces: {reduction: sum, weight: 1.0}}}}"
    ),
    "{reduction: sum, energy: {reduction: mean, forces: {type: mae}}}": (
        "{reduction: sum, targets: {energy: {reduction: mean, forces: {type: mae, weight: 1.0}}}}"
    ),
    "huber": "{type: huber}",
    "{energy: {1: 2.0, 30: 3.0}, forces: {type: mae, weight: {1: 0.5, 20: 3.0}}}": (
        "{energy: {30: 3.0, 1: 2.0}, forces: {weight: {20: 3.0, 1: 0.5}, type: mae}}"
    ),
    "{energy: 2.0, forces: 3.0}": "{energy: 2.0, forces: 3.0}",
}


@pytest.mark.parametrize("theirs", LOSSES)
def test_a_loss_is_taken(theirs: str) -> None:
    text = "architecture: {name: pet, training: {loss: @}}\n" + DATA
    taken, ours = (load(text.replace("@", loss)).to_dict() for loss in (theirs, LOSSES[theirs]))
    assert taken == ours


_LOSS = "architecture.training.loss.energy"
REFUSED = {
    "{energy: {reduction: none}}": f"{_LOSS}.reduction: a loss is one number; write mean or sum",
    "{energy: {type: gaussian_nll_ensemble}}": (
        f"{_LOSS}.type: this is a loss of the ensemble of llpr; write mse, mae or huber, or give"
        " uncertainty: {method: llpr, num_ensemble_members: ..., ensemble_loss: ...} with fine_tune"
    ),
    "{energy: {forces: {wight: 1.0}}}": f"{_LOSS}.forces.wight: unknown option; did you mean 'weight'?",
    "{energy: {gradients: {cell: {weight: 1.0}}}}": (
        f"{_LOSS}.gradients.cell: unknown option; known here: positions, strain"
    ),
    "{energy: {weight: 1.0}, targets: {energy: {weight: 2.0}}}": (
        f"{_LOSS}: given twice: also as architecture.training.loss.targets.energy"
    ),
    "{mtt::x: {weight: 1.0}}": (
        "architecture.training.loss.mtt::x: there is no target 'mtt::x'; the data sets have 'energy'"
    ),
}


@pytest.mark.parametrize("theirs", REFUSED)
def test_a_loss_that_is_not_possible_is_refused_at_its_place(theirs: str) -> None:
    text = f"architecture: {{name: pet, training: {{loss: {theirs}}}}}\n" + DATA
    assert refusals(text) == [REFUSED[theirs]]


def test_a_function_of_the_values_alone_is_not_that_of_gradients() -> None:
    text = """\
    architecture: {name: pet, training: {loss: {energy: huber}}}
    training_set: {systems: a.xyz, targets: {energy: {forces: off}}}
    """
    own = load(text).architecture.training.loss.targets["energy"]
    assert (own.type, own.forces, own.stress) == ("huber", None, None)
    with_stress = text.replace("forces: off", "forces: off, stress: on")
    own = load(with_stress).architecture.training.loss.targets["energy"]
    assert own.forces is None
    assert own.stress is not None
    assert own.stress.type == "mse"


def test_a_file_of_indices_must_list_them() -> None:
    Path("held-out.txt").write_text("1\ntwo\n")
    text = "architecture: pet\ntraining_set: {systems: a.xyz, indices: held-out.txt}\n"
    assert refusals(text) == [
        "training_set.indices: the file must list indices, one integer a line: held-out.txt"
    ]
    split = "architecture: pet\ntraining_set: a.xyz\nvalidation_set: {indices: held-out.txt}\n"
    assert refusals(split) == [
        "validation_set.indices: the file must list indices, one integer a line: held-out.txt"
    ]


def test_overrides_may_be_spelled_either_way() -> None:
    text = "architecture: {name: pet, training: {finetune: {read_from: null}}}\n" + DATA
    for name in ("finetune.read_from", "fine_tune.read_from"):
        options = load(text, f"architecture.training.{name}=base.ckpt")
        assert options.architecture.training.fine_tune is not None


def test_data_of_an_evaluation_are_taken() -> None:
    Path("eval.yaml").write_text(
        "systems: {read_from: a.xyz, reader: ase, length_unit: angstrom}\n"
        "targets: {energy: {key: E, reader: null, sample_kind: system, forces: {reader: null}}}\n"
        "extra_data: {}\nindices: [1, 2]\n"
    )
    (dataset,) = load_eval_options("eval.yaml")
    assert dataset.systems.indices == [1, 2]
    assert dataset.targets["energy"].forces is None
