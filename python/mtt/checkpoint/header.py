"""What a checkpoint says beside its tensors, as one typed object that is read once and passed on.

It has the shape of the newest format, whatever the file's: older ones are upgraded before it is made.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any, Final

from mtt.data.derived_targets import UncertaintyRecord, clashes, has_uncertainty
from mtt.data.target import Target
from mtt.options.schema.sizes import MAX_PROPERTIES
from mtt.report.metrics import judged_by

FORMAT_VERSION: Final = 3
SPLIT: Final = ("train", "validation", "test")
# Groups of tensors with the names of a model's state dict: the last weights and those of the best
# epoch. Whoever adds one, such as an average, gets upgrades and checks with it.
WEIGHTS: Final = ("model", "best")
_MOST_TARGETS: Final = 1000
_MOST_CONDITIONS: Final = 100_000
_MOST_MEMBERS: Final = 100
# Of ensembles of last layers, or 0 for none.
_SIZES: Final = range(MAX_PROPERTIES + 1)


@dataclass(frozen=True)
class ArchitectureRecord:
    """Which architecture a model is of, in which version, and the hypers that it was built with."""

    name: str
    version: int
    hypers: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass
class Position:
    """How far training is: epochs done, optimizer steps done in all, batches done in this epoch."""

    epoch: int = 0
    step: int = 0
    batch: int = 0


@dataclass
class Best:
    """Epoch with the lowest validation metric so far, and that metric; epoch 0 is none yet."""

    epoch: int = 0
    metric: str = ""
    value: float | None = None


@dataclass(frozen=True)
class Origin:
    """The base of a fine-tuned model: its content, which of its weights, and the epoch of these."""

    content_hash: str
    name: str
    version: int
    weights: str
    epoch: int
    baseline: str
    kind: str = "fine-tuning"

    def to_dict(self) -> dict[str, Any]:
        """Return the form that files have it in."""
        plain = asdict(self)
        architecture = {key: plain.pop(key) for key in ("name", "version")}
        return {**plain, "architecture": architecture}


@dataclass(frozen=True)
class Conditions:
    """What decides the last bits of a run: versions, threads, processor; and from where on it did.

    ``values`` are texts by what they are of, as in :mod:`mtt.training.runs.conditions`.
    """

    epoch: int
    step: int
    values: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return the form that files have it in."""
        return {"epoch": self.epoch, "step": self.step, "values": dict(self.values)}


@dataclass(frozen=True)
class MeasuredError:
    """The error of one quantity of the best model on the test set, over so many values."""

    quantity: str
    unit: str
    rmse: float
    mae: float
    values: int


@dataclass(frozen=True)
class UpgradedFrom:
    """Content hash and versions, by what they are of, of the file that was upgraded."""

    content_hash: str
    versions: dict[str, int | None]

    def to_dict(self) -> dict[str, Any]:
        """Return the form that files have it in."""
        return {**self.versions, "content_hash": self.content_hash}


@dataclass(frozen=True)
class Header:
    """Everything in a checkpoint but its tensors.

    - ``targets``: in the order of the model's heads and baselines;
    - ``options``: plain, with every default written out, in the version that they were written in;
    - ``split``: indices into the structures of ``training_set`` by part;
    - ``data_hash``, ``data_size``: SHA-256 and number of structures by the option they come from;
    - ``history``: one row for each finished epoch, as in the metrics file;
    - ``conditions``: those of each part of the run, the first one first; empty where an older mtt
      recorded none;
    - ``test_errors``: of the best weights; empty before the end of a run, and without a test set;
    - ``seeds``: of the members of an ensemble; empty for a single model;
    - ``uncertainties``: those that the best weights have, once all epochs are done;
    - ``plugin``: name of the package whose plug-in the architecture is; empty if it is built in;
    - ``format_version``, ``content_hash``: of the file it was read from.
    """

    architecture: ArchitectureRecord
    atomic_types: list[int]
    length_unit: str
    targets: list[Target]
    precision: int
    options: dict[str, Any]
    options_hash: str
    split: dict[str, list[int]]
    data_hash: dict[str, str]
    data_size: dict[str, int]
    num_steps: int
    packages: dict[str, str]
    plugin: str = ""
    image_digest: str | None = None
    origin: Origin | None = None
    upgraded_from: UpgradedFrom | None = None
    position: Position = field(default_factory=Position)
    best: Best = field(default_factory=Best)
    history: list[dict[str, float]] = field(default_factory=list)
    conditions: list[Conditions] = field(default_factory=list)
    test_errors: list[MeasuredError] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    uncertainties: list[UncertaintyRecord] = field(default_factory=list)
    format_version: int = FORMAT_VERSION
    content_hash: str = ""

    @property
    def judged_by(self) -> str:
        """Return the set whose errors chose the best epoch: validation, or training if there was none."""
        return judged_by(self.history)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON, from which :func:`header_from_dict` makes the same header."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        # Not by asdict, which copies hypers at every depth: a file may nest them as deep as it likes.
        plain["architecture"] = dict(vars(self.architecture))
        plain["targets"] = [target.to_dict() for target in self.targets]
        plain["position"], plain["best"] = asdict(self.position), asdict(self.best)
        for key in ("origin", "upgraded_from"):
            plain[key] = None if plain[key] is None else plain[key].to_dict()
        plain["conditions"] = [conditions.to_dict() for conditions in self.conditions]
        plain["test_errors"] = [asdict(error) for error in self.test_errors]
        plain["uncertainties"] = [asdict(record) for record in self.uncertainties]
        for key in OPTIONAL:
            if not plain[key]:
                del plain[key]
        return plain


