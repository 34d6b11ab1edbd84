"""The errors that mtt raises on purpose, and the exit code that each one ends the program with."""

from typing import Final

EXIT_OK: Final = 0
EXIT_BUG: Final = 1
EXIT_USER: Final = 2
EXIT_VERIFICATION: Final = 3
EXIT_INTERRUPTED: Final = 130
EXIT_TERMINATED: Final = 143

# Codes of errors that some caller treats differently from others.
DATA_CHANGED: Final = "data-changed"


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

    ``what`` says what is wrong, ``where`` the file, option or structure it was found in, and
    ``hint`` what to do next. ``str()`` of the error is one message::

        <what>
          where: <where>
          hint: <hint>

    with the lines that are not given left out. ``code`` is for programs: whoever treats an error
    differently from others asks for it.
    """

    exit_code = EXIT_USER

    def __init__(
        self,
        what: str,
        where: str | None = None,
        hint: str | None = None,
        *,
        code: str | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.hint = hint
        super().__init__(what, where, hint, code=code)

    def parts(self) -> dict[str, str | None]:
        """Return the arguments that make this error again, in another process."""
        return {"what": self.what, "where": self.where, "hint": self.hint, "code": self.code}

    def __str__(self) -> str:
        lines = [self.what]
        if self.where is not None:
            lines.append(f"  where: {self.where}")
        if self.hint is not None:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class VerificationFailed(MttError):
    """A model file did not pass verification; the message names the checks that failed."""

    exit_code = EXIT_VERIFICATION


class Terminated(KeyboardInterrupt):
    """The program was asked to stop by SIGTERM or SIGUSR1, as queueing systems do before they kill,
    or its time is over."""
