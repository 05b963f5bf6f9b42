"""a free port → the main job, shown: a real client against the embedded server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import attrs
import typer

import gateway_asyncio
from gateway_cli.options import CompressOption, DialectOption, EncodingOption, JsonOption
from gateway_cli.show import Screen, describe, fail
from gateway_proto import (
    DIALECTS,
    Activity,
    By,
    Closed,
    Compression,
    Config,
    Dispatch,
    Encoding,
    GatewayFound,
    HeartbeatSent,
    Intents,
    LocalProtocolError,
    Ready,
    Resumed,
    Server,
    ServerConfig,
    ServerEvent,
    UpdatePresence,
    World,
    dialect,
)

__all__ = ["demo"]

_SECONDS = 9.0
_HEARTBEAT_MILLISECONDS = 800
_TOKEN = "demo-token"
_PRESENCE = UpdatePresence([Activity("chess")])


def _on_asyncio(story: _Demo) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(_SECONDS):
            await story.run(gateway_asyncio)

    asyncio.run(bounded())


def _on_trio(story: _Demo) -> None:
    # They take a tenth of the time to start, which all other commands would pay for.
    import trio

    import gateway_trio

    async def bounded() -> None:
        try:
            with trio.fail_after(_SECONDS):
                await story.run(gateway_trio)
        except trio.TooSlowError:
            raise TimeoutError from None

    trio.run(bounded)


_ADAPTERS: dict[str, Callable[[_Demo], None]] = {"asyncio": _on_asyncio, "trio": _on_trio}


class _Demo:
    """The client's side of the story, event by event."""

    def __init__(self, screen: Screen, config: Config) -> None:
        self._screen = screen
        self._config = config
        self._heartbeats = 0
        self._at_server: list[ServerEvent] = []
        self.looked_up = False
        self.numbers: list[int] = []
        self.resumed = False

    def on_server_event(self, _connection: object, event: ServerEvent) -> None:
        """Show what the server received."""
        self._at_server.append(event)
        self._screen.line("server", describe(event))

    async def run(self, adapter: Any) -> None:
        """From the lookup to the clean close."""
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
                    self._screen.line("client", describe(event))
                    await self._answer(event, gateway, serving)
                    if isinstance(event, Resumed):
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
                    self._screen.line("demo", "the wire is cut; two messages come meanwhile")
                    serving.drop()
                    self._dispatch(serving, 3, 4)
            case Resumed():
                self.resumed = True
            case Dispatch(name="MESSAGE_CREATE"):
                self.numbers.append(event.data["number"])

    def _dispatch(self, serving: Any, *numbers: int) -> None:
        for number in numbers:
            serving.dispatch("MESSAGE_CREATE", {"number": number, "content": "hello"})

    def failures(self) -> list[str]:
        """What did not happen as it should."""
        ends = [event for event in self._at_server if isinstance(event, Closed)]
        expected = {
            "the lookup named no gateway": self.looked_up,
            "the server did not receive the status": _PRESENCE in self._at_server,
            "the session was not resumed": self.resumed,
            f"the messages were {self.numbers}, not [1, 2, 3, 4]": self.numbers == [1, 2, 3, 4],
            "the client did not close cleanly": bool(ends)
            and (ends[-1].code, ends[-1].by) == (1000, By.PEER),
        }
        return [failure for failure, happened in expected.items() if not happened]


def _show(
    screen: Screen, *, version: int, adapter: str, encoding: Encoding, compression: Compression
) -> bool:
    """Show it; returns whether all went well. Raises `LocalProtocolError` for nonsense."""
    config = Config(
        token=_TOKEN,
        dialect=version,
        intents=Intents.GUILD_MESSAGES if DIALECTS[version].intents else None,
        encoding=encoding,
        compression=compression,
    )
    story = _Demo(screen, config)
    try:
        _ADAPTERS[adapter](story)
        failures = story.failures()
    except TimeoutError:
        failures = [f"it took more than {_SECONDS:.0f} seconds", *story.failures()]
    if failures:
        screen.verdict(f"failed: {'; '.join(failures)}", good=False)
        return False
    screen.verdict(
        f"all went well: version {version} on {adapter}, {encoding.value}, compression "
        f"{compression.value}, cut in the middle, resumed, 4 of 4 messages in order",
        good=True,
    )
    return True


def demo(
    version: DialectOption = 10,
    encoding: EncodingOption = Encoding.JSON,
    compress: CompressOption = Compression.NONE,
    adapter: Annotated[
        str, typer.Option(help="asyncio or trio.", autocompletion=lambda: list(_ADAPTERS))
    ] = "asyncio",
    as_json: JsonOption = False,
) -> None:
    """Show a real client against the embedded server: identify, cut, resume, close.

    Ends in under ten seconds, with 0 if all went well.

    \b
    Example:
      gateway-proto demo --dialect 3 --compress payload --adapter trio
    """
    if adapter not in _ADAPTERS:
        fail(f"there is no adapter {adapter!r}: use one of {', '.join(_ADAPTERS)}")
    try:
        good = _show(
            Screen(as_json=as_json),
            version=dialect(version).version,
            adapter=adapter,
            encoding=encoding,
            compression=compress,
        )
    except (LocalProtocolError, OSError) as error:
        fail(str(error))
    if not good:
        raise typer.Exit(1)
