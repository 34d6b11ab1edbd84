"""The error of an exported model whose archive is no longer whole."""

from pathlib import Path

from mtt.errors import UserError


def damaged(path: Path, why: str) -> UserError:
    """The error for an archive that was a model once."""
    return UserError(
        f"the model file is damaged: {why}",
        where=str(path),
        hint="copy it again, or export it anew from its checkpoint",
    )
