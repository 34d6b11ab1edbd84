"""What to say of a data file, a checkpoint or a model that is given in the place of options."""

from pathlib import Path

from mtt.errors import UserError
from mtt.filetypes.recognize import describe
from mtt.options.reading.problems import SHORTEST

# Texts that may be options with a mistake in them, about which YAML says more.
_MAY_BE_OPTIONS = ("text", "json", "options", "empty", "unknown")


def another_kind(path: Path, what: str, for_eval: bool) -> UserError | None:
    """Return the error for a file that is known to be something else; None if it is not known.

    :param what: what it should be: "options file"
    :param for_eval: whether options of ``mtt eval`` are wanted, not those of ``mtt train``
    """
    try:
        known = describe(path)
    except (OSError, UserError):
        return None
    if known.kind in _MAY_BE_OPTIONS:
        return None
    hint = _hint(known.kind, path, for_eval) if what == "options file" else ""
    article = "an" if what[0] in "aeiou" else "a"
    hint = hint or f"give {article} {what}, which is written in YAML"
    return UserError(f"this is {known.what}, not {article} {what}", where=str(path), hint=hint)


def _hint(kind: str, path: Path, for_eval: bool) -> str:
    if kind == "structures":
        if for_eval:
            return f"write options that name it, in a file of their own: systems: {path}"
        shortest = SHORTEST.replace("data.xyz", str(path))
        return f"write options that name it, in a file of their own; the shortest are {shortest}"
    if kind in ("checkpoint", "model") and for_eval:
        return f"give the model first, then the options: mtt eval {path} eval.yaml"
    if kind == "checkpoint":
        return (
            f"give options first; to resume from the checkpoint: mtt train options.yaml -c {path}"
        )
    if kind == "model":
        return "give the options.yaml to train with; a model is used by mtt eval and mtt verify"
    return ""
