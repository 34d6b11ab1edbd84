"""The program `mtt`: parse the command line, run one command, map errors to exit codes."""

import os
import signal
import sys
import warnings
from collections.abc import Sequence
from types import FrameType

from mtt.cli import parse
from mtt.cli.failures import bug, interrupted, library, operating_system
from mtt.errors import EXIT_OK, EXIT_USER, MttError, Terminated
from mtt.printable import harmless_output, printable
from mtt.tokens import without_secrets

# The second one is sent by queueing systems some time before they kill, if asked to.
_TERMINATING = (signal.SIGTERM, signal.SIGUSR1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; ``arguments`` default to those of the program."""
    with harmless_output():
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    warnings.showwarning = _show_warning
    before = {number: signal.signal(number, _terminate) for number in _TERMINATING}
    try:
        try:
            options = parse(words)
            options.run(options)
        except BaseException:  # also after the help, where argparse exits
            _flush_quietly()
            raise
        finally:
            # How the program ends is decided; somebody else's program gets its own handlers back.
            for number, handler in before.items():
                signal.signal(number, _ignore if arguments is None else handler)
        sys.stdout.flush()
    except MttError as error:
        return _fail(without_secrets(error.report(), words), error.exit_code)
    except KeyboardInterrupt as error:
        text, code = interrupted(error)
        return _fail(without_secrets(text, words), code)
    except BrokenPipeError:
        _silence()
        return EXIT_OK
    except Exception as error:  # noqa: BLE001 - any other exception is a bug to be logged
        translated = operating_system(error) or library(error)
        if translated is not None:
            return _fail(without_secrets(translated.report(), words), EXIT_USER)
        return _fail(*bug(error, words))
    return EXIT_OK


def _fail(text: str, code: int) -> int:
    print(text, file=sys.stderr)
    return code


def _flush_quietly() -> None:
    """Output that cannot be written must not replace the error that the program ends with."""
    try:
        sys.stdout.flush()
    except OSError:
        _silence()


def _silence() -> None:
    """Whoever read our output has seen enough; Python must not complain at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise Terminated


def _ignore(signum: int, frame: FrameType | None) -> None:
    pass


def _show_warning(
    message: Warning | str, category: type[Warning], *_: object, **__: object
) -> None:
    """One line without the path of the code that warns, which means nothing to a user."""
    print(without_secrets(f"warning: {printable(str(message), 2000)}"), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
