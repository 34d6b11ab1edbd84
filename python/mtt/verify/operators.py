"""The gate before a model file is run or handed on: is there only in it what models need?

``mtt-verify`` reads code and objects of the file and loads nothing; see docs/concepts/verify.md.
"""

from pathlib import Path

from mtt.errors import UserError
from mtt.verify import run as verification

CHECK = "LOAD/operators"


def require_known(
    path: Path,
    extensions: Path | None = None,
    allowed: list[str] | None = None,
    display: str | None = None,
) -> None:
    """Refuse a file whose code could do more than compute.

    :param extensions: folder of the compiled extensions that it needs
    :param allowed: operators that the user vouches for
    :param display: name to show instead of ``path``
    :raises UserError: something in it is not on the list; the message names it
    """
    report = verification.verify(
        path, only=[CHECK], extensions=extensions, allow_operators=allowed or None, waivers=False
    )
    for check in report.failures:
        raise UserError(
            f"the file is not used: {check.message}",
            where=display or str(path),
            hint=f"'mtt verify --only {CHECK}' says it again, and --allow-operator lets one pass",
        )
