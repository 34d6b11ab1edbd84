"""Options of the loss: a function and a weight for the values, the forces and the stress of each target."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple

from pydantic import (
    Discriminator,
    Field,
    NonNegativeFloat,
    PlainSerializer,
    PlainValidator,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    Tag,
    WithJsonSchema,
    model_serializer,
    model_validator,
)

from mtt.options.schema.base import OptionsModel, StoredWhereOn, invalid

# What a loss can be: mtt.training.loss has the formula of each.
LossType = Literal["mse", "mae", "huber"]
# What is made of the errors of a batch: their mean, or their sum.
Reduction = Literal["mean", "sum"]
# A number, or from epochs, counted from 1 as in the log, to the weight from there on.
Weight = float | dict[int, float]
FIRST_EPOCH: Final = 1
ANYWHERE: Final = "anywhere"


def is_schedule(value: Any) -> bool:
    """Return whether a value is a mapping from epochs, which JSON and YAML may hold as text."""
    return isinstance(value, Mapping) and all(_epoch(key) is not None for key in value)


def weight_at(weight: Weight, epoch: int) -> float:
    """Return the weight in an epoch, counted from 1."""
    if not isinstance(weight, dict):
        return weight
    return weight[max(first for first in weight if first <= epoch)]


def _epoch(key: Any) -> int | None:
    if isinstance(key, str) and key.isdecimal():
        return int(key)
    return key if isinstance(key, int) and not isinstance(key, bool) else None


def _check_number(value: Any, what: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise invalid(f"{what} must be a number, or a mapping from epochs to numbers")
    if not 0.0 <= value < float("inf"):
        raise invalid(f"{what} must be a finite number, zero or above")
    return float(value)


def _check_weight(value: Any) -> Weight:
    if not isinstance(value, Mapping):
        return _check_number(value, "a weight")
    schedule: dict[int, float] = {}
    for key, weight in value.items():
        epoch = _epoch(key)
        if epoch is None or epoch < FIRST_EPOCH:
            raise invalid(
                f"'{key}' is no epoch: a weight that changes is a mapping from epochs, counted from "
                "1, as in {1: 10.0, 51: 1.0}"
            )
        if epoch in schedule:
            raise invalid(f"epoch {epoch} is given twice")
        schedule[epoch] = _check_number(weight, f"the weight from epoch {epoch} on")
    if FIRST_EPOCH not in schedule:
        raise invalid("the weight of epoch 1 is missing: a schedule begins there")
    return dict(sorted(schedule.items()))


def _with_text_keys(weight: Weight) -> Any:
    """JSON has only text for keys."""
    if isinstance(weight, dict):
        return {str(epoch): value for epoch, value in weight.items()}
    return weight


_NUMBER: Final = {"type": "number", "minimum": 0}
LossWeight = Annotated[
    Weight,
    PlainValidator(_check_weight),
    PlainSerializer(_with_text_keys, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                _NUMBER,
                {
                    "type": "object",
                    "propertyNames": {"pattern": "^[1-9][0-9]*$"},
                    "additionalProperties": _NUMBER,
                    "required": [str(FIRST_EPOCH)],
                },
            ]
        }
    ),
]


class PartLossOptions(StoredWhereOn):
    """The loss of the forces, or of the stress; null is as for the values of the target."""

    later: ClassVar[Mapping[str, str]] = {"reduction": "reduction"}

    type: LossType | None = None
    """The function of the errors."""
    delta: PositiveFloat | None = None
    """Error above which the Huber function grows linearly, in units of the target's scale."""
    weight: LossWeight | None = None
    """The weight; null is that for all targets, 1 if nothing is said there."""
    reduction: Reduction | None = None
    """The mean over all that are known in a batch, or the sum."""

    @model_validator(mode="before")
    @classmethod
    def _weight_alone(cls, value: Any) -> Any:
        # As it is stored, and as older versions stored it.
        if isinstance(value, str):
            return {"type": value}
        alone = isinstance(value, int | float) or (bool(value) and is_schedule(value))
        return {"weight": value} if alone else value

    @model_serializer(mode="wrap")
    def _short(self, full: SerializerFunctionWrapHandler) -> Any:
        """Write a weight alone as the number that it always was."""
        written = self.without_later(full(self))
        others = (self.type, self.delta, self.reduction)
        only = self.weight is not None and all(other is None for other in others)
        return written["weight"] if only else written


class ShiftOptions(OptionsModel):
    """A spectrum that is known up to a shift along its grid, such as a density of states: each
    structure's is compared where it fits the prediction best."""

    extra_points: Annotated[
        Annotated[PositiveInt, Tag("<number>")] | Annotated[Literal["anywhere"], Tag("<anywhere>")],
        Discriminator(lambda value: "<anywhere>" if isinstance(value, str) else "<number>"),
    ]
    """By how many points it may be moved. The first so many of `properties` are room for it: what
    the data have there counts for nothing, and the other points may begin at any of them. With `anywhere`
    there is no room: all `properties` points may begin at any point of the prediction, or so many before
    it, where nothing is predicted (the shift-agnostic loss of metatrain)."""
    gradient_weight: NonNegativeFloat = 0.0
    """Weight of the squared slope of what is predicted at points of which the data know nothing."""
    integral_weight: NonNegativeFloat = 0.0
    """Weight of the squared errors of the integral from the beginning to each point that is known."""
    spacing: PositiveFloat = 1.0
    """Distance of two points of the grid, which these two are measured by."""


