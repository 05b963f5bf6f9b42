"""The command `fleet status`: who owns which shard, and how it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from gateway_cli.fleet_change import read_change
from gateway_cli.fleet_options import BotOption, StoreOption, opened_store, run_with_store
from gateway_cli.fleet_tables import fleet_tables
from gateway_cli.fleet_view import FleetView, find_generation, read_members
from gateway_cli.options import JsonOption
from gateway_cli.show import Screen, console

if TYPE_CHECKING:
    from gateway_fleet import FeedStore, Store

__all__ = ["fleet_status"]

_LOOK_SECONDS = 0.1
"""Time between two looks for heartbeats."""


def fleet_status(
    store: StoreOption,
    bot: BotOption = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again each second, until Ctrl-C.")
    ] = False,
    seconds: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="A member is alive if a heartbeat was seen within SECONDS.",
            min=0,
            max=3600,
        ),
    ] = 4.0,
    as_json: JsonOption = False,
) -> None:
    """Show the members and the shards of a fleet, and change nothing.

    By default a member writes a heartbeat every two seconds. It waits until it has seen one of
    each, for --seconds at most.

    \b
    Example:
      gateway-proto fleet status --store redis://127.0.0.1 --watch
    """
    screen, engine = Screen(as_json=as_json), opened_store(store)
    run_with_store(screen, lambda: _status(screen, engine, bot, watch=watch, seconds=seconds))


async def _status(
    screen: Screen, store: FeedStore, bot: str | None, *, watch: bool, seconds: float
) -> None:
    loop = asyncio.get_running_loop()
    async with store:
        view, scope = await _first(store, bot, seconds)
        if watch:
            await _watch(screen, store, bot, view, seconds)
            return
        end = loop.time() + seconds
        while not view.has_seen_all and loop.time() < end:
            await asyncio.sleep(_LOOK_SECONDS)
            view.observe(await read_members(scope), now=loop.time())
        view.change = await read_change(store, view.bot)
    _print(screen, view)


async def _watch(
    screen: Screen, store: FeedStore, bot: str | None, view: FleetView, seconds: float
) -> None:
    """Show the tables again each second, until cancelled."""
    from gateway_fleet import StoreError

    note = ""

    async def look() -> None:
        nonlocal view, note
        await asyncio.sleep(1.0)
        try:
            found, scope, generation = await find_generation(store, bot)
            if generation != view.generation:
                view = FleetView(found, generation, seconds)
            view.observe(await read_members(scope), now=asyncio.get_running_loop().time())
            view.change = await read_change(store, found)
            note = ""
        except StoreError as error:
            note = f"the store failed: {error}"

    if not screen.has_footer:
        while True:
            await look()
            if note and screen.as_json:
                screen.object({"error": note})
            else:
                _print(screen, view, note=note)
    with screen.footer(lambda: fleet_tables(view, note=note)) as update:
        while True:
            await look()
            update()


async def _first(store: FeedStore, bot: str | None, seconds: float) -> tuple[FleetView, Store]:
    found, scope, generation = await find_generation(store, bot)
    view = FleetView(found, generation, seconds)
    view.observe(await read_members(scope), now=asyncio.get_running_loop().time())
    return view, scope


def _print(screen: Screen, view: FleetView, *, note: str = "") -> None:
    if screen.as_json:
        screen.object(view.as_json())
    else:
        console(screen.output).print(fleet_tables(view, note=note))
