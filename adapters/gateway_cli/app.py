"""Entry point of `gateway-proto`: the list of its commands, and crash reports."""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import re
import sys
from typing import Annotated, Any

import typer

from gateway_cli.command_group import CommandPlace, GroupPlace, group_of
from gateway_cli.crash_report import CRASHED, crash, one_line
from gateway_cli.escaping import escape_lines
from gateway_cli.output import INTERRUPTED, OutputFailed, discard_output
from gateway_cli.start import exit_without_extra

__all__ = ["app", "run_command"]

_EPILOG = """
\b
Examples:
  gateway-proto serve --port 8080
  gateway-proto doctor --api http://127.0.0.1:8080/api
  GATEWAY_TOKEN=any gateway-proto tail --api http://127.0.0.1:8080/api

\b
Exit status:
    0  on success
    1  on failure; the last line has the reason
    2  if the options, or a file, cannot be used
   70  after an internal error; it prints what to report
  130  after Ctrl-C, SIGTERM or SIGHUP
"""

_FLEET: dict[str, CommandPlace | GroupPlace] = {
    "run": CommandPlace("fleet_run", "fleet_run", "Run some of the shards, as a member."),
    "status": CommandPlace("fleet_status", "fleet_status", "Show the members and the shards."),
    "drain": CommandPlace("fleet_drain", "fleet_drain", "Ask a member to give its shards away."),
    "reshard": CommandPlace("fleet_reshard", "fleet_reshard", "Change the number of shards."),
}
_COMMANDS: dict[str, CommandPlace | GroupPlace] = {
    "demo": CommandPlace("demo", "demo", "Run a client and a server for a few seconds."),
    "serve": CommandPlace("serve", "serve", "Serve a gateway to test against."),
    "tail": CommandPlace("tail", "tail", "Print each event of a gateway as it arrives."),
    "doctor": CommandPlace("doctor", "doctor", "Find out why a client cannot connect."),
    "replay": CommandPlace("replay", "replay_file", "Run a trace again, and show differences."),
    "timeline": CommandPlace("timeline", "timeline_file", "Draw a trace on one page of HTML."),
    "fleet": GroupPlace(
        _FLEET,
        "Run shards on several machines.",
        "Run the shards of one bot on several machines, over a server of Redis, Valkey or NATS.",
    ),
    "simulate": CommandPlace("simulate", "simulate", "Simulate years of faults in virtual time."),
}

app = typer.Typer(
    # Importing the commands takes three quarters of the time of `gateway-proto --help`.
    cls=group_of(_COMMANDS),
    name="gateway-proto",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="A Discord gateway's client and server: watch one, serve one, or run both.",
    epilog=_EPILOG,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(one_line())
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the versions of all packages involved, for a report.",
            is_eager=True,
            callback=_say_version,
        ),
    ] = False,
) -> None: ...


_MAX_VALUE_LENGTH = 20
"""Longer values of options are not shown: a token may be at the wrong place."""
_OUTPUT_ERRORS = (
    errno.EPIPE,
    errno.EINVAL,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EBADF,
)
"""Errors of writing; others without a file are those of the system, such as too many files."""
# click's ClickException. New versions of typer bring a click of their own, which is not public.
_ClickError: Any = typer.BadParameter.__mro__[2]


def run_command() -> int:
    """Run the command that the words of this process name; returns its exit status."""
    # Its records are shown as events already, so they are not written to standard error.
    logging.getLogger("gateway_proto").addHandler(logging.NullHandler())
    logging.getLogger("gateway_proto").propagate = False
    try:
        status = app(standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except _ClickError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help
            error.show()
        else:
            _complain(_wrong_word(error, sys.argv[1:]))
        return int(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        discard_output()
        return INTERRUPTED
    except BaseExceptionGroup as group:  # as trio raises them
        if group.subgroup(KeyboardInterrupt) is None:
            return _crashed(group)
        discard_output()
        return INTERRUPTED
    except OutputFailed as error:
        return _without_output(error)
    except OSError as error:
        if error.filename is None and error.errno in _OUTPUT_ERRORS:
            return _without_output(OutputFailed(error))
        where = "" if error.filename is None else f"{error.filename}: "
        _complain(f"{where}{error.strerror or error}")
        return 1
    except ModuleNotFoundError as error:  # of a part that is imported when it is used
        exit_without_extra(error)
        return _crashed(error)
    except Exception as error:
        return _crashed(error)


def _complain(message: str) -> None:
    from gateway_cli.show import complain  # imports rich, which `--help` does not need

    complain(message)


def _wrong_word(error: Any, words: list[str]) -> str:
    """Return what is wrong with the words of a command; newer typer leaves out the value."""
    text: str = error.format_message().replace("\n", " ")
    for option in getattr(getattr(error, "param", None), "opts", ()):
        for word, following in itertools.pairwise([*words, ""]):
            name, is_joined, value = word.partition("=")
            value = value if is_joined else following
            is_shown = re.search(rf"(?<![\w.]){re.escape(value)}(?![\w.])", text)
            if name == option and not is_shown and 0 < len(value) <= _MAX_VALUE_LENGTH:
                return text.replace("Invalid value", f"Invalid value {value!r}", 1)
    return text


def _crashed(error: BaseException) -> int:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(escape_lines(crash(error, sys.argv[1:])) + "\n")
    discard_output()
    return CRASHED


def _without_output(error: OutputFailed) -> int:
    if not error.left:  # otherwise nobody reads the reason
        _complain(str(error))
    discard_output()
    return 1
