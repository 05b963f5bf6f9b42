"""The command `fleet status`: who owns which shard, and how it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from gateway_cli.fleet_change import read_change
from gateway_cli.fleet_options import BotOption, StoreOption, opened_store, run_with_store
from gateway_cli.fleet_tables import fleet_tables
from gateway_cli.fleet_view import FleetView, find_generation, read_members
from gateway_cli.options import JsonOption, finite
from gateway_cli.show import Screen, console

if TYPE_CHECKING:
    from rich.table import Table

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
            callback=finite,
        ),
    ] = 4.0,
    every: Annotated[
        bool, typer.Option("--all", help="Show all shards, also if they do not fit the terminal.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the members and the shards of a fleet, and change nothing.

    By default a member writes a heartbeat every two seconds. It waits until it has seen one of
    each, for --seconds at most. If not all shards fit the terminal, it shows those that are not
    ready.

    \b
    Example:
      gateway-proto fleet status --store redis://127.0.0.1 --watch
    """
    screen, engine = Screen(as_json=as_json), opened_store(store)
    page = _Page(screen, every=every)
    run_with_store(screen, lambda: _status(page, engine, bot, watch=watch, seconds=seconds))


class _Page:
    """The screen, and what of a fleet is shown on it."""

    def __init__(self, screen: Screen, *, every: bool) -> None:
        self.screen = screen
        self._console = console(screen.output)
        self._every = every

    def tables(self, view: FleetView, note: str = "") -> Table:
        """Return what is shown, in the present size of the terminal."""
        width, height = self._console.size
        return fleet_tables(view, width=width, height=None if self._every else height, note=note)

    def print(self, view: FleetView, note: str = "") -> None:
        """Print it once."""
        if not self.screen.as_json:
            self._console.print(self.tables(view, note))
        elif note:
            self.screen.object({"error": note})
        else:
            self.screen.object(view.as_json())


async def _status(
    page: _Page, store: FeedStore, bot: str | None, *, watch: bool, seconds: float
) -> None:
    loop = asyncio.get_running_loop()
    async with store:
        view, scope = await _first(store, bot, seconds)
        if watch:
            await _watch(page, store, bot, view, seconds)
            return
        end = loop.time() + seconds
        while not view.has_seen_all and loop.time() < end:
            await asyncio.sleep(_LOOK_SECONDS)
            view.observe(await read_members(scope), now=loop.time())
        view.change = await read_change(store, view.bot)
    page.print(view)


async def _watch(
    page: _Page, store: FeedStore, bot: str | None, view: FleetView, seconds: float
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

    if not page.screen.has_footer:
        while True:
            await look()
            page.print(view, note)
    with page.screen.footer(lambda: page.tables(view, note)) as update:
        while True:
            await look()
            update()


async def _first(store: FeedStore, bot: str | None, seconds: float) -> tuple[FleetView, Store]:
    found, scope, generation = await find_generation(store, bot)
    view = FleetView(found, generation, seconds)
    view.observe(await read_members(scope), now=asyncio.get_running_loop().time())
    return view, scope
