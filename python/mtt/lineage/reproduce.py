"""Checkpoint or model file in, the same run once more, and whether it gave the same bits out.

The run records the options of the old one, wherever its data lie now: if it is the same, so is every byte.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from mtt import architecture_registry
from mtt import checkpoint as checkpoints
from mtt.errors import DATA_CHANGED, Terminated, UserError
from mtt.export import add_metadata
from mtt.files import unwritable, write_atomic
from mtt.lineage import compare_runs, recorded
from mtt.lineage.compare_runs import Result
from mtt.lineage.recorded import Recorded
from mtt.options import Options, load_recorded
from mtt.training.runs.option_changes import FREE, differences


def run(
    source: Path,
    folder: Path,
    data: Sequence[Path] = (),
    base: Path | None = None,
    overrides: Sequence[str] = (),
) -> Result:
    """Train again in ``folder``, which is made, and compare with ``source``.

    :param source: a checkpoint of a finished run, or a model file that mtt exported
    :param data: files with the data of the run, where they are not where they were
    :param base: the checkpoint that a fine-tuning began with, if it is not where it was
    :param overrides: options to change, ``KEY=VALUE``, to see what they change
    :raises UserError: nothing recorded, data that are not the same, a folder that is there already
    :raises KeyboardInterrupt: with what is left, as :func:`mtt.training.run.run`
    """
    old = recorded.read(source)
    _check_version(old)
    _check_finished(old)
    begin = _base(old, base)
    # The time of a run was that of a queue, and has no part in what it gave.
    overrides = ["architecture.training.max_time=null", *overrides]
    options = recorded.with_files(old, data, overrides, begin)
    changed = _changed(options, old)
    _check_data(options, old)
    _say_where(old.image_digest)
    for change in compare_runs.changed_on_the_way(old.conditions):
        print(f"the run changed on the way, and one run cannot: {change}")
    source = source.absolute()
    _make(folder)
    with _inside(folder, source):
        from mtt.training import run as train
        from mtt.training.runs.conditions import threads_in

        kept = None if changed else old.options
        threads = threads_in(old.conditions[0]) if old.conditions else None
        train.run(options, begin, Path(f"{source.stem}.pt"), recorded=kept, threads=threads)
        if old.kind == "model":
            _export_alike(source, old)
    compare = compare_runs.checkpoints if old.kind == "checkpoint" else compare_runs.models
    return compare(old, folder / source.stem, changed)


def _say_where(image: str | None) -> None:
    """Tell if the run was in an image and this is not in it."""
    here = os.environ.get("MTT_IMAGE_DIGEST")
    if image is not None and image != here:
        print(f"the run was in the image {image}; this is {f'in {here}' if here else 'in none'}")


def _check_version(old: Recorded) -> None:
    """Another version of the architecture gives other bits, even where an upgrade is exact."""
    if old.architecture is None:
        return
    name, version = old.architecture.name, old.architecture.version
    if name not in architecture_registry.names():
        return
    installed = architecture_registry.get(name).version
    if installed != version:
        raise UserError(
            f"the run was of {name}@{version}, and {name}@{installed} is installed",
            where=str(old.path),
            hint="give the same command in an image that has it, as mtt image list says: "
            "apptainer run IMAGE.sif reproduce ...",
        )


def _check_finished(old: Recorded) -> None:
    """A run that was not finished has no counterpart among the files of a new one."""
    training = old.options.get("architecture", {}).get("training", {})
    epochs = training.get("num_epochs")
    done = old.epochs
    if isinstance(epochs, int) and done < epochs:
        raise UserError(
            f"the run was not finished: {done} of {epochs} epochs are done",
            where=str(old.path),
            hint="give the last file of the run, or finish it with: mtt train ... --continue",
        )


def _check_data(options: Options, old: Recorded) -> None:
    from mtt.training.run_data import check_same

    try:
        check_same(options, old.data(), since="the run")
    except UserError as error:
        if error.code != DATA_CHANGED:
            raise
        hint = "give the files as they were with --data; nothing else gives the same model"
        raise UserError(error.what, error.where, hint, code=DATA_CHANGED) from error


def _base(old: Recorded, base: Path | None) -> Path | None:
    """What a fine-tuning began with: the file given, or the one that the options name."""
    chosen = old.options.get("architecture", {}).get("training", {}).get("fine_tune")
    if chosen is None:
        if base is not None:
            raise UserError("the run has no base: it was no fine-tuning", where=str(old.path))
        return None
    named = chosen.get("read_from") if isinstance(chosen, dict) else None
    path = base or (Path(named) if named else None)
    if path is None or not path.exists():
        raise UserError(
            "the run fine-tuned a checkpoint that is not here",
            where=str(old.path),
            hint="give it with --base CKPT",
        )
    content = str(old.base_hash)
    if checkpoints.read_header(path).content_hash != content:
        raise UserError(
            f"this is not the base of the run: {path}",
            where=str(old.path),
            hint=f"give the one whose content hash begins with {content[:12]} as --base",
        )
    return path.absolute()


def _changed(options: Options, old: Recorded) -> list[str]:
    """What makes this another run than the old one; files may lie elsewhere."""

    def renamed(new: Any, before: Any) -> Any:
        if isinstance(new, dict) and isinstance(before, dict):
            return {
                key: before[key]
                if key == "read_from" and entry is not None and before.get(key) is not None
                else renamed(entry, before.get(key))
                for key, entry in new.items()
            }
        if isinstance(new, list) and isinstance(before, list) and len(new) == len(before):
            return [renamed(entry, other) for entry, other in zip(new, before, strict=True)]
        return new

    before = load_recorded(old.options).to_dict()
    changes = differences(before, renamed(options.to_dict(), before))
    return [
        f"{key} was {old_value}, and is {other} now"
        for key, old_value, other in changes
        if key not in FREE
    ]


def _make(folder: Path) -> None:
    try:
        folder.mkdir()
    except FileExistsError as error:
        raise UserError(
            "the folder for the new run is there already",
            where=str(folder),
            hint="name another with -o FOLDER",
        ) from error
    except OSError as error:
        raise unwritable(folder, error) from error


@contextlib.contextmanager
def _inside(folder: Path, source: Path) -> Iterator[None]:
    """In the folder of the new run; who interrupts it is told what is left."""
    try:
        with contextlib.chdir(folder):
            yield
    except KeyboardInterrupt as error:
        what = "terminated" if isinstance(error, Terminated) else "interrupted"
        text = f"{what}: nothing is known yet; what was made so far is in {folder}"
        raise type(error)(f"{text}\nbegin again with: mtt reproduce {source}") from None


def _export_alike(source: Path, old: Recorded) -> None:
    """Export the new checkpoint with the weights and metadata that the old model has."""
    from mtt.export import run as export

    record, model = old.record, Path(f"{source.stem}.pt")
    metadata = None
    if record["metadata"] is not None:
        metadata = Path("metadata.yaml")
        text = yaml.safe_dump(record["metadata"], allow_unicode=True)
        write_atomic(metadata, text.encode())
    verified = record["verification"] == "passed"
    if metadata is not None or record["weights"] != "best" or not verified:
        export.run(
            model.with_suffix(".ckpt"),
            model,
            weights="last" if record["weights"] == "last" else "best",
            metadata=metadata,
            verify="quick" if verified else "none",
        )
    text_of = add_metadata.text_of(source)
    if text_of != add_metadata.text_of(model):  # changed after the export
        write_atomic(model, add_metadata.with_text(model, text_of))
