"""The command `timeline`: a trace as one HTML page without dependencies."""

from __future__ import annotations

import importlib.resources
import json
import pathlib
import sys
from typing import Annotated, Any

import typer

from gateway_cli.escaping import NOT_AS_JSON, escape, json_line
from gateway_cli.private import NotOurs, private_file
from gateway_cli.progress import open_with_progress
from gateway_cli.show import MALFORMED_TRACE_ERRORS, MISUSED, console, fail
from gateway_cli.timeline_data import timeline_data
from gateway_proto.trace import TraceError, read

__all__ = ["page", "timeline_file"]


def timeline_file(
    file: Annotated[
        pathlib.Path, typer.Argument(metavar="FILE", help="A trace, as tail --record writes it.")
    ],
    out: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="FILE", help="File of the page; by default that of the trace, with .html."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the data of the page, and write no page.")
    ] = False,
) -> None:
    """Draw a trace: states, heartbeats, dispatches, queues, and reasons of dials and closes.

    The page is one file of about 5 MB, opens in any browser, and loads nothing. It needs the extra
    timeline.

    \b
    Example:
      gateway-proto timeline trace.jsonl --out trace.html
    """
    try:
        with open_with_progress(file, console(stderr=True)) as lines:
            data = timeline_data(read(lines))
    except (TraceError, UnicodeError) as error:
        fail(f"{file}: {error}", status=MISUSED)
    except (*MALFORMED_TRACE_ERRORS, RecursionError) as error:
        fail(f"{file}: a line is not as traces have it: {error!r}", status=MISUSED)
    if as_json:
        try:
            text = json_line(data)
        except NOT_AS_JSON as error:
            fail(f"{file}: it cannot be written as JSON: {error}", status=MISUSED)
        sys.stdout.write(text)
        return
    out = out or file.with_suffix(".html")
    try:
        text = page(data, file.name)
    except ImportError:
        fail("a timeline needs plotly: install gateway-proto[timeline]", status=MISUSED)
    try:
        with private_file(out, is_ours=_is_page) as target:
            target.write(text)
    except NotOurs as error:
        fail(f"{out}: {error}", status=MISUSED)
    except OSError as error:
        fail(f"{out}: {error.strerror or error}", status=MISUSED)
    sys.stdout.write(f"{escape(str(out))}\n")


def _is_page(head: bytes) -> bool:
    return b'content="gateway-proto timeline"' in head


def _escaped(data: dict[str, Any]) -> dict[str, Any]:
    """Return the data with the texts of peers as `tail` shows them: none changes its direction."""
    dispatches = data["dispatches"]
    names = [{**one, "name": escape(one["name"])} for one in dispatches["names"]]
    decisions = [{**row, "text": escape(row["text"])} for row in data["decisions"]]
    return {**data, "dispatches": {**dispatches, "names": names}, "decisions": decisions}


def page(data: dict[str, Any], name: str) -> str:
    """Return the HTML page of timeline data; raises ImportError if plotly is not installed."""
    from plotly.offline import get_plotlyjs

    template = importlib.resources.files("gateway_cli").joinpath("timeline.html").read_text("utf-8")
    # Data of the trace must not close the element that contains it.
    text = json.dumps({"name": escape(name), **_escaped(data)}, ensure_ascii=True).replace(
        "<", "\\u003c"
    )
    return template.replace("/*PLOTLY*/", get_plotlyjs()).replace("/*DATA*/", text)