class TargetLossOptions(StoredWhereOn):
    """What is different in the loss for one target; null is as for all targets."""

    later: ClassVar[Mapping[str, str]] = {"shift": "shift", "reduction": "reduction"}

    type: LossType | None = None
    """The function of the errors of the values, and of forces and stress that have none of their
    own."""
    delta: PositiveFloat | None = None
    """Error above which the Huber function grows linearly, in units of the target's scale."""
    weight: LossWeight | None = None
    """Weight of the values; null is `loss.energy` for energies and 1 for other quantities."""
    forces: PartLossOptions | None = None
    """Weight of the forces, or type, delta and weight of them; for energies only."""
    stress: PartLossOptions | None = None
    """The same of the stress (or virial); for energies only."""
    reduction: Reduction | None = None
    """The mean over all values that are known in a batch, or the sum; and so of forces and stress that
    have none of their own."""
    shift: ShiftOptions | None = None
    """The values are a spectrum that is known up to a shift along its grid."""


class PartLoss(NamedTuple):
    """The loss of one quantity of a target, with nothing left open."""

    type: LossType
    delta: float
    weight: Weight
    reduction: Reduction


class TargetLoss(NamedTuple):
    """The loss of one target."""

    value: PartLoss
    forces: PartLoss
    stress: PartLoss


class LossOptions(StoredWhereOn):
    """The function that training makes small, and the weight of each quantity in it; the sum over
    all targets. A weight is a number, or a mapping from epochs, counted from 1, to the weight from
    there on."""

    later: ClassVar[Mapping[str, str]] = {"reduction": "sums"}

    type: LossType = "mse"
    """Mean squared error, mean absolute error, or the Huber function between the two."""
    delta: PositiveFloat = 1.0
    """Error above which the Huber function grows linearly, in units of the target scale."""
    energy: LossWeight = 1.0
    """Weight of the energies; values of other quantities have the weight 1."""
    forces: PartLossOptions = PartLossOptions(weight=1.0)
    """Weight of the forces, or type, delta and weight of them."""
    stress: PartLossOptions = PartLossOptions(weight=1.0)
    """The same of the stress (or virial), which enters as the strain derivative per atom, an
    energy."""
    reduction: Reduction = "mean"
    """The mean over all errors of a batch, or the sum: then a batch of more errors weighs more, and
    gradients are as many times larger, which `grad_clip_norm` clips."""
    targets: dict[str, TargetLossOptions] = Field(default_factory=dict)
    """What is different for some targets, by their names."""

    def of(self, name: str, is_energy: bool) -> TargetLoss:
        """Return the loss of one target."""
        own = self.targets.get(name, TargetLossOptions())
        weight = own.weight if own.weight is not None else self.energy if is_energy else 1.0
        return TargetLoss(
            PartLoss(
                self.type if own.type is None else own.type,
                self.delta if own.delta is None else own.delta,
                weight,
                self.reduction if own.reduction is None else own.reduction,
            ),
            self._part(own, own.forces, self.forces),
            self._part(own, own.stress, self.stress),
        )

    def _part(
        self, own: TargetLossOptions, part: PartLossOptions | None, usual: PartLossOptions
    ) -> PartLoss:
        """Return the loss of forces or stress: what says most about it counts."""
        part = PartLossOptions() if part is None else part
        types = (part.type, own.type, usual.type, self.type)
        deltas = (part.delta, own.delta, usual.delta, self.delta)
        weights = (part.weight, usual.weight, 1.0)
        reductions = (part.reduction, own.reduction, usual.reduction, self.reduction)
        return PartLoss(*map(_first, (types, deltas, weights, reductions)))

    @property
    def sums(self) -> bool:
        """Whether errors are added up where nothing else is said."""
        return self.reduction == "sum"

    def shift_of(self, name: str) -> ShiftOptions | None:
        """Return how the values of a target are known up to a shift; None if they are known in place."""
        return self.targets.get(name, TargetLossOptions()).shift

    def extra_points(self, name: str, properties: int) -> int:
        """Return by how many points the values of a target may be shifted: twice all of them if anywhere."""
        shift = self.shift_of(name)
        if shift is None:
            return 0
        return 2 * properties if shift.extra_points == ANYWHERE else int(shift.extra_points)

    def rooms(self, names: Iterable[str]) -> dict[str, int]:
        """Return how many of the first values of each target count for nothing."""
        return {name: self.extra_points(name, 0) for name in names}

    @property
    def first_epochs(self) -> list[int]:
        """Return the epochs, counted from 1, in which some weight begins to hold."""
        return sorted({FIRST_EPOCH, *(epoch for each in self._weights() for epoch in each)})

    def _weights(self) -> Iterator[dict[int, float]]:
        """Yield the weights that change."""
        parts = [self.forces, self.stress]
        weights: list[Weight | None] = [self.energy]
        for own in self.targets.values():
            weights.append(own.weight)
            parts += [part for part in (own.forces, own.stress) if part is not None]
        weights += [part.weight for part in parts]
        yield from (weight for weight in weights if isinstance(weight, dict))


def _first(values: tuple[Any, ...]) -> Any:
    return next(value for value in values if value is not None)
