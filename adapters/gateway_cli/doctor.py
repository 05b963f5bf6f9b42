"""a URL → whether a client could connect there, and what to do if not."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import attrs
import msgspec
import typer
from rich.console import Console
from rich.text import Text

from gateway_cli.options import (
    ApiOption,
    CompressOption,
    DialectOption,
    EncodingOption,
    GatewayOption,
    JsonOption,
    NoProxyOption,
    ProxyOption,
    proxy_setting,
)
from gateway_cli.probe import Finding, Probe
from gateway_cli.report import TRACE_HINT, about, one_line
from gateway_cli.show import fail
from gateway_dialing import ProxySetting, proxy_for
from gateway_proto import Compression, Config, Encoding, LocalProtocolError, dialect

__all__ = ["doctor"]

_NO_TOKEN = "the-doctor-has-none"
"""Stands where a token must; it goes nowhere, since the doctor never identifies."""


def doctor(
    api: ApiOption = None,
    gateway: GatewayOption = None,
    version: DialectOption = 10,
    encoding: EncodingOption = Encoding.JSON,
    compress: CompressOption = Compression.NONE,
    seconds: Annotated[
        float, typer.Option("--timeout", help="Seconds for each step.", min=0.1, max=600)
    ] = 10.0,
    proxy: ProxyOption = None,
    no_proxy: NoProxyOption = False,
    as_json: JsonOption = False,
) -> None:
    """Go the road to a gateway without a token, and say what is found at each step.

    Name, connection, TLS certificate, lookup, WebSocket, HELLO; where one of them fails, why, and
    what to do. Without --api and --gateway it is Discord's own. Ends with 0 if all is well, else
    with 1.

    \b
    Example:
      gateway-proto doctor --api http://127.0.0.1:8080/api
    """
    try:
        config = _config(
            api_url=api,
            gateway_url=gateway,
            dialect=version,
            encoding=encoding,
            compression=compress,
            seconds=seconds,
        )
        setting = proxy_setting(proxy, no_proxy=no_proxy)
        proxy_for(setting, str(config.endpoint))
    except LocalProtocolError as error:
        fail(str(error))
    page = _Page(config, as_json=as_json)
    try:
        good = asyncio.run(_probe(config, page, setting))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    page.end(good=good)
    if not good:
        raise typer.Exit(1)


def _config(**given: Any) -> Config:
    seconds = given.pop("seconds")
    # Nothing that stands for a token leaves this machine, not even to a lookup that wants one.
    spoken = msgspec.structs.replace(dialect(given.pop("dialect")), lookup_authorized=False)
    return Config(
        token=_NO_TOKEN,
        dialect=spoken,
        intents=0 if spoken.intents_required else None,
        ask_to_identify=True,
        unix_offset=0.0,  # for heartbeats that are never sent
        handshake_timeout=seconds,
        greeting_timeout=seconds,
        close_timeout=seconds,
        **given,
    )


async def _probe(config: Config, page: _Page, proxy: ProxySetting) -> bool:
    return await Probe(config, page.tell, page.begin, proxy=proxy).run()


class _Page:
    """Findings, as lines for people or as objects for machines."""

    def __init__(self, config: Config, *, as_json: bool) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._as_json = as_json
        self._waits = self._console.status("")
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
        self._console.print(Text.assemble(mark, f"{finding.step:10}", finding.text, took))
        if finding.advice:
            self._console.print(Text.assemble(" " * 14, (finding.advice, "yellow")))

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
        self._console.out(json.dumps(fields, ensure_ascii=False), highlight=False)
