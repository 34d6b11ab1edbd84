"""Whether options still describe the run that a checkpoint is of, and what differs if not."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtt import architecture_registry
from mtt import checkpoint as checkpoints
from mtt.checkpoint import Header, Origin
from mtt.checkpoint.upgrade_steps import header_for_today
from mtt.errors import UserError
from mtt.options import Options
from mtt.options.stored import OLD_DEFAULTS, upgrade_options

Difference = tuple[str, str, str]

# May change between two parts of a run: they decide where and how fast it runs, and what is told.
FREE = {
    "device",
    "architecture.training.num_workers",
    "architecture.training.log_interval",
    "architecture.training.checkpoint_interval",
    "architecture.training.checkpoint_every",
    "architecture.training.max_time",
    "architecture.training.keep_last",
    "architecture.training.keep_best",
    "architecture.training.keep_every",
}
_NUM_EPOCHS = "architecture.training.num_epochs"
_BATCH_SIZE = "architecture.training.batch_size"
BASE = "architecture.training.fine_tune.read_from"
_ABSENT = object()

ON_PURPOSE = f"or fine-tune the checkpoint on purpose by naming it in {BASE}"


def check_options(header: Header, options: Options, path: Path) -> str | None:
    """Refuse options under which the run would not be the one of the checkpoint.

    :return: what a larger number of epochs means for the schedule, or None if it is the same
    :raises UserError: naming all options that differ
    """
    changes = refused(header, options)
    if changes:
        details = [f"{key}: {old} in the checkpoint, now {new}" for key, old, new in changes]
        began = checkpoints.read_header(path).architecture
        version = architecture_registry.get(began.name).version
        older = (
            f"it began as {began.name}@{began.version}, which runs in its image with version: "
            f"{began.version}, and {began.name}@{version} is installed; "
            if began.version < version
            else ""
        )
        raise UserError(
            "the options differ from those that the checkpoint was trained with:",
            where=str(path),
            hint=f"{older}undo these changes to resume (num_epochs may be made larger), train anew "
            f"without --continue, {ON_PURPOSE}",
            details=details,
        )
    before, after = _num_epochs(header.options), options.architecture.training.num_epochs
    if after == before:
        return None
    return (
        f"num_epochs is {after}, was {before}: from here on the learning rate follows the schedule "
        f"of {after} epochs"
    )


def refused(header: Header, options: Options) -> list[Difference]:
    """Options that make this another run than that of the checkpoint, in today's versions."""
    header = header_for_today(header)
    options = as_begun(with_hypers_of_base(options, header), header)
    changes = differences(_by_meaning(header.options), options.to_dict())
    extended = options.architecture.training.num_epochs > _num_epochs(header.options)
    by_atoms = options.architecture.training.max_atoms_per_batch is not None
    return [
        change
        for change in changes
        if change[0] not in FREE
        # Where the data lie does not matter: they are compared by their content.
        and change[0].rpartition(".")[2] != "read_from"
        and not (change[0] == _NUM_EPOCHS and extended)
        # Older files could give it beside the number of atoms, which alone has an effect.
        and not (change[0] == _BATCH_SIZE and by_atoms)
    ] + _other_base(header, options)


def with_hypers_of_base(options: Options, header: Header) -> Options:
    """Options of a fine-tuning whose model has the hypers of the base where the user wrote none.

    :param header: that of the base, or of a run that began with it
    """
    chosen = options.architecture
    if chosen.training.fine_tune is None or chosen.name != header.architecture.name:
        return options
    written = {name: getattr(chosen.model, name) for name in chosen.model.model_fields_set}
    try:
        model = type(chosen.model).model_validate({**header.architecture.hypers, **written})
    except ValueError:  # of another version, or they do not fit together: what differs is told
        return options
    return options.model_copy(update={"architecture": chosen.model_copy(update={"model": model})})


def as_begun(options: Options, header: Header) -> Options:
    """Options of a run that is resumed, with the defaults of the version in which it began.

    A file that says nothing of its version means what it meant when the run began.
    """
    chosen = options.architecture
    old_defaults = {
        "training": OLD_DEFAULTS,
        "model": architecture_registry.get(chosen.name).old_defaults,
    }
    changed: dict[str, Any] = {}
    for name, versions in old_defaults.items():
        stored = _stored(header.options, f"architecture.{name}")
        changed[name] = getattr(chosen, name)
        for defaults in versions.values():
            changed[name] = _section_as_begun(changed[name], stored, defaults)
    return options.model_copy(update={"architecture": chosen.model_copy(update=changed)})


def _section_as_begun(section: Any, stored: Any, defaults: Mapping[str, Any]) -> Any:
    """Options of a section with the old defaults that are stored, where the user wrote nothing."""
    begun: dict[str, Any] = {}
    for name, default in defaults.items():
        if isinstance(default, Mapping):
            begun[name] = _section_as_begun(getattr(section, name), _stored(stored, name), default)
        elif name not in section.model_fields_set and _stored(stored, name) == default:
            begun[name] = default
    return section.model_copy(update=begun)


def differences(old: Any, new: Any, name: str = "") -> list[Difference]:
    """What differs between plain values, as (dotted key, old, new), whatever it means."""
    before, after = _parts(old, name), _parts(new, name)
    if before is None or after is None:
        return [] if old == new else [(name, _shown(old), _shown(new))]
    return [
        difference
        for key in {**before, **after}
        for difference in differences(before.get(key, _ABSENT), after.get(key, _ABSENT), key)
    ]


def _parts(value: Any, name: str) -> dict[str, Any] | None:
    """The entries of a mapping, or of a list of mappings, by their full names."""
    if isinstance(value, Mapping):
        return {f"{name}.{key}" if name else str(key): part for key, part in value.items()}
    if isinstance(value, list) and all(isinstance(part, Mapping) for part in value):
        return {f"{name}[{index}]": part for index, part in enumerate(value)}
    return None


def _shown(value: Any) -> str:
    return "nothing" if value is _ABSENT else repr(value)


def _by_meaning(stored: Mapping[str, Any]) -> Mapping[str, Any]:
    """Stored options in today's version, with the defaults of those that did not exist then."""
    try:
        return Options.from_dict(upgrade_options(dict(stored))).to_dict()
    except (UserError, KeyError):  # this version cannot read them: then every difference counts
        return stored


def _num_epochs(stored: Mapping[str, Any]) -> int:
    value = _stored(stored, _NUM_EPOCHS)
    return value if isinstance(value, int) else 0


def _stored(options: Any, name: str) -> Any:
    for key in name.split("."):
        options = options.get(key) if isinstance(options, Mapping) else None
    return options


def is_base(header: Header, origin: Origin) -> bool:
    """Whether a checkpoint is the one that a run began with, perhaps upgraded since."""
    before = header.upgraded_from
    known = (header.content_hash, None if before is None else before.content_hash)
    return origin.content_hash in known


def _other_base(header: Header, options: Options) -> list[Difference]:
    """The base of a fine-tuning, if it is not the one that the run began with.

    A base that is no longer there is known by its path, any other by its content.
    """
    chosen, origin = options.architecture.training.fine_tune, header.origin
    if chosen is None or chosen.read_from is None or origin is None:
        return []
    before, now = repr(_stored(header.options, BASE)), repr(str(chosen.read_from))
    try:
        base = checkpoints.read_header(chosen.read_from)
    except UserError:
        return [] if before == now else [(BASE, before, now)]
    if is_base(base, origin):
        return []
    before += f" with the content hash {origin.content_hash[:12]}"
    return [(BASE, before, f"{now} with {base.content_hash[:12]}")]