def header_from_dict(plain: Mapping[str, Any]) -> Header:
    """Make a header from the JSON of the newest format; keys that are not known are ignored.

    :raises ValueError: naming the first entry that is missing or not proper
    """
    parts: dict[str, Any] = {}
    for key, make in ENTRIES.items():
        try:
            parts[key] = make(plain[key])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(key) from error
    for key, make in OPTIONAL.items():
        try:
            parts[key] = make(plain.get(key, []))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(key) from error
    header = Header(**parts)
    if header.data_size.keys() != header.data_hash.keys() or "training_set" not in header.data_size:
        raise ValueError("data_size")
    indices = list(chain.from_iterable(header.split.values()))
    size = header.data_size["training_set"]
    if len(set(indices)) != len(indices) or max(indices, default=-1) >= size:
        raise ValueError("split")
    if not _proper_uncertainties(header):
        raise ValueError("uncertainties")
    return header


def _proper_uncertainties(header: Header) -> bool:
    """Return whether all are of different targets that can have one, by a method that the model has."""
    able = {target.name for target in header.targets if has_uncertainty(target)}
    uncertain = [record.target for record in header.uncertainties]
    number = len(header.seeds)
    expected = ("ensemble", range(number, number + 1)) if number else ("llpr", _SIZES)
    fits = all(
        record.method == expected[0]
        and record.members in expected[1]
        and record.members != 1
        and record.multiplier > 0.0
        for record in header.uncertainties
    )
    distinct = len(set(uncertain)) == len(uncertain) and set(uncertain) <= able
    return fits and distinct and not (uncertain and clashes(header.targets))


def naturals(value: Any) -> bool:
    """Return whether ``value`` is a list of integers that fit 63 bits and are not negative."""
    return isinstance(value, list) and all(
        type(number) is int and 0 <= number < 2**63 for number in value
    )


def _require(proper: Any) -> None:
    if not proper:
        raise ValueError


def _text(value: Any) -> str:
    _require(isinstance(value, str))
    return str(value)


def _natural(value: Any) -> int:
    _require(naturals([value]))
    return int(value)


