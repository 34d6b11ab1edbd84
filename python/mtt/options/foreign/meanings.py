"""What people mean by names that are no options: the option of another name, or why there is none."""

from collections.abc import Mapping
from typing import Final

from mtt.options.foreign.fates import Absent, Renamed
from mtt.options.foreign.mace_arguments import ARGUMENTS, SPELLINGS

_MODEL = "architecture.model"
_TRAINING = "architecture.training"
_COSINE = "the learning rate rises over warmup_fraction of the steps and then falls as a cosine"
_BEST = "mtt trains all epochs, and keeps the best: there is no early stop but max_time"
_TARGETS = "training_set.targets.energy"

# Names in small letters -> full names of options.
_OPTIONS: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("lr", "learn_rate", "init_lr", "max_lr", "base_lr"), f"{_TRAINING}.learning_rate"
    ),
    **dict.fromkeys(
        ("epochs", "n_epochs", "nepochs", "max_epochs", "num_epoch", "max_epoch", "epoch"),
        f"{_TRAINING}.num_epochs",
    ),
    **dict.fromkeys(("batch", "batchsize", "bs"), f"{_TRAINING}.batch_size"),
    **dict.fromkeys(("max_atoms", "atoms_per_batch"), f"{_TRAINING}.max_atoms_per_batch"),
    **dict.fromkeys(
        ("clip", "clip_norm", "grad_clip", "gradient_clip", "gradient_clipping", "clip_grad"),
        f"{_TRAINING}.grad_clip_norm",
    ),
    **dict.fromkeys(("warmup", "warmup_steps", "warmup_epochs"), f"{_TRAINING}.warmup_fraction"),
    **dict.fromkeys(("weight_decay", "decay", "l2", "wd"), f"{_TRAINING}.weight_decay"),
    **dict.fromkeys(("workers", "n_workers", "nworkers"), f"{_TRAINING}.num_workers"),
    **dict.fromkeys(
        ("augmentation", "rotate", "rotations"), f"{_TRAINING}.rotational_augmentation"
    ),
    **dict.fromkeys(
        ("finetune", "finetuning", "pretrained", "base_model", "init_from", "foundation_model"),
        f"{_TRAINING}.fine_tune",
    ),
    **dict.fromkeys(("save_every", "save_interval"), f"{_TRAINING}.checkpoint_interval"),
    **dict.fromkeys(("time_limit", "walltime", "max_duration"), f"{_TRAINING}.max_time"),
    **dict.fromkeys(
        ("e0", "atomic_energies", "isolated_atom_energies", "composition_weights"),
        f"{_TRAINING}.atomic_baseline",
    ),
    **dict.fromkeys(("energy_coefficient", "w_energy"), f"{_TRAINING}.loss.energy"),
    **dict.fromkeys(("force_weight", "forces_coefficient", "w_forces"), f"{_TRAINING}.loss.forces"),
    **dict.fromkeys(("loss_type", "loss_function", "criterion"), f"{_TRAINING}.loss.type"),
    **dict.fromkeys(
        ("rcut", "r_cut", "rc", "cutoff_radius", "radius", "rmax", "radial_cutoff"),
        f"{_MODEL}.cutoff",
    ),
    **dict.fromkeys(
        ("n_layers", "num_layers", "num_interactions", "layers"), f"{_MODEL}.num_gnn_layers"
    ),
    **dict.fromkeys(("precision", "dtype", "default_dtype", "float_type"), "base_precision"),
    **dict.fromkeys(("random_seed", "rng_seed"), "seed"),
    **dict.fromkeys(("gpu", "cuda", "accelerator"), "device"),
    **dict.fromkeys(("train", "train_set", "training_data", "train_data", "data"), "training_set"),
    **dict.fromkeys(("valid", "val", "val_set", "valid_set", "validation"), "validation_set"),
    **dict.fromkeys(("test", "test_data"), "test_set"),
    **dict.fromkeys(("energy_unit", "energy_units", "units"), f"{_TARGETS}.unit"),
    "systems": "training_set.systems",
    "read_from": "training_set.systems.read_from",
    "targets": "training_set.targets",
    **{name: f"{_TARGETS}.{name}" for name in ("forces", "stress", "virial", "unit", "key")},
    "config_type_weights": "training_set.weights.config_type",
    **dict.fromkeys(("length_units", "distance_unit"), "training_set.systems.length_unit"),
}
_REASONS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("lr_scheduler", "schedule", "lr_schedule", "gamma"), _COSINE),
    **dict.fromkeys(("early_stopping", "early_stop"), _BEST),
    **dict.fromkeys(
        ("output", "output_dir", "outdir", "output_path"),
        "-o of mtt train names the model file, and the run writes to outputs/DATE/TIME/",
    ),
    **dict.fromkeys(
        ("restart", "restart_from", "resume", "continue"), "-c of mtt train resumes a run"
    ),
    "dropout": "the architectures of mtt have none",
}


def _of_mace() -> tuple[dict[str, str], dict[str, str]]:
    every = {**ARGUMENTS, **{name: ARGUMENTS[other] for name, other in SPELLINGS.items()}}
    options = {name: fate.ours for name, fate in every.items() if isinstance(fate, Renamed)}
    reasons = {name: fate.reason for name, fate in every.items() if isinstance(fate, Absent)}
    options |= {"E0s": f"{_TRAINING}.atomic_baseline"}
    return (
        {name.lower(): ours for name, ours in options.items()},
        {name.lower(): reason for name, reason in reasons.items()},
    )


OPTIONS, REASONS = (
    {**theirs, **own} for theirs, own in zip(_of_mace(), (_OPTIONS, _REASONS), strict=True)
)


def meant(word: str) -> str | None:
    """Return the full name of the option that is meant by a name that is none."""
    return OPTIONS.get(_plain(word))


def why_absent(word: str) -> str | None:
    """Return why there is no option for what a name means."""
    return None if meant(word) else REASONS.get(_plain(word))


def _plain(word: str) -> str:
    return word.lower().replace("-", "_")
