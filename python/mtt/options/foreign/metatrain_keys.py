"""What becomes of each option that metatrain 2026.4 knows, at the top, of its PET and of its data.

The one place of this knowledge: :mod:`mtt.options.foreign.translate` applies the table, a test goes
through it. An entry about an option that mtt gets later has no effect from then on.
"""

from collections.abc import Mapping
from typing import Final

from mtt.options.foreign.fates import ANYTHING, Absent, Fate, Renamed, Reworked, Taken

_DEVICES = "not yet in mtt: training on several devices"
_READER = "mtt chooses the reader by the format of the file"
_PER_SYSTEM = "charge and spin are one number for each structure"
_READERS = (None, "ase", "metatensor")
_METATENSOR = "metatrain reads no structures with it either: name a .zip archive, and leave it out"


TOP: Final[Mapping[str, Fate]] = {
    "architecture": Taken(),
    "training_set": Taken(),
    "validation_set": Taken(),
    "test_set": Taken(0.0),
    "seed": Taken(),
    "base_precision": Taken(32),
    "device": Taken(
        "auto",
        refused={
            "gpu": "'gpu' is 'cuda' or 'mps' here, or 'auto' for whichever there is",
            "multi-gpu": "not yet in mtt: training on several devices; write 'cuda'",
            "multi-cuda": "not yet in mtt: training on several devices; write 'cuda'",
        },
    ),
    "print_stats": Absent((ANYTHING,), "mtt always tells what the data are", default="auto"),
    "final_eval": Absent((True,), "mtt always reports the errors of the best model", default=True),
    "wandb": Absent(
        (None,),
        "mtt does not report to Weights & Biases: metrics.csv in the folder of the run has the "
        "figures of every epoch",
    ),
}

ARCHITECTURE: Final[Mapping[str, Fate]] = {
    # What it was called before it left the experimental ones.
    "name": Taken(values={"experimental.soap_bpnn": "soap_bpnn"}),
    "model": Taken(),
    "training": Taken(),
    # of a branch
    "preset": Reworked(),
    "atomic_types": Absent(
        (None,), "mtt takes the atomic types from the training set", default=None
    ),
}

# Architectures of metatrain that are none of mtt's, of all its versions; some have a prefix.
_ARCHITECTURES: Final = frozenset(
    (
        *("gap", "scaler", "classifier", "dpa3", "flashmd"),
        *("flashmd_symplectic", "mace", "space", "nanopet", "phace", "alchemical_model", "e_pet"),
        *("graph2mat", "mlelec"),
    )
)
_PREFIXES: Final = ("experimental.", "deprecated.")


def architectures() -> list[str]:
    """Return the architectures of metatrain that mtt does not have, sorted."""
    return sorted(_ARCHITECTURES)


def is_architecture(name: str) -> bool:
    """Return whether an architecture is one of metatrain's that mtt does not have."""
    stem = next((name.removeprefix(each) for each in _PREFIXES if name.startswith(each)), name)
    return stem in _ARCHITECTURES or (stem != name and stem == "pet")


MODEL: Final[Mapping[str, Fate]] = {
    "cutoff": Taken(4.5),
    "cutoff_function": Taken("Bump"),
    "cutoff_width": Taken(0.5),
    "d_pet": Taken(128),
    "d_head": Taken(128),
    "d_node": Taken(256),
    "d_feedforward": Taken(256),
    "num_heads": Taken(8),
    "num_attention_layers": Taken(2),
    "num_gnn_layers": Taken(2),
    "normalization": Taken("RMSNorm"),
    "activation": Taken("SwiGLU"),
    "attention_temperature": Taken(1.0),
    "transformer_type": Taken("PreLN"),
    "featurizer_type": Taken("feedforward"),
    "num_neighbors_adaptive": Absent(
        (None,),
        "not yet in mtt: a cutoff for each atom that follows the number of its neighbors",
        "choose one cutoff for all",
        default=None,
    ),
    "adaptive_cutoff_method": Absent((ANYTHING,), "", default="solver"),
    "cutoff_width_adaptive": Absent((ANYTHING,), "", default=1.0),
    "zbl": Taken(False),
    "long_range": Reworked(
        {
            "enable": False,
            "use_ewald": False,
            "smearing": 1.4,
            "kspace_resolution": 1.33,
            "interpolation_nodes": 5,
        },
    ),
    "system_conditioning": Taken(False),
    "max_charge": Taken(10),
    "max_spin_multiplicity": Taken(10),
    # of older versions
    "heads": Absent(({}, None), "all heads of mtt are alike, d_head wide"),
    "last_layer_parameters": Absent(({}, None), "all heads of mtt are alike"),
}