def _nullable(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else make(value)


def _object(value: Any) -> dict[str, Any]:
    _require(isinstance(value, dict))
    return dict(value)


def _texts(value: Any) -> dict[str, str]:
    return {key: _text(text) for key, text in _object(value).items()}


def _sizes(value: Any) -> dict[str, int]:
    return {key: _natural(size) for key, size in _object(value).items()}


def _architecture(value: Any) -> ArchitectureRecord:
    return ArchitectureRecord(
        _text(value["name"]), _natural(value["version"]), _object(value["hypers"])
    )


def _atomic_types(value: Any) -> list[int]:
    _require(naturals(value) and value and value == sorted(set(value)))
    # The model has a table up to the largest type: an absurd one must not cost memory.
    _require(value[-1] < 2**20)
    return list(value)


def _targets(value: Any) -> list[Target]:
    _require(isinstance(value, list) and 0 < len(value) <= _MOST_TARGETS)
    targets = [Target.from_dict(_object(plain)) for plain in value]
    _require(len({target.name for target in targets}) == len(targets))
    return targets


def _precision(value: Any) -> int:
    _require(type(value) is int and value in (32, 64))
    return int(value)


def _split(value: Any) -> dict[str, list[int]]:
    _require(set(value) == set(SPLIT) and all(naturals(part) for part in value.values()))
    return {name: list(value[name]) for name in SPLIT}


def _position(value: Any) -> Position:
    return Position(*(_natural(value[key]) for key in ("epoch", "step", "batch")))


def _best(value: Any) -> Best:
    number = value["value"]
    # Integers have no limit, but what is compared with them has.
    _require(number is None or (type(number) in (int, float) and abs(number) < 2**1000))
    return Best(_natural(value["epoch"]), _text(value["metric"]), number)


def _history(value: Any) -> list[dict[str, float]]:
    _require(isinstance(value, list))
    return [_object(row) for row in value]


def _origin(value: Any) -> Origin:
    architecture = value["architecture"]
    return Origin(
        content_hash=_text(value["content_hash"]),
        name=_text(architecture["name"]),
        version=_natural(architecture["version"]),
        weights=_text(value["weights"]),
        epoch=_natural(value["epoch"]),
        baseline=_text(value["baseline"]),
        kind=_text(value["kind"]),
    )


def conditions_of(value: Any) -> list[Conditions]:
    """Make the conditions of a run from their JSON; KeyError, TypeError, ValueError if it is not proper."""
    _require(isinstance(value, list) and len(value) <= _MOST_CONDITIONS)
    return [
        Conditions(_natural(part["epoch"]), _natural(part["step"]), _texts(part["values"]))
        for part in value
    ]


def _test_errors(value: Any) -> list[MeasuredError]:
    _require(isinstance(value, list) and len(value) <= 4 * _MOST_TARGETS)
    return [
        MeasuredError(
            _text(row["quantity"]),
            _text(row["unit"]),
            _finite(row["rmse"]),
            _finite(row["mae"]),
            _natural(row["values"]),
        )
        for row in value
    ]


def _seeds(value: Any) -> list[int]:
    _require(naturals(value) and len(value) <= _MOST_MEMBERS and len(value) != 1)
    _require(len(set(value)) == len(value))
    return list(value)


def _uncertainties(value: Any) -> list[UncertaintyRecord]:
    _require(isinstance(value, list) and len(value) <= _MOST_TARGETS)
    for row in value:
        _require(row["method"] in ("llpr", "ensemble"))
    return [
        UncertaintyRecord(
            _text(row["target"]),
            row["method"],
            _natural(row["members"]),
            _finite(row["multiplier"]),
        )
        for row in value
    ]


def _finite(value: Any) -> float:
    # Integers have no limit, but floating-point numbers have.
    _require(type(value) in (int, float) and abs(value) < 2**1000)
    return float(value)


def _upgraded_from(value: Any) -> UpgradedFrom:
    versions = _object(value)
    content_hash = _text(versions.pop("content_hash"))
    return UpgradedFrom(
        content_hash, {key: _nullable(_natural)(version) for key, version in versions.items()}
    )


# What each entry must be, and what it becomes.
ENTRIES: Final[dict[str, Callable[[Any], Any]]] = {
    "format_version": _natural,
    "architecture": _architecture,
    "atomic_types": _atomic_types,
    "length_unit": _text,
    "targets": _targets,
    "options": _object,
    "options_hash": _text,
    "precision": _precision,
    "data_hash": _texts,
    "data_size": _sizes,
    "split": _split,
    "position": _position,
    "num_steps": _natural,
    "history": _history,
    "best": _best,
    "packages": _texts,
    "image_digest": _nullable(_text),
    "origin": _nullable(_origin),
    "upgraded_from": _nullable(_upgraded_from),
    "content_hash": _text,
}

# Lists that came to the format when files without them were there already: absent where empty.
OPTIONAL: Final[dict[str, Callable[[Any], Any]]] = {
    "plugin": lambda value: _text(value or ""),
    "conditions": conditions_of,
    "test_errors": _test_errors,
    "seeds": _seeds,
    "uncertainties": _uncertainties,
}
