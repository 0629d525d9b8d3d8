"""The command line. It parses, calls and prints; it is the only user of rich and typer."""

from __future__ import annotations

import os
import sys
import traceback

from vitsplice.errors import OutOfMemory, UserError, VitspliceError, allocation_failure

DEBUG = "--debug"
LESS = "try smaller images, a smaller --size (--grid of correspond), or a smaller backbone"


def entry() -> None:
    """The entry point ``vitsplice``."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: list[str]) -> int:
    """Run a command and return its exit code: 0 done, 2 the user's mistake, 1 a failure, 130 interrupted."""
    from vitsplice.cli.app import build

    debug = DEBUG in arguments
    try:
        build()(args=[argument for argument in arguments if argument != DEBUG], prog_name="vitsplice")
    except SystemExit as stop:
        if _interrupted(stop):
            print("interrupted", file=sys.stderr)
        return stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _report(error)
    return 0


def _interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is among the causes of an error; typer makes an exit with code 130 of it, without a message."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _report(error: Exception) -> int:
    """Say on one screen what went wrong, and return the exit code."""
    from vitsplice.cli.wording import message
    from vitsplice.text import plain

    if what := allocation_failure(error):
        error = OutOfMemory(f"out of memory ({what}); {LESS}")
    known = isinstance(error, VitspliceError)
    text = message(error) if isinstance(error, VitspliceError) else f"{type(error).__name__}: {error}"
    print(f"error: {plain(text[:2000])}", file=sys.stderr)
    if not known:
        print("This is a fault of vitsplice or of a plugin; --debug shows where it happened.", file=sys.stderr)
    return 2 if isinstance(error, UserError) else 1