# Where it is enabled; whether it is, :mod:`translate` asks.
_SUMMED = "mtt sums over waves, exactly"
LONG_RANGE: Final[Mapping[str, Fate]] = {
    "enable": Reworked(False),
    "use_ewald": Absent((ANYTHING,), _SUMMED, default=False),
    "smearing": Taken(1.4),
    "kspace_resolution": Taken(1.33),
    "interpolation_nodes": Absent((ANYTHING,), _SUMMED, default=5),
}

# Of its SOAP-BPNN; sizes are in `soap` and `bpnn`, as here.
SOAP_MODEL: Final[Mapping[str, Fate]] = {
    "soap": Taken(),
    "bpnn": Taken(),
    "legacy": Absent((ANYTHING,), "", default=True),
    "add_lambda_basis": Absent((ANYTHING,), "", default=True),
    "heads": Absent(({}, None), "all heads of mtt are alike", default={}),
    **{key: MODEL[key] for key in ("zbl", "long_range")},
}
MODELS: Final = {"pet": MODEL, "soap_bpnn": SOAP_MODEL}

_SCHEDULE = (
    "the learning rate of mtt rises over warmup_fraction of the steps and then falls as a cosine"
)

TRAINING: Final[Mapping[str, Fate]] = {
    "batch_size": Taken(16),
    "num_epochs": Taken(1000),
    "warmup_fraction": Taken(0.01),
    "learning_rate": Taken(1e-4),
    "weight_decay": Taken(None),
    "log_interval": Taken(1),
    "checkpoint_interval": Taken(100),
    "atomic_baseline": Taken({}),
    "scale_targets": Taken(True),
    "num_workers": Taken(None, left_out=(None,)),
    "best_model_metric": Taken("mae_prod"),
    "grad_clip_norm": Taken(1.0),
    "loss": Reworked("mse"),
    "finetune": Reworked(
        {"read_from": None, "method": "full", "config": {}, "inherit_heads": {}},
    ),
    "distributed": Absent((False, None), _DEVICES),
    "distributed_port": Absent((ANYTHING,), "", default=39591),
    "fixed_scaling_weights": Absent(
        ({}, None), "mtt fits the scale of each target to the training set", default={}
    ),
    "per_structure_targets": Absent(
        ([], None),
        "in mtt the errors of a target per system always count per atom, those of a target per "
        "atom as they are",
        default=[],
    ),
    "log_mae": Absent((ANYTHING,), "mtt always reports RMSE and MAE", default=True),
    "log_separate_blocks": Absent(
        (False,), "mtt reports each target and gradient by itself", default=False
    ),
    "max_atoms_per_batch": Taken(None),
    "min_atoms_per_batch": Taken(0),
    # of older versions
    "fixed_composition_weights": Renamed("atomic_baseline", default={}),
    "use_atomic_baseline": Reworked(),
    "batch_atom_bounds": Reworked(),
    "scheduler_patience": Absent((), _SCHEDULE),
    "scheduler_factor": Absent((), _SCHEDULE),
}

_HEADS = "not yet in mtt: LoRA, and training of the heads only"

FINETUNE: Final[Mapping[str, Fate]] = {
    "read_from": Taken(None),
    "method": Absent(("full",), _HEADS, "write 'full', which trains all", default="full"),
    "config": Absent((ANYTHING,), "", default={}),
    "inherit_heads": Absent(
        ({}, None),
        "not yet in mtt: heads for new targets; the targets are those of the base",
        default={},
    ),
}

# Of its wrapper for uncertainties, which :mod:`llpr_options` takes apart.
LLPR_MODEL: Final[Mapping[str, Fate]] = {"num_ensemble_members": Reworked({})}
LLPR_TRAINING: Final[Mapping[str, Fate]] = {
    "batch_size": Taken(8),
    "model_checkpoint": Reworked(None),
    "regularizer": Absent(
        (None,),
        "mtt measures it in units of the mean of the covariance",
        "leave it out, or give uncertainty: {method: llpr, regularizer: ...} in the options of a "
        "training",
        default=None,
    ),
    "calibration_method": Absent(
        ("squared_residuals", "absolute_residuals"),
        "mtt calibrates by squared errors",
        default="absolute_residuals",
    ),
    "num_workers": Taken(None, left_out=(None,)),
    "distributed": Absent((False, None), _DEVICES),
    "num_epochs": Reworked(None),
    "distributed_port": Absent((ANYTHING,), "", default=39591),
}
# Of the training of the ensemble: without epochs there is none, and these have no effect.
LLPR_ENSEMBLE: Final[Mapping[str, Fate]] = {
    "loss": Reworked("gaussian_nll_ensemble"),
    "train_all_parameters": Reworked(False),
    "learning_rate": Taken(3e-4),
    "best_model_metric": Taken("loss"),
    **{
        key: TRAINING[key]
        for key in (
            "warmup_fraction",
            "weight_decay",
            "log_interval",
            "checkpoint_interval",
            "grad_clip_norm",
            "per_structure_targets",
            "log_separate_blocks",
            "max_atoms_per_batch",
            "min_atoms_per_batch",
            "batch_atom_bounds",
        )
    },
    "log_mae": Absent((ANYTHING,), "", default=False),
}
ENSEMBLE_LOSSES: Final[Mapping[str, str]] = {
    **{f"{name}_ensemble": name for name in ("gaussian_nll", "gaussian_crps", "empirical_crps")},
    # of older versions
    "ensemble_nll": "gaussian_nll",
}

