"""The command `demo`: a client against the bundled server."""

from __future__ import annotations

from typing import Annotated, Any

import attrs
import typer

from gateway_cli.demo_adapters import ADAPTERS, SECONDS
from gateway_cli.options import (
    ApiVersionOption,
    CompressionOption,
    EncodingOption,
    JsonOption,
    chosen,
    version_of,
)
from gateway_cli.settings import configured
from gateway_cli.show import MISUSED, Screen, fail
from gateway_cli.words import colour_of, describe
from gateway_proto import (
    Activity,
    Closed,
    Compression,
    Config,
    Dispatch,
    Encoding,
    GatewayFound,
    Heartbeat,
    HeartbeatSent,
    Initiator,
    Intents,
    Opened,
    ProtocolVersion,
    Ready,
    Resumed,
    UpdatePresence,
)
from gateway_proto.server import Server, ServerConfig, ServerEvent, World

__all__ = ["demo"]

_HEARTBEAT_MILLISECONDS = 800
_TOKEN = "demo-token"
_OK = 200
_PRESENCE = UpdatePresence([Activity("chess")])


class _Demo:
    """Client's side of the demo, event by event."""

    def __init__(self, screen: Screen, config: Config) -> None:
        self._screen = screen
        self._config = config
        self._heartbeats = 0
        self._dropped = False
        self._at_server: list[ServerEvent] = []
        self.looked_up = False
        self.numbers: list[int] = []
        self.resumed = False

    def on_server_event(self, _connection: object, event: ServerEvent) -> None:
        """Show what the server received."""
        self._at_server.append(event)
        self._show("server", event)

    async def run(self, adapter: Any) -> None:
        """Run from the lookup to the clean close."""
        server = Server(
            ServerConfig(
                tokens=frozenset({_TOKEN}),
                heartbeat_interval=_HEARTBEAT_MILLISECONDS,
                world=World([{"id": "1", "name": "a guild"}]),
            )
        )
        async with adapter.serve_gateway(server, on_event=self.on_server_event) as serving:
            config = attrs.evolve(self._config, api_url=serving.api_url)
            async with adapter.open_gateway(config, proxy=None) as gateway:
                async for event in gateway:
                    self._show("client", event)
                    await self._answer(event, gateway, serving)
                    # On a busy system the client may also resume before the drop.
                    if self.resumed and len(self.numbers) >= 4:
                        break
                self._screen.line("demo", "the client closes for good")
                await gateway.stop(keep_session=False)

    async def _answer(self, event: Any, gateway: Any, serving: Any) -> None:
        match event:
            case GatewayFound():
                self.looked_up = True
            case Ready():
                await gateway.send(_PRESENCE)
                self._dispatch(serving, 1, 2)
            case HeartbeatSent():
                self._heartbeats += 1
                if self._heartbeats == 3:
                    self._screen.line(
                        "demo", "the connection is dropped; two messages follow meanwhile"
                    )
                    self._dropped = True
                    serving.drop()
                    self._dispatch(serving, 3, 4)
            case Resumed():
                self.resumed = self._dropped
            case Dispatch(name="MESSAGE_CREATE"):
                self.numbers.append(event.data["number"])

    def _dispatch(self, serving: Any, *numbers: int) -> None:
        for number in numbers:
            serving.dispatch("MESSAGE_CREATE", {"number": number, "content": "hello"})

    def _show(self, who: str, event: Any) -> None:
        """Show an event; as text without those that the lines around them imply."""
        is_implied = (
            isinstance(event, Heartbeat)
            or (isinstance(event, HeartbeatSent) and self._config.version.acks_heartbeats)
            or (isinstance(event, Opened) and who == "server")
            or (isinstance(event, Closed) and event.code == _OK)  # the lookup has its answer
        )
        if self._screen.as_json or not is_implied:
            self._screen.line(who, describe(event), colour=colour_of(event))

    def steps(self) -> list[tuple[bool, str]]:
        """Return the steps: whether each succeeded, and its result in words."""
        ends = [event for event in self._at_server if isinstance(event, Closed)]
        closed = bool(ends) and (ends[-1].code, ends[-1].initiator) == (1000, Initiator.PEER)
        in_order = self.numbers == [1, 2, 3, 4]
        numbers = ", ".join(map(str, self.numbers)) or "none"
        steps = (
            (self.looked_up, "the lookup named the gateway", "the lookup named no gateway"),
            (
                _PRESENCE in self._at_server,
                "the client identified and set its status",
                "the server did not receive the status",
            ),
            (
                self.resumed,
                "the connection was dropped, and the session was resumed",
                "the session was not resumed",
            ),
            (in_order, "4 of 4 messages arrived, in order", f"messages not 1 to 4: {numbers}"),
            (closed, "the client closed with 1000", "the client did not close cleanly"),
        )
        return [(good, done if good else failed) for good, done, failed in steps]


def _show(
    screen: Screen,
    *,
    version: ProtocolVersion,
    adapter: str,
    encoding: Encoding,
    compression: Compression,
) -> bool:
    """Run the demo; return whether it succeeded. Raises `LocalProtocolError` if invalid."""
    config = configured(
        token=_TOKEN,
        version=version,
        intents=Intents.GUILD_MESSAGES if version.intents else None,
        encoding=encoding,
        compression=compression,
    )
    demo_run = _Demo(screen, config)
    try:
        ADAPTERS[adapter](demo_run.run, screen.output)
        steps = demo_run.steps()
    except TimeoutError:
        steps = [(False, f"it took more than {SECONDS:.0f} seconds"), *demo_run.steps()]
    failures = [text for good, text in steps if not good]
    how = f"version {version.number}, {adapter}, {encoding.value}, compression {compression.value}"
    result = f"failed: {'; '.join(failures)}" if failures else f"success: {how}"
    screen.verdict(result, good=not failures, steps=steps)
    return not failures


def demo(
    version: ApiVersionOption = 10,
    encoding: EncodingOption = Encoding.JSON.value,
    compression: CompressionOption = Compression.NONE.value,
    adapter: Annotated[
        str,
        typer.Option(
            metavar="ADAPTER", help="asyncio or trio.", autocompletion=lambda: list(ADAPTERS)
        ),
    ] = "asyncio",
    as_json: JsonOption = False,
) -> None:
    """Show a client against the bundled server: identify, drop, resume, close.

    Ends in under ten seconds, with 0 on success.

    \b
    Example:
      gateway-proto demo --api-version 3 --compression payload --adapter trio
    """
    if adapter not in ADAPTERS:
        known = ", ".join(ADAPTERS)
        fail(f"invalid --adapter {adapter!r}: use one of {known}", status=MISUSED)
    try:
        screen = Screen(as_json=as_json)
        good = _show(
            screen,
            version=version_of(version),
            adapter=adapter,
            encoding=chosen("--encoding", encoding, Encoding),
            compression=chosen("--compression", compression, Compression),
        )
    except OSError as error:
        fail(str(error.strerror or error))
    screen.output.drain()
    screen.output.check()
    if not good:
        raise typer.Exit(1)
