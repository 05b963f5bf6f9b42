"""a trace file → one page of HTML that shows it, and needs nothing else."""

from __future__ import annotations

import importlib.resources
import json
import pathlib
from typing import Annotated, Any

import typer
from rich.console import Console

from gateway_cli.reading import reading
from gateway_cli.show import NOT_AS_TRACES, fail
from gateway_cli.story import story
from gateway_proto.trace import TraceError, read

__all__ = ["page", "timeline_file"]


def timeline_file(
    file: Annotated[pathlib.Path, typer.Argument(help="A trace, as tail --record writes it.")],
    out: Annotated[
        pathlib.Path | None,
        typer.Option(help="Where the page goes; by default beside the trace, with .html."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what the page would draw, and write no page.")
    ] = False,
) -> None:
    """Draw a trace: states, heartbeats, dispatches, queues, and why it dialled and closed.

    The page is one file of about 5 MB, opens in any browser, and loads nothing. It needs the extra
    timeline.

    \b
    Example:
      gateway-proto timeline trace.jsonl --out trace.html
    """
    out = out or file.with_suffix(".html")
    try:
        with reading(file, Console(stderr=True)) as lines:
            told = story(read(lines))
        if as_json:
            typer.echo(json.dumps(told, ensure_ascii=False))
            return
        out.write_text(page(told, file.name), encoding="utf-8")
    except (TraceError, UnicodeError) as error:
        fail(f"{file}: {error}", status=2)
    except NOT_AS_TRACES as error:
        fail(f"{file}: a line is not as traces have it: {error!r}", status=2)
    except ImportError:
        fail("a timeline needs plotly: install gateway-proto[timeline]")
    except BrokenPipeError:
        raise  # whoever read has left
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}", status=2)
    typer.echo(out)


def page(told: dict[str, Any], name: str) -> str:
    """The page of a story; raises ImportError where plotly is not installed."""
    from plotly.offline import get_plotlyjs

    template = importlib.resources.files("gateway_cli").joinpath("timeline.html").read_text("utf-8")
    # Nothing of the trace may end the element that it stands in.
    data = json.dumps({"name": name, **told}, ensure_ascii=True).replace("<", "\\u003c")
    return template.replace("/*PLOTLY*/", get_plotlyjs()).replace("/*DATA*/", data)