_NO_FUNCTION = "names no function of the errors; write mse, mae or huber"
_OF_ENSEMBLES = (
    "this is a loss of the ensemble of llpr; write mse, mae or huber, or give uncertainty: {method: llpr, "
    "num_ensemble_members: ..., ensemble_loss: ...} with fine_tune"
)
MASKED_DOS: Final = "masked_dos"
SHIFT_AGNOSTIC: Final = "shift_agnostic_mse"

# The loss of one target, and of one of its gradients.
LOSS: Final[Mapping[str, Fate]] = {
    "type": Taken(
        "mse",
        # What the data lack is left out in any case.
        values={
            **{f"masked_{name}": name for name in ("mse", "mae", "huber")},
            # With the shift that their other options say.
            MASKED_DOS: "mse",
            SHIFT_AGNOSTIC: "mse",
        },
        refused={
            **dict.fromkeys(("pointwise", "masked_pointwise"), _NO_FUNCTION),
            **dict.fromkeys(ENSEMBLE_LOSSES, _OF_ENSEMBLES),
        },
    ),
    "weight": Taken(1.0),
    "delta": Taken(1.0),
    # of masked_dos, which is of older versions, and shift_agnostic_mse; others have no use for them
    **dict.fromkeys(
        ("grad_weight", "grad_penalty_weight", "int_weight", "extra_targets"), Reworked()
    ),
    "reduction": Taken("mean", refused={"none": "a loss is one number; write mean or sum"}),
    "gradients": Reworked({}),
    "forces": Reworked(),
    "stress": Reworked(),
    "virial": Reworked(),
}
# What metatrain calls the gradients of an energy in its full form.
LOSS_GRADIENTS: Final[Mapping[str, str]] = {"positions": "forces", "strain": "stress"}

DATASET: Final[Mapping[str, Fate]] = {
    "systems": Taken(),
    "targets": Taken(),
    "indices": Reworked(),
    "extra_data": Reworked(),
}

# Of one entry of extra data that mtt takes: charge or spin_multiplicity.
EXTRA_DATA: Final[Mapping[str, Fate]] = {
    "key": Taken(None, left_out=(None,)),
    "read_from": Reworked(),
    "reader": Absent(_READERS, _READER, default=None),
    "unit": Absent(
        ("", None, "e"), "charges are in units of the elementary charge, and spins have none"
    ),
    "quantity": Absent((ANYTHING,), "", default=""),
    "sample_kind": Absent(("system",), _PER_SYSTEM, default="system"),
    "per_atom": Absent((False,), _PER_SYSTEM, default=False),
    "type": Absent(("scalar",), _PER_SYSTEM, default="scalar"),
    "num_subtargets": Absent((1,), _PER_SYSTEM, default=1),
    "description": Absent((ANYTHING,), "", default=""),
}

SYSTEMS: Final[Mapping[str, Fate]] = {
    "read_from": Taken(),
    "reader": Taken(None, refused={"metatensor": _METATENSOR}),
    "length_unit": Taken("", left_out=("", None)),
}

TARGET: Final[Mapping[str, Fate]] = {
    "quantity": Taken(""),
    "read_from": Taken(),
    "reader": Absent(_READERS, _READER, default=None),
    "key": Taken(None, left_out=(None,)),
    "unit": Taken("", left_out=("", None)),
    "sample_kind": Renamed(
        "per",
        default="system",
        refused={"atom_pair": "not yet in mtt: targets of pairs of atoms"},
    ),
    "per_atom": Renamed("per", default=False, values={False: "system", True: "atom"}),
    "type": Reworked("scalar"),
    "num_subtargets": Renamed("properties", default=1),
    "description": Taken(""),
    "forces": Reworked(False),
    "stress": Reworked(False),
    "virial": Reworked(False),
}

GRADIENT: Final[Mapping[str, Fate]] = {
    "read_from": Taken(),
    "reader": Absent(_READERS, _READER, default=None),
    "key": Taken(None, left_out=(None,)),
}
