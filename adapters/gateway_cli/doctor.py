"""a URL → whether a client could connect there, and what to do if not."""

from __future__ import annotations

from typing import Annotated, Any

import attrs
import msgspec
import typer
from rich.text import Text

from gateway_cli.escaping import escape, json_line
from gateway_cli.options import (
    ApiOption,
    CompressOption,
    DialectOption,
    EncodingOption,
    GatewayOption,
    JsonOption,
    NoProxyOption,
    ProxyOption,
    chosen,
    proxy_setting,
    version_of,
)
from gateway_cli.output import Output
from gateway_cli.probe import Finding, Probe
from gateway_cli.report import TRACE_HINT, about, one_line
from gateway_cli.running import run
from gateway_cli.settings import configured, parsed_url
from gateway_cli.show import console
from gateway_cli.trusting import tls_context
from gateway_proto import Compression, Config, Encoding

__all__ = ["doctor"]

_NO_TOKEN = "the-doctor-has-none"
"""Stands where a token must; it goes nowhere, since the doctor never identifies."""


def doctor(
    api: ApiOption = None,
    gateway: GatewayOption = None,
    version: DialectOption = 10,
    encoding: EncodingOption = Encoding.JSON.value,
    compress: CompressOption = Compression.NONE.value,
    seconds: Annotated[
        float,
        typer.Option("--timeout", metavar="SECONDS", help="For each step.", min=0.1, max=600),
    ] = 10.0,
    proxy: ProxyOption = None,
    no_proxy: NoProxyOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check the connection to a gateway step by step, without a token.

    Name, connection, TLS certificate, lookup, WebSocket, HELLO; where one of them fails, why, and
    what to do. Without --api and --gateway it is Discord's own. Ends with 0 if all is well, else
    with 1.

    \b
    Example:
      gateway-proto doctor --api http://127.0.0.1:8080/api
    """
    parsed_url(api, gateway)
    config = _config(
        api_url=api,
        gateway_url=gateway,
        dialect=version,
        encoding=chosen("--encoding", encoding, Encoding),
        compression=chosen("--compress", compress, Compression),
        seconds=seconds,
    )
    setting = proxy_setting(proxy, config.endpoint, no_proxy=no_proxy)
    context = tls_context()
    output = Output()
    page = _Page(config, output, as_json=as_json)

    async def probe() -> bool:
        good = await Probe(config, page.tell, page.begin, proxy=setting, context=context).run()
        page.end(good=good)
        return good

    try:
        good = run(output, probe)
    finally:
        page.stop()
    if not good:
        raise typer.Exit(1)


def _config(**given: Any) -> Config:
    seconds = given.pop("seconds")
    # Nothing that stands for a token leaves this machine, not even to a lookup that wants one.
    spoken = msgspec.structs.replace(version_of(given.pop("dialect")), lookup_authorized=False)
    return configured(
        token=_NO_TOKEN,
        dialect=spoken,
        intents=0 if spoken.intents_required else None,
        ask_to_identify=True,
        unix_offset=0.0,  # for heartbeats that are never sent
        handshake_timeout=seconds,
        greeting_timeout=seconds,
        close_timeout=seconds,
        allow_plaintext=True,  # no token is sent
        **given,
    )


class _Page:
    """Findings, as lines for people or as objects for machines."""

    def __init__(self, config: Config, output: Output, *, as_json: bool) -> None:
        self._output = output
        self._console = console(output)
        self._as_json = as_json
        self._waits = self._console.status("", spinner="line")
        words = {
            "dialect": config.dialect.version,
            "encoding": config.encoding.value,
            "compression": config.compression.value,
        }
        if as_json:
            self._print({"about": {**about(), **words, "endpoint": str(config.endpoint)}})
            return
        self._console.print(Text(one_line(), style="dim"))
        speaks = ", ".join(f"{name} {word}" for name, word in words.items())
        self._console.print(Text.assemble(str(config.endpoint), (f"; {speaks}", "dim")))

    def begin(self, step: str) -> None:
        """A step is tried: on a terminal that is seen until it is done."""
        if not self._as_json and self._console.is_terminal:
            self._waits.update(f"{step} ...")
            self._waits.start()

    def tell(self, finding: Finding) -> None:
        """A step is done."""
        self._waits.stop()
        if self._as_json:
            self._print(attrs.asdict(finding))
            return
        mark = ("ok  ", "bold green") if finding.good else ("BAD ", "bold red")
        took = (f"  {finding.milliseconds:.0f} ms", "dim")
        self._console.print(Text.assemble(mark, f"{finding.step:10}", escape(finding.text), took))
        if finding.advice:
            self._console.print(Text.assemble(" " * 14, (escape(finding.advice), "yellow")))

    def stop(self) -> None:
        """Show nothing more of the step that is tried."""
        self._waits.stop()

    def end(self, *, good: bool) -> None:
        """All that could be tried is done."""
        self._waits.stop()
        if self._as_json:
            self._print({"good": good})
        elif good:
            self._console.print(Text("all is well: a client can connect there", "bold green"))
        else:
            self._console.print(
                Text(f"If this should work, report all of these lines, and a trace: {TRACE_HINT}")
            )

    def _print(self, fields: dict[str, Any]) -> None:
        self._output.write(json_line(fields))
