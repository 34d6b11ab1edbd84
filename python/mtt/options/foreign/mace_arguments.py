"""What becomes of each argument of ``mace_run_train``, of mace-torch 0.3.

Renamed arguments have the full names of ours. :mod:`mtt.options.foreign.mace_run` applies the table; an
option that nobody knows is looked up in it as well, see :mod:`mtt.options.foreign.meanings`.
"""

from collections.abc import Mapping
from typing import Final

from mtt.options.foreign.fates import Absent, Fate, Renamed, Reworked

NO_MACE: Final = (
    "these become options of pet, whose network has sizes of its own; for MACE itself write "
    "architecture: mace"
)
_MODEL = "architecture.model"
_TRAINING = "architecture.training"


def _absent(reason: str, *names: str) -> dict[str, Fate]:
    return {name: Absent((), reason) for name in names}


ARGUMENTS: Final[Mapping[str, Fate]] = {
    # taken
    "seed": Renamed("seed"),
    "device": Renamed("device"),
    "default_dtype": Renamed("base_precision", values={"float32": 32, "float64": 64}),
    "r_max": Renamed(f"{_MODEL}.cutoff"),
    "pair_repulsion": Renamed(f"{_MODEL}.zbl"),
    "batch_size": Renamed(f"{_TRAINING}.batch_size"),
    "max_num_epochs": Renamed(f"{_TRAINING}.num_epochs"),
    "num_workers": Renamed(f"{_TRAINING}.num_workers"),
    "energy_weight": Renamed(f"{_TRAINING}.loss.energy"),
    "forces_weight": Renamed(f"{_TRAINING}.loss.forces"),
    "virials_weight": Renamed(f"{_TRAINING}.loss.stress"),
    "train_file": Renamed("training_set.systems.read_from"),
    "valid_file": Renamed("validation_set"),
    "valid_fraction": Renamed("validation_set"),
    "test_file": Renamed("test_set"),
    "energy_key": Renamed("training_set.targets.energy.key"),
    "forces_key": Renamed("training_set.targets.energy.forces.key"),
    "stress_key": Renamed("training_set.targets.energy.stress.key"),
    "virials_key": Renamed("training_set.targets.energy.virial.key"),
    # taken in part
    "E0s": Reworked(),
    "loss": Reworked(),
    "config_type_weights": Reworked(),
    "compute_stress": Reworked(),
    # left out
    **_absent(
        "the learning rates of MACE are not those of other architectures: the default is a good "
        "start",
        *("lr", "swa_lr", "lr_params_factors"),
    ),
    **_absent(
        "the learning rate of mtt rises over warmup_fraction of the steps and then falls as a cosine",
        *("scheduler", "lr_factor", "scheduler_patience", "lr_scheduler_gamma"),
    ),
    **_absent(
        "mtt trains with Adam, or with AdamW if weight_decay is a number",
        *("optimizer", "amsgrad", "beta", "beta1_schedulefree", "beta2_schedulefree", "lbfgs"),
    ),
    **_absent("weight_decay depends on the architecture: choose it anew", "weight_decay"),
    **_absent("grad_clip_norm depends on the scale of the loss: choose it anew", "clip_grad"),
    **_absent("mtt keeps the weights of the best epoch, not a moving average", "ema", "ema_decay"),
    **_absent(
        "mtt has no second stage with other weights in the loss",
        *("swa", "start_swa", "swa_energy_weight", "swa_forces_weight", "swa_stress_weight"),
        *("swa_virials_weight", "swa_dipole_weight", "swa_polarizability_weight"),
    ),
    **_absent(
        "mtt trains all epochs, and keeps the best: there is no early stop but max_time", "patience"
    ),
    **_absent("mtt validates after every epoch", "eval_interval"),
    **_absent("mtt validates with batches of batch_size", "valid_batch_size"),
    **_absent(
        "the stress enters the loss of mtt as the strain derivative per atom, an energy: its weight is "
        "another number",
        "stress_weight",
    ),
    **_absent(
        "the error above which mtt's Huber function is linear counts in the scale of the target, "
        "not in eV",
        "huber_delta",
    ),
    **_absent(
        NO_MACE,
        *("model", "radial_type", "num_radial_basis", "num_cutoff_basis", "distance_transform"),
        *("apply_cutoff", "use_last_readout_only", "use_embedding_readout", "interaction"),
        *("interaction_first", "max_ell", "correlation", "use_reduced_cg", "use_so3"),
        *("use_agnostic_product", "num_interactions", "MLP_irreps", "radial_MLP", "hidden_irreps"),
        *(
            "edge_irreps",
            "use_edge_irreps_first",
            "num_channels",
            "max_L",
            "gate",
            "embedding_specs",
        ),
        *("enable_cueq", "only_cueq", "enable_oeq"),
    ),
    **_absent(
        "not yet in mtt: interactions of long range, and charges that the model finds",
        *("kspace_cutoff_factor", "atomic_multipoles_max_l", "atomic_multipoles_smearing_width"),
        *("field_feature_max_l", "field_feature_widths", "field_feature_norms"),
        *("num_recursion_steps", "field_si", "include_electrostatic_self_interaction"),
        *("add_local_electron_energy", "quadrupole_feature_corrections"),
        *("return_electrostatic_potentials", "field_norm_factor", "fixedpoint_update_config"),
        *("field_readout_config", "les_arguments"),
    ),
    **_absent(
        "mtt fits baseline and scale of each target to the training set",
        *("scaling", "mean", "std", "statistics_file", "avg_num_neighbors"),
        *("compute_avg_num_neighbors",),
    ),
    **_absent("mtt takes the atomic types from the training set", "atomic_numbers"),
    **_absent(
        "mtt trains on the forces if the data have them, or as 'forces' says", "compute_forces"
    ),
    **_absent(
        "not yet in mtt: dipoles and polarizabilities",
        *("compute_polarizability", "compute_atomic_dipole", "dipole_key", "polarizability_key"),
        *("dipole_weight", "polarizability_weight"),
    ),
    **_absent(
        "not yet in mtt: inputs beside the structure, such as its charge and spin",
        *("charges_key", "elec_temp_key", "total_spin_key", "total_charge_key"),
    ),
    **_absent(
        "not yet in mtt: several heads, and replay of the data of a foundation model",
        *("heads", "head_key", "multiheads_finetuning", "foundation_head", "weight_pt_head"),
        *("real_pt_data_ratio_threshold", "num_samples_pt", "force_mh_ft_lr", "subselect_pt"),
        *("filter_type_pt", "disallow_random_padding_pt", "pt_train_file", "pt_valid_file"),
        *("pseudolabel_replay", "pseudolabel_replay_compute_stress", "skip_evaluate_heads"),
    ),
    **_absent(
        "mtt fine-tunes its own checkpoints only: see fine_tune",
        *("foundation_model", "foundation_model_kwargs", "foundation_model_readout"),
        *("foundation_filter_elements", "foundation_model_elements"),
    ),
    **_absent(
        "not yet in mtt: LoRA, and training of some weights only",
        "freeze",
        "lora",
        "lora_rank",
        "lora_alpha",
    ),
    **_absent("structures of one atom count like all others", "keep_isolated_atoms"),
    **_absent("not yet in mtt: training on several devices", "distributed", "launcher"),
    **_absent(
        "mtt does not report to Weights & Biases: metrics.csv in the folder of the run has the figures "
        "of every epoch",
        *("wandb", "wandb_dir", "wandb_project", "wandb_entity", "wandb_name", "wandb_log_hypers"),
    ),
    **_absent("-o NAME.pt of mtt train names the model", "name"),
    **_absent(
        "mtt writes to outputs/DATE/TIME/ in the folder that it is run in",
        *("work_dir", "log_dir", "model_dir", "checkpoints_dir", "results_dir", "downloads_dir"),
    ),
    **_absent("-c auto of mtt train resumes", "restart_latest"),
    **_absent(
        "keep_last, keep_best and keep_every say which checkpoints stay",
        *("keep_checkpoints", "save_all_checkpoints"),
    ),
    **_absent(
        "a test set is a file or a part of the training set", "test_dir", "multi_processed_test"
    ),
    **_absent(
        "it decides nothing here",
        *("log_level", "plot", "plot_frequency", "plot_interaction_e", "error_table", "pin_memory"),
        "save_cpu",
    ),
    **_absent("--dry-run of mtt train takes a few steps and writes nothing", "dry_run"),
}

