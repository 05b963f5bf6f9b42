"""Entry point of `gateway-proto`: the list of its commands, and crash reports."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
from types import FrameType
from typing import Annotated, Any

import typer

from gateway_cli.crash_report import CRASHED, crash, one_line
from gateway_cli.demo import demo
from gateway_cli.doctor import doctor
from gateway_cli.escaping import escape_lines
from gateway_cli.output import OutputFailed, discard_output
from gateway_cli.replay import replay_file
from gateway_cli.running import INTERRUPTED
from gateway_cli.serve import serve
from gateway_cli.show import complain
from gateway_cli.simulate import simulate
from gateway_cli.tail import tail
from gateway_cli.timeline import timeline_file

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
  130  after Ctrl-C or SIGTERM
"""

app = typer.Typer(
    name="gateway-proto",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="A Discord gateway's client and server: watch one, serve one, or run both.",
    epilog=_EPILOG,
)
app.command("demo", short_help="Run a client and a server for ten seconds.")(demo)
app.command("serve", short_help="Serve a gateway to test against.")(serve)
app.command("tail", short_help="Print each event of a gateway as it arrives.")(tail)
app.command("doctor", short_help="Find out why a client cannot connect.")(doctor)
app.command("replay", short_help="Run a trace again, and show differences.")(replay_file)
app.command("timeline", short_help="Draw a trace on one page of HTML.")(timeline_file)
app.command("simulate", short_help="Simulate years of faults in virtual time.")(simulate)


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


# click's ClickException. New versions of typer bring a click of their own, which is not public.
_ClickError: Any = typer.BadParameter.__mro__[2]


def run_command() -> int:
    """Run the command that the words of this process name; returns its exit status."""
    # Its records are shown as events already, so they are not written to standard error.
    logging.getLogger("gateway_proto").addHandler(logging.NullHandler())
    logging.getLogger("gateway_proto").propagate = False
    # Also where a shell started it in the background, and with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        status = app(standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except _ClickError as error:
        if sys.argv[1:]:
            complain(error.format_message().replace("\n", " "))
        else:  # its message is the help
            error.show()
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
        if error.filename is None:
            return _without_output(OutputFailed(error))
        complain(f"{error.filename}: {error.strerror}")
        return 1
    except Exception as error:
        return _crashed(error)


def _crashed(error: BaseException) -> int:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(escape_lines(crash(error, sys.argv[1:])) + "\n")
    discard_output()
    return CRASHED


def _without_output(error: OutputFailed) -> int:
    if not error.left:  # otherwise nobody reads the reason
        complain(str(error))
    discard_output()
    return 1


def _interrupt(_: int, frame: FrameType | None) -> None:
    """SIGTERM is Ctrl-C."""
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        handler(signal.SIGINT, frame)
