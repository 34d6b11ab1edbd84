"""Options of the trainer. Architectures subclass :class:`TrainingHypers` to change defaults."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PlainSerializer,
    PlainValidator,
    PositiveFloat,
    PositiveInt,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from mtt.elements import NUMBERS
from mtt.options.schema.base import Conflict, OptionsModel, StoredWhereOn, inconsistent, invalid
from mtt.options.schema.data_paths import ExpandedPath
from mtt.options.schema.durations import Duration, SaveInterval
from mtt.options.schema.loss_parts import LossOptions
from mtt.options.schema.sizes import MAX_PROPERTIES

FINE_TUNE_LEARNING_RATE: Final = 1e-4
ISOLATED: Final = "isolated"
# "isolated": from frames of single atoms
Baseline = float | dict[int, float] | Literal["isolated"]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_baselines(value: Any) -> dict[str, Baseline]:
    if value == ISOLATED:
        value = {"energy": ISOLATED}
    if not isinstance(value, dict):
        raise invalid("expected a mapping from targets to energies, as in {energy: -5.0}")
    for name in value:
        if name in NUMBERS or str(name).isdecimal():
            raise invalid(
                f"'{name}' is an atomic type: name the target first, as in"
                f" {{energy: {{{name}: {value[name]}}}}}"
            )
    return {str(target): _check_baseline(target, entry) for target, entry in value.items()}


def _check_baseline(target: Any, value: Any) -> Baseline:
    if _is_number(value):
        return float(value)
    if value == ISOLATED:
        return "isolated"
    if not isinstance(value, dict):
        raise invalid(
            f"the baseline of '{target}' must be a number, a mapping from atomic types to numbers, "
            f"as in {{H: -13.6, C: -1029.0}}, or isolated"
        )
    fixed: dict[int, float] = {}
    for key, energy in value.items():
        # as read back from JSON
        atomic_type = key
        if isinstance(key, str):
            atomic_type = int(key) if key.isdecimal() else NUMBERS.get(key, key)
        if not isinstance(atomic_type, int) or isinstance(atomic_type, bool) or atomic_type < 0:
            raise invalid(f"'{key}' is not an atomic type: write the symbol or the atomic number")
        if atomic_type in fixed:
            raise invalid(f"the baseline of atomic type {key} is given twice")
        if not _is_number(energy):
            raise invalid(f"the baseline of atomic type {key} must be a number")
        fixed[atomic_type] = float(energy)
    return fixed


def _with_text_keys(baselines: dict[str, Baseline]) -> dict[str, Any]:
    """JSON has only text for keys."""
    return {
        target: {str(key): value for key, value in entry.items()}
        if isinstance(entry, dict)
        else entry
        for target, entry in baselines.items()
    }


Baselines = Annotated[
    dict[str, Baseline],
    PlainValidator(_check_baselines),
    PlainSerializer(_with_text_keys, when_used="json"),
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": {
                "anyOf": [
                    {"type": "number"},
                    {"const": "isolated"},
                    {
                        "type": "object",
                        "propertyNames": {"pattern": "^([0-9]+|[A-Z][a-z]?)$"},
                        "additionalProperties": {"type": "number"},
                    },
                ]
            },
        }
    ),
]


class FineTuneOptions(OptionsModel):
    """Begin a new run with the weights of another one, the base."""

    read_from: ExpandedPath | None = None
    """Checkpoint of the base; null takes the one that `--continue` names. A resumed run needs
    it no more."""
    weights: Literal["best", "last"] = "best"
    """Which weights of the base to begin with: those of its best epoch, or the last ones."""
    baseline: Literal["refit", "keep"] = "refit"
    """Energies per atom: fitted again to what the base leaves of the new training data (refit), as
    data of another level of theory need it, or those of the base (keep)."""


# How an ensemble of last layers is trained: mtt.evaluation.scores has the formula of each.
EnsembleLoss = Literal["gaussian_nll", "gaussian_crps", "empirical_crps"]


# Every atom has a number for each member where an engine asks for it. Beyond the usual number the file and
# such calls grow, and the spread tells nothing new.
USUAL_MEMBERS: Final = 4096
MOST_MEMBERS: Final = MAX_PROPERTIES


class UncertaintyOptions(StoredWhereOn):
    """How uncertain values are, from the features of the last layer (last-layer prediction rigidity)."""

    later: ClassVar[Mapping[str, str]] = {
        "ensemble_loss": "ensemble_loss",
        "train_all_parameters": "train_all_parameters",
    }

    method: Literal["llpr"] = "llpr"
    """From the last layer: `llpr`, the only one here. A list of seeds trains an ensemble instead."""
    num_ensemble_members: Annotated[int, Field(ge=0, le=MOST_MEMBERS)] = 0
    """Size of the ensemble of last layers that the model gives beside; 0 for none. The standard deviation
    of 4096 members is within about 1 % of the uncertainty, which is that of infinitely many: more make the
    file larger, and `mtt eval` leaves them out."""
    regularizer: Annotated[float, Field(ge=1e-12, le=1.0)] | None = None
    """What is added to the covariance of the features, in units of its mean diagonal; null for 1e-6."""
    ensemble_loss: EnsembleLoss | None = None
    """Train the last layers of the ensemble, with fine_tune: the negative logarithm of the normal density
    that has the mean and spread of the members (`gaussian_nll`), or the continuous ranked probability
    score of that density (`gaussian_crps`) or of the members themselves (`empirical_crps`). Their mean
    stays the value that the model predicts. null draws them and leaves them as they are."""
    train_all_parameters: bool = False
    """Train all weights of the model by `ensemble_loss`, and by the loss of forces, stress and whatever
    has no ensemble; off changes nothing but the ensemble."""

    @property
    def ensemble_alone(self) -> bool:
        """Return whether the ensemble is trained, and nothing else."""
        return self.ensemble_loss is not None and not self.train_all_parameters

    @model_validator(mode="after")
    def _something_is_trained(self) -> Self:
        place = ("train_all_parameters",)
        if self.train_all_parameters and self.ensemble_loss is None:
            message = "is for an ensemble that is trained: give ensemble_loss"
            raise inconsistent([Conflict(place, message, (place, ("ensemble_loss",)))])
        if self.ensemble_loss is not None and self.num_ensemble_members == 0:
            message = "there is no ensemble to train: give num_ensemble_members"
            place = ("ensemble_loss",)
            raise inconsistent([Conflict(place, message, (place, ("num_ensemble_members",)))])
        return self

    @field_validator("num_ensemble_members")
    @classmethod
    def _two_or_none(cls, value: int) -> int:
        if value == 1:
            raise invalid("one member is no ensemble: give 0 for none, or 2 and more")
        return value


class TrainingHypers(StoredWhereOn):
    """How a model is trained; the same for all architectures, which may set other defaults."""

    later: ClassVar[Mapping[str, str]] = {
        "uncertainty": "uncertainty",
        "max_atoms_per_batch": "max_atoms_per_batch",
        "min_atoms_per_batch": "max_atoms_per_batch",
    }

    batch_size: PositiveInt = 16
    """Structures per optimizer step; not with `max_atoms_per_batch`."""
    max_atoms_per_batch: PositiveInt | None = None
    """Atoms per optimizer step, at most: each batch takes as many structures as fit. Which structures share
    a batch is drawn once from the seed, and the order of the batches in each epoch. Training structures
    with more atoms are left out, which is said; the validation set has all of its structures. null for
    `batch_size` structures."""
    min_atoms_per_batch: NonNegativeInt = 0
    """Batches of training structures with fewer atoms are left out, as the last one may be, which is said;
    of `max_atoms_per_batch` only."""
    num_epochs: NonNegativeInt = 1000
    """Passes over the training set; 0 trains nothing, which gives the base of a fine_tune an
    uncertainty."""
    learning_rate: PositiveFloat = 1e-3
    """Highest learning rate, reached at the end of the warm-up. With fine_tune the default is 1e-4:
    at the rate of a new model the base is forgotten."""
    weight_decay: NonNegativeFloat | None = None
    """Decoupled weight decay: a number selects AdamW, null plain Adam."""
    warmup_fraction: Annotated[float, Field(ge=0.0, le=1.0)] = 0.01
    """Part of all steps in which the learning rate rises from zero, before it decays as a
    cosine."""
    grad_clip_norm: PositiveFloat = 1.0
    """Gradients of the weights longer than this are shortened to it."""
    log_interval: PositiveInt = 1
    """Epochs between reports."""
    checkpoint_interval: PositiveInt = 100
    """Epochs between checkpoints in the run's folder."""
    checkpoint_every: SaveInterval | None = "10 min"
    """Steps or time after which a checkpoint is written in the middle of an epoch as well, counted
    from the last one: `500 steps`, `90 s`, `1h30m`; null for none."""
    max_time: Duration | None = None
    """Time after which training stops as after SIGTERM: it saves, and says how to resume. Counted
    from the start of the program, reading of the data included: `45 min`, `11h30m`, `1d 2h`."""
    keep_last: PositiveInt = 2
    """How many of the newest checkpoints stay in the run's folder."""
    keep_best: bool = True
    """Keep the checkpoint with the lowest `best_model_metric` of those written after an epoch."""
    keep_every: PositiveInt | None = 1
    """Keep checkpoints written after epochs that are multiples of this: 1 keeps those of all
    epochs, null of none. What nothing keeps is deleted once a newer one is on the disk."""
    scale_targets: bool | Literal["forces"] = "forces"
    """Train on targets divided by one scale each, fitted to the training set: for energies with forces
    the size of the forces times one angstrom (forces), or, as for all other targets, the size of the
    values per atom without the baseline (on). With fine_tune the scale is that of the base."""
    atomic_baseline: Baselines = Field(default_factory=dict)
    """Values per atom to subtract before training, by the name of the target, for targets whose
    baseline is not to be fitted: one number for all atomic types, a mapping from symbol or atomic
    number to number, or `isolated`, which takes it from frames of one atom (of all sets, not
    periodic); alone, `isolated` is meant for the target `energy`. Not with fine_tune."""
    num_workers: NonNegativeInt = 0
    """Threads that prepare batches ahead; 0 prepares each batch when it is due. The result does not
    depend on it."""
    fine_tune: FineTuneOptions | None = None
    """Begin with the weights of another run, on other data or with other options, instead of
    random ones. Targets, units, scale and hypers of the model are those of the base; hypers may be
    left out."""
    rotational_augmentation: bool = True
    """Rotate every structure at random each time it is trained on."""
    best_model_metric: Literal["rmse_prod", "mae_prod", "loss"] = "rmse_prod"
    """Figure of the validation set by which the best epoch is chosen: the product of the RMSEs or of the
    MAEs of all quantities of all targets, or the loss; that of the training set if there is no other."""
    best_model_smoothing: Annotated[float, Field(ge=0.0, le=1.0)] = 0.05
    """Part of all epochs, the newest ones, over which that figure is averaged (geometric mean) before
    epochs are compared, so that no single lucky epoch is chosen; 0 compares single epochs."""
    loss: LossOptions = LossOptions()
    """The loss."""
    uncertainty: UncertaintyOptions | None = None
    """Give the model outputs that tell how uncertain its scalar values are, such as
    `energy_uncertainty`, calibrated on the validation set at the end; `uncertainty: llpr` is enough.
    With `ensemble_loss`, the default of `best_model_metric` is `loss`, and that of `learning_rate` 1e-3
    unless all weights are trained."""

    @model_validator(mode="before")
    @classmethod
    def _gentle_with_a_base(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("fine_tune") is None:
            return values
        own = values.get("uncertainty")
        if not isinstance(own, dict) or own.get("ensemble_loss") is None:
            return {"learning_rate": FINE_TUNE_LEARNING_RATE, **values}
        # Errors of the mean tell nothing of the spread. What is not trained cannot be forgotten.
        defaults = {"learning_rate": FINE_TUNE_LEARNING_RATE, "best_model_metric": "loss"}
        if not own.get("train_all_parameters"):
            del defaults["learning_rate"]
        return {**defaults, **values}

    @model_validator(mode="after")
    def _baselines_fit(self) -> Self:
        if self.fine_tune is not None and self.atomic_baseline:
            message = (
                "cannot be given with fine_tune: the energies per atom are those of the base, or "
                "fitted to what it leaves (fine_tune.baseline)"
            )
            involved = (("atomic_baseline",), ("fine_tune",))
            raise inconsistent([Conflict(("atomic_baseline",), message, involved)])
        return self

    @model_validator(mode="after")
    def _batches_are_possible(self) -> Self:
        most = self.max_atoms_per_batch
        if most is not None and self.min_atoms_per_batch > most:
            place = ("min_atoms_per_batch",)
            message = "is more than max_atoms_per_batch: no batch has so many atoms"
            raise inconsistent([Conflict(place, message, (place, ("max_atoms_per_batch",)))])
        return self

    @model_validator(mode="after")
    def _something_happens(self) -> Self:
        if self.num_epochs == 0 and (self.fine_tune is None or self.uncertainty is None):
            message = "can be 0 only with fine_tune and uncertainty: there would be nothing to do"
            place = ("num_epochs",)
            involved = (place, ("fine_tune",), ("uncertainty",))
            raise inconsistent([Conflict(place, message, involved)])
        return self

    @model_validator(mode="after")
    def _ensemble_can_be_trained(self) -> Self:
        uncertainty = self.uncertainty
        if uncertainty is None or uncertainty.ensemble_loss is None:
            return self
        asked = ("uncertainty", "ensemble_loss")
        if self.fine_tune is None:
            message = "needs fine_tune: an ensemble is drawn from the last layer of a trained model"
            raise inconsistent([Conflict(asked, message, (asked, ("fine_tune",)))])
        if self.num_epochs == 0:
            message = "needs epochs: num_epochs is 0"
            raise inconsistent([Conflict(asked, message, (asked, ("num_epochs",)))])
        if uncertainty.ensemble_alone and self.best_model_metric != "loss":
            message = (
                "must be loss: where only the ensemble is trained, errors of its mean do not change"
            )
            place = ("best_model_metric",)
            raise inconsistent([Conflict(place, message, (place, ("uncertainty",)))])
        return self

    @model_validator(mode="after")
    def _losses_compare(self) -> Self:
        if self.best_model_metric == "loss" and len(self.loss.first_epochs) > 1:
            message = (
                "cannot be loss with weights that change: losses of different weights do not "
                "compare; write rmse_prod or mae_prod"
            )
            place = ("best_model_metric",)
            raise inconsistent([Conflict(place, message, (place, ("loss",)))])
        return self
