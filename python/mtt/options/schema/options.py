"""The options of a run as typed models; defaults and validation have no other source."""

import functools
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    PrivateAttr,
    SerializeAsAny,
    Tag,
    ValidationError,
    WithJsonSchema,
    create_model,
    model_validator,
)

from mtt import architecture_registry
from mtt.canonical import canonical_json
from mtt.errors import UserError
from mtt.options.schema.base import (
    OPTIONS_VERSION,
    Conflict,
    Location,
    OptionsModel,
    inconsistent,
    invalid,
)
from mtt.options.schema.datasets import DatasetOptions, SplitOptions
from mtt.options.schema.differences import Difference, differences
from mtt.options.schema.extra_data import extra_data_conflicts
from mtt.options.schema.loss_parts import ShiftOptions
from mtt.options.schema.training import TrainingHypers
from mtt.units import fits

_MOST_MEMBERS = 100
_DEVICE = re.compile(r"^(auto|cpu|mps|cuda(:\d+)?)$")


def _check_version(version: int) -> int:
    if version != OPTIONS_VERSION:
        raise invalid(
            f"this mtt reads options files up to version {OPTIONS_VERSION}, found {version}"
        )
    return version


def _check_device(device: str) -> str:
    if not _DEVICE.match(device):
        raise invalid(
            f"expected one of 'auto', 'cpu', 'cuda', 'cuda:N' and 'mps', found '{device}'"
        )
    return device