# Other spellings of the same arguments.
SPELLINGS: Final[Mapping[str, str]] = {
    "stage_two": "swa",
    "start_stage_two": "start_swa",
    **{f"stage_two_{name}": f"swa_{name}" for name in ("lr", "energy_weight", "forces_weight")},
    **{
        f"stage_two_{name}_weight": f"swa_{name}_weight" for name in ("stress", "virials", "dipole")
    },
    "stage_two_polarizability_weight": "swa_polarizability_weight",
}

# Where MACE looks if it is not told.
KEYS: Final = {
    "energy_key": "REF_energy",
    "forces_key": "REF_forces",
    "stress_key": "REF_stress",
    "virials_key": "REF_virials",
}
# Its losses, and the function of ours that each is; those with a function of their own have None.
LOSSES: Final[Mapping[str, str | None]] = {
    **dict.fromkeys(("weighted", "ef", "forces_only", "virials", "stress"), "mse"),
    "huber": "huber",
    **dict.fromkeys(("universal", "l1l2energyforces", "dipole", "dipole_polar")),
    "energy_forces_dipole": None,
}
# Those that look at the stress, and under which key.
WITH_STRESS: Final = {
    **dict.fromkeys(("stress", "huber", "universal"), "stress_key"),
    "virials": "virials_key",
}
# Arguments that are given without a value.
SWITCHES: Final = frozenset(
    (
        *("distributed", "pair_repulsion", "disallow_random_padding_pt", "amsgrad", "swa", "lbfgs"),
        *("ema", "foundation_model_readout", "keep_checkpoints", "save_all_checkpoints"),
        *("restart_latest", "save_cpu", "dry_run", "wandb"),
    )
)
