"""The command `doctor`: check the connection to a gateway, with hints if it fails."""

from __future__ import annotations

from typing import Annotated, Any

import attrs
import msgspec
import typer
from rich.text import Text

from gateway_cli.crash_report import TRACE_HINT, about, one_line
from gateway_cli.doctor_checks import ConnectionCheck, Finding
from gateway_cli.escaping import escape, json_line
from gateway_cli.options import (
    ApiOption,
    ApiVersionOption,
    CompressionOption,
    EncodingOption,
    GatewayOption,
    JsonOption,
    NoProxyOption,
    ProxyOption,
    chosen,
    finite,
    proxy_setting,
    version_of,
)
from gateway_cli.output import Output
from gateway_cli.running import run
from gateway_cli.settings import configured, parsed_url
from gateway_cli.show import console
from gateway_cli.trusting import tls_context
from gateway_proto import Compression, Config, Encoding

__all__ = ["doctor"]

_NO_TOKEN = "the-doctor-has-none"
"""A placeholder for the token. It is never sent, since `doctor` does not identify."""


def doctor(
    api: ApiOption = None,
    gateway: GatewayOption = None,
    version: ApiVersionOption = 10,
    encoding: EncodingOption = Encoding.JSON.value,
    compression: CompressionOption = Compression.NONE.value,
    seconds: Annotated[
        float,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            help="For each step.",
            min=0.1,
            max=600,
            callback=finite,
        ),
    ] = 10.0,
    proxy: ProxyOption = None,
    no_proxy: NoProxyOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check the connection to a gateway step by step, without a token.

    The steps are name, connection, TLS certificate, lookup, WebSocket and HELLO. A step that fails
    has a reason and a hint. Without --api and --gateway it checks Discord. The exit
    status is 0 if all steps succeed, else 1.

    \b
    Example:
      gateway-proto doctor --api http://127.0.0.1:8080/api
    """
    parsed_url(api, gateway)
    config = _config(
        api_url=api,
        gateway_url=gateway,
        version=version,
        encoding=chosen("--encoding", encoding, Encoding),
        compression=chosen("--compression", compression, Compression),
        seconds=seconds,
    )
    setting = proxy_setting(proxy, config.endpoint, no_proxy=no_proxy)
    context = tls_context()
    output = Output()
    page = _Page(config, output, as_json=as_json)

    async def check() -> bool:
        good = await ConnectionCheck(
            config, page.report, page.begin, proxy=setting, context=context
        ).run()
        page.end(good=good)
        return good

    try:
        good = run(output, check)
    finally:
        page.stop()
    if not good:
        raise typer.Exit(1)


def _config(**given: Any) -> Config:
    seconds = given.pop("seconds")
    # The placeholder is not sent, not even to a lookup that requires a token.
    unauthorized = msgspec.structs.replace(
        version_of(given.pop("version")), lookup_authorized=False
    )
    return configured(
        token=_NO_TOKEN,
        version=unauthorized,
        intents=0 if unauthorized.intents_required else None,
        wait_for_identify_slot=True,
        unix_offset=0.0,  # for heartbeats that are never sent
        handshake_timeout=seconds,
        hello_timeout=seconds,
        close_timeout=seconds,
        allow_plaintext=True,  # no token is sent
        **given,
    )


class _Page:
    """Output of findings, as text or as JSON."""

    def __init__(self, config: Config, output: Output, *, as_json: bool) -> None:
        self._output = output
        self._console = console(output)
        self._as_json = as_json
        self._waits = self._console.status("", spinner="line")
        words = {
            "api_version": config.version.number,
            "encoding": config.encoding.value,
            "compression": config.compression.value,
        }
        if as_json:
            self._print({"about": {**about(), **words, "endpoint": str(config.endpoint)}})
            return
        self._console.print(Text(one_line(), style="dim"))
        protocol = ", ".join(f"{name} {word}" for name, word in words.items())
        protocol = protocol.replace("api_version", "version")
        self._console.print(Text.assemble(str(config.endpoint), (f"; {protocol}", "dim")))

    def begin(self, step: str) -> None:
        """Show the step that runs, on a terminal."""
        if not self._as_json and self._console.is_terminal:
            self._waits.update(f"{step} ...")
            self._waits.start()

    def report(self, finding: Finding) -> None:
        """Print the finding of a step."""
        self._waits.stop()
        if self._as_json:
            self._print(attrs.asdict(finding))
            return
        mark = ("ok  ", "bold green") if finding.good else ("BAD ", "bold red")
        took = (f"  {finding.milliseconds:.0f} ms", "dim")
        self._console.print(Text.assemble(mark, f"{finding.step:10}", escape(finding.text), took))
        if finding.hint:
            self._console.print(Text.assemble(" " * 14, (escape(finding.hint), "yellow")))

    def stop(self) -> None:
        """Stop showing the step that runs."""
        self._waits.stop()

    def end(self, *, good: bool) -> None:
        """Print the result."""
        self._waits.stop()
        if self._as_json:
            self._print({"good": good})
        elif good:
            self._console.print(Text("all checks passed: a client can connect", "bold green"))
        else:
            self._console.print(
                Text(f"If this should work, report all of these lines, and a trace: {TRACE_HINT}")
            )

    def _print(self, fields: dict[str, Any]) -> None:
        self._output.write(json_line(fields))
