"""The errors that mtt raises on purpose, and the exit code that each one ends the program with."""

from collections.abc import Sequence
from typing import Any, Final

from mtt.printable import printable

EXIT_OK: Final = 0
EXIT_BUG: Final = 1
EXIT_USER: Final = 2
EXIT_VERIFICATION: Final = 3
EXIT_INTERRUPTED: Final = 130
EXIT_TERMINATED: Final = 143

# Codes of errors that some caller treats differently from others.
DATA_CHANGED: Final = "data-changed"

# Longer parts of a message are cut.
_LONGEST: Final = 2000
_MOST_DETAILS: Final = 40


class MttError(Exception):
    """Root of every error that mtt raises on purpose; anything else that escapes is a bug."""

    exit_code: int = EXIT_BUG

    def __init__(self, *arguments: object, code: str | None = None) -> None:
        """Make an error; programs decide by its ``code``, and never by its sentences."""
        self.code = code
        super().__init__(*arguments)

    def report(self) -> str:
        """Text for the terminal, without a trailing newline."""
        return f"error: {self}"


class UserError(MttError):
    """Something that the user can put right: a file, an option, an argument, a full disk.

    ``what`` says what is wrong, in ``details`` with lines of their own, ``where`` the file, option or
    structure it was found in, and ``hint`` what to do next. ``str()`` of the error is one message::

        <what>
            <details>
          where: <where>
          hint: <hint>

    with the lines that are not given left out. Names of files, servers and models in it are shown
    in one line and obeyed by no terminal, see :mod:`mtt.printable`. ``code`` is for programs: whoever
    treats an error differently from others asks for it.
    """

    exit_code = EXIT_USER

    def __init__(
        self,
        what: str,
        where: str | None = None,
        hint: str | None = None,
        *,
        code: str | None = None,
        details: Sequence[str] = (),
    ) -> None:
        self.what = what
        self.details = tuple(details)
        self.where = where
        self.hint = hint
        super().__init__(what, where, hint, code=code)

    def parts(self) -> dict[str, Any]:
        """Return the arguments that make this error again, in another process."""
        plain = {"what": self.what, "where": self.where, "hint": self.hint, "code": self.code}
        return {**plain, "details": self.details}

    def __str__(self) -> str:
        # A line end in a name could forge the lines below it: only the ends of ours are ends.
        lines = [printable(self.what, _LONGEST)]
        lines += [f"    {printable(line, _LONGEST)}" for line in self.details[:_MOST_DETAILS]]
        if len(self.details) > _MOST_DETAILS:
            lines.append(f"    ... and {len(self.details) - _MOST_DETAILS} more")
        if self.where is not None:
            lines.append(f"  where: {printable(self.where, _LONGEST)}")
        if self.hint is not None:
            lines.append(f"  hint: {printable(self.hint, _LONGEST)}")
        return "\n".join(lines)


class VerificationFailed(MttError):
    """A model file did not pass verification; the message names the checks that failed."""

    exit_code = EXIT_VERIFICATION

    def __str__(self) -> str:
        return printable(super().__str__(), 2 * _LONGEST)


class Terminated(KeyboardInterrupt):
    """The program was asked to stop by SIGTERM or SIGUSR1, as queueing systems do before they kill,
    or its time is over."""
