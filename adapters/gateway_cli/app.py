"""words of a command line → a command; a crash → what to report."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from gateway_cli.demo import demo
from gateway_cli.doctor import doctor
from gateway_cli.replay import replay_file
from gateway_cli.report import CRASHED, crash, one_line
from gateway_cli.serve import serve
from gateway_cli.simulate import simulate
from gateway_cli.tail import tail
from gateway_cli.timeline import timeline_file

__all__ = ["app", "main"]

_EPILOG = """
\b
Examples:
  gateway-proto serve --port 8080
  gateway-proto doctor --api http://127.0.0.1:8080/api
  GATEWAY_TOKEN=any gateway-proto tail --api http://127.0.0.1:8080/api

\b
Ends with
    0  if all went well
    1  if it did not; the last line says why
    2  if the words given, or a file, cannot be read
   70  if the program itself is broken; it prints what to report
  130  after Ctrl-C
"""

app = typer.Typer(
    name="gateway-proto",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="A Discord gateway's client and server: watch one, serve one, or see both at work.",
    epilog=_EPILOG,
)
app.command("demo", short_help="See a client and a server at work, in ten seconds.")(demo)
app.command("serve", short_help="Serve a gateway to test against.")(serve)
app.command("tail", short_help="Print each event of a gateway as it comes.")(tail)
app.command("doctor", short_help="Find out why a client cannot connect.")(doctor)
app.command("replay", short_help="Drive the machine of a trace again.")(replay_file)
app.command("timeline", short_help="Draw a trace on one page of HTML.")(timeline_file)
app.command("simulate", short_help="Live years of trouble in fake time.")(simulate)


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
            help="Say which versions are at work, for a report.",
            is_eager=True,
            callback=_say_version,
        ),
    ] = False,
) -> None: ...


def main() -> None:
    """The command `gateway-proto`."""
    # The commands print events themselves: without a handler, warnings would go to stderr as well.
    logging.getLogger("gateway_proto").addHandler(logging.NullHandler())
    try:
        app()
    except Exception as error:
        sys.stderr.write(crash(error, sys.argv[1:]) + "\n")
        sys.exit(CRASHED)