OptionsVersion = Annotated[int, AfterValidator(_check_version)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Device = Annotated[str, AfterValidator(_check_device)]


def _check_seeds(seeds: list[Any]) -> list[int]:
    # All at once: of a list of errors for each seed, none would say what the list is for.
    proper = all(type(seed) is int and 0 <= seed < 2**63 for seed in seeds)
    if not proper or len(set(seeds)) < len(seeds) or not 2 <= len(seeds) <= _MOST_MEMBERS:
        raise invalid(
            f"expected 2 to {_MOST_MEMBERS} seeds, whole numbers from 0, all different: one for each "
            "member of an ensemble"
        )
    return seeds


def _kind_of_seeds(value: Any) -> str:
    return "<several>" if isinstance(value, list) else "<one>"


Seeds = Annotated[
    Annotated[Seed, Tag("<one>")]
    | Annotated[
        list[Any],
        AfterValidator(_check_seeds),
        WithJsonSchema(
            {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 2}
        ),
        Tag("<several>"),
    ],
    Discriminator(_kind_of_seeds),
]


class ArchitectureOptions(OptionsModel):
    """Which architecture to train, and its options."""

    name: str
    """Name of the architecture."""
    version: int | None = None
    """Version of the architecture that these options are written for; the installed one if not
    given. Training of another one runs in its image, or is an error where there is none."""
    model: SerializeAsAny[OptionsModel] = OptionsModel()
    """Options of the model; they depend on the architecture."""
    training: SerializeAsAny[TrainingHypers] = TrainingHypers()
    """Options of the trainer."""


class Options(OptionsModel):
    """Everything that decides what a training run computes."""

    version: OptionsVersion = OPTIONS_VERSION
    """Version of this file format. A file that states an older one is read with the defaults of that
    version; what is stored with a run is always of the newest."""
    seed: Seeds = 0
    """Seed of everything random: split, initial weights, shuffling, augmentation. A list trains an
    ensemble: one model with as many members, whose initial weights are those of these seeds (all else is
    random by the first one); it predicts their mean, with an uncertainty by their spread."""
    device: Device = "auto"
    """Where to train: auto, cpu, cuda, cuda:N or mps."""
    base_precision: Literal[32, 64] = 32
    """Bits of the floating-point numbers of the model: 32 or 64."""
    architecture: SerializeAsAny[ArchitectureOptions]
    """The architecture and its options."""
    training_set: Annotated[list[DatasetOptions], Field(min_length=1)]
    """Data to learn from: a path, a dataset, or a list of datasets."""
    validation_set: SplitOptions = SplitOptions(fraction=0.1)
    """Data to choose the best epoch by: a fraction, indices, or data of its own. A fraction of 0 for none:
    the best epoch is then chosen by the errors of the training set, and nothing shows overfitting."""
    test_set: SplitOptions = SplitOptions(fraction=0.0)
    """Data to report final errors on, never looked at before; a fraction of 0 for none."""
    _notes: list[str] = PrivateAttr(default_factory=list)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        conflicts = [
            *_split_conflicts(self),
            *_data_conflicts(self),
            *_loss_conflicts(self),
            *_uncertainty_conflicts(self),
            *_repulsion_conflicts(self),
            *extra_data_conflicts(self, all_datasets(self)),
        ]
        if conflicts:
            raise inconsistent(conflicts)
        return self

    @property
    def seeds(self) -> list[int]:
        """Return the seed of each member; of the only one if there is no ensemble."""
        return [self.seed] if isinstance(self.seed, int) else self.seed

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what is to be said of the file that these were read from; no part of what is stored."""
        return tuple(self._notes)

    def take_notes(self, notes: Sequence[str]) -> None:
        """Keep what is to be said of the file."""
        self._notes = list(notes)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able copy with every default written out."""
        return self.model_dump(mode="json")

    @classmethod
    def trainer(cls) -> type[TrainingHypers]:
        """The type of the options of the trainer, with the defaults of the architecture."""
        architecture: Any = cls.model_fields["architecture"].annotation
        training: type[TrainingHypers] = architecture.model_fields["training"].annotation
        return training

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Options":
        """Options from what :meth:`to_dict` gave.

        Raises UserError when the data does not fit this version of mtt, or when the
        architecture is unknown.
        """
        architecture = data.get("architecture")
        name = architecture.get("name") if isinstance(architecture, dict) else None
        chosen = options_class(name) if isinstance(name, str) else cls
        try:
            return chosen.model_validate_json(json.dumps(data))
        except ValidationError as error:
            details = [
                f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()
            ]
            raise UserError(
                "the stored options do not fit this version of mtt: " + "; ".join(details)
            ) from None


def options_hash(options: Options) -> str:
    """SHA-256, in hex, of the canonical JSON (sorted keys, no spaces) of the resolved options."""
    return hash_of_options(options.to_dict())


def hash_of_options(plain: Mapping[str, Any]) -> str:
    """:func:`options_hash` of options as :meth:`Options.to_dict` gave them."""
    text = canonical_json(plain)
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def options_class(architecture: str) -> type[Options]:
    """:class:`Options` whose architecture section has the types of that architecture.

    Raises :class:`mtt.errors.UserError` when the architecture is unknown or broken.
    """
    chosen = architecture_registry.get(architecture)
    installed: Any = _installed_version(chosen)
    hypers = create_model(
        "ArchitectureOptions",
        __base__=ArchitectureOptions,
        __doc__=ArchitectureOptions.__doc__,
        version=(installed, _described(ArchitectureOptions, "version", chosen.version)),
        model=(
            chosen.ModelHypers,
            _described(ArchitectureOptions, "model", default_factory=chosen.ModelHypers),
        ),
        training=(
            chosen.TrainingHypers,
            _described(ArchitectureOptions, "training", default_factory=chosen.TrainingHypers),
        ),
    )
    return create_model(
        "Options",
        __base__=Options,
        __doc__=Options.__doc__,
        architecture=(hypers, _described(Options, "architecture", ...)),
    )


def _installed_version(architecture: architecture_registry.Architecture) -> Any:
    """Type of a number that must be the installed version."""

    def check(version: int) -> int:
        if version != architecture.version:
            raise invalid(
                f"version {version} of '{architecture.name}' is not installed; "
                f"version {architecture.version} is"
            )
        return version

    return Annotated[int, AfterValidator(check), WithJsonSchema({"const": architecture.version})]


def _described(model: type[OptionsModel], field: str, *default: Any, **arguments: Any) -> Any:
    return Field(*default, description=model.model_fields[field].description, **arguments)


def _split_conflicts(options: Options) -> list[Conflict]:
    validation, test = options.validation_set, options.test_set
    total = (validation.fraction or 0.0) + (test.fraction or 0.0)
    if total >= 1.0:
        message = f"together with test_set this takes {total:g} of the training set: none is left"
        involved = (("validation_set",), ("test_set",))
        return [Conflict(("validation_set", "fraction"), message, involved)]
    return []


def _data_conflicts(options: Options) -> list[Conflict]:
    """Return units and names that differ between the data sets of one run."""
    first = options.training_set[0]
    conflicts: list[Conflict] = []
    for location, data in all_datasets(options):
        for difference in differences(data, first):
            place = (*location, *difference.location)
            conflicts.append(Conflict(place, _sentence(difference), (place,)))
    return conflicts


def _sentence(difference: Difference) -> str:
    if difference.value is None:
        return f"the target '{difference.expected}' of the first training set is missing"
    if difference.expected is None:
        return f"the first training set has no target '{difference.value}'"
    subject = f"{difference.kind.replace('_', ' ')} '{difference.value}'"
    text = f"{subject} differs from '{difference.expected}' of the first training set"
    stating_helps = difference.kind in ("unit", "length_unit") and fits(
        difference.value, difference.expected, stated=True
    )
    return f"{text}; state it to have the data converted" if stating_helps else text


def _loss_conflicts(options: Options) -> list[Conflict]:
    """Return what is asked of the loss of targets that there are not, or that have no gradients."""
    targets = options.training_set[0].targets
    conflicts: list[Conflict] = []
    for name, own in options.architecture.training.loss.targets.items():
        place = ("architecture", "training", "loss", "targets", name)
        if name not in targets:
            known = ", ".join(f"'{target}'" for target in targets)
            message = f"there is no target '{name}'; the data sets have {known}"
            conflicts.append(Conflict(place, message, (place, ("training_set",))))
            continue
        for gradient in ("forces", "stress"):
            if not targets[name].is_energy and getattr(own, gradient) is not None:
                message = f"'{name}' is no energy and has no {gradient}"
                conflicts.append(Conflict((*place, gradient), message, (place, ("training_set",))))
        if own.shift is not None:
            conflicts += _shift_conflicts(options, name, own.shift)
    return conflicts


def _shift_conflicts(options: Options, name: str, shift: ShiftOptions) -> list[Conflict]:
    """Return why the values of a target cannot be a spectrum that is known up to a shift."""
    training: Location = ("architecture", "training")
    place: Location = (*training, "loss", "targets", name, "shift")
    target = options.training_set[0].targets[name]
    message = None
    if target.type != "scalar":
        message = f"'{name}' is a {target.type}: what is moved along a grid is a scalar"
    elif target.per == "atom":
        message = f"'{name}' is per atom: a shift belongs to a structure as a whole"
    elif isinstance(shift.extra_points, int) and target.properties <= shift.extra_points:
        message = (
            f"'{name}' has {target.properties} {'points' if target.properties > 1 else 'point'} "
            "(properties), and extra_points must be fewer than that"
        )
    conflicts = [] if message is None else [Conflict(place, message, (place, ("training_set",)))]
    baseline = options.architecture.training.atomic_baseline.get(name, 0.0)
    if baseline != 0.0:
        message = f"'{name}' is known up to a shift, and has no baseline: leave it out"
        where: Location = (*training, "atomic_baseline", name)
        conflicts.append(Conflict(where, message, (where, place)))
    return conflicts


def _uncertainty_conflicts(options: Options) -> list[Conflict]:
    """Return why a model cannot have the uncertainties that it is to have."""
    place: Location = ("architecture", "training", "uncertainty")
    several = isinstance(options.seed, list)
    if options.architecture.training.uncertainty is None and not several:
        return []
    if options.architecture.training.uncertainty is None:
        place = ("seed",)
    elif several:
        message = "an ensemble has its own uncertainty: leave this out, or give one seed"
        return [Conflict(place, message, (place, ("seed",)))]
    if not several and options.validation_set.is_empty():
        message = (
            "is calibrated on structures that the model was not trained on: give a validation_set, or "
            "train an ensemble by a list of seeds, whose spread is then given as it is"
        )
        return [Conflict(place, message, (place, ("validation_set",)))]
    involved = (place, ("architecture", "name"), ("training_set",))
    name = options.architecture.name
    if not architecture_registry.get(name).has_weights:
        message = f"{name} has no weights, and nothing that tells how uncertain it is"
        return [Conflict(place, message, involved)]
    targets = options.training_set[0].targets
    if not any(target.type == "scalar" and target.properties == 1 for target in targets.values()):
        message = "no target is a single number for each system or atom"
        return [Conflict(place, message, involved)]
    return []


def _repulsion_conflicts(options: Options) -> list[Conflict]:
    """Return why a model cannot have the repulsion of close nuclei in its energies."""
    place = ("architecture", "model", "zbl")
    if getattr(options.architecture.model, "zbl", False) is not True:
        return []
    if any(target.is_energy for target in options.training_set[0].targets.values()):
        return []
    message = "no target is an energy per system, to which the repulsion could be added"
    return [Conflict(place, message, (place, ("training_set",)))]


def all_datasets(options: Options) -> list[tuple[Location, DatasetOptions]]:
    """Return every data set that a run reads, with its place in the options."""
    datasets: list[tuple[Location, DatasetOptions]] = [
        (("training_set", index), data) for index, data in enumerate(options.training_set)
    ]
    for name in ("validation_set", "test_set"):
        split: SplitOptions = getattr(options, name)
        datasets += [
            ((name, "datasets", index), data) for index, data in enumerate(split.datasets or [])
        ]
    return datasets
