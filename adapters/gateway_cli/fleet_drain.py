"""The command `fleet drain`: ask a member to give its shards away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from gateway_cli.fleet_options import BotOption, StoreOption, opened_store, run_with_store
from gateway_cli.fleet_view import FleetView, MemberRow, find_generation, read_members
from gateway_cli.options import JsonOption, finite
from gateway_cli.show import Screen
from gateway_proto import LocalProtocolError

if TYPE_CHECKING:
    from gateway_fleet import FeedStore

__all__ = ["fleet_drain"]

_LOOK_SECONDS = 0.2


def fleet_drain(
    member: Annotated[str, typer.Argument(metavar="MEMBER", help="As fleet status names it.")],
    store: StoreOption,
    bot: BotOption = None,
    seconds: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="How long to wait until its shards are given away; 0: not at all.",
            min=0,
            max=3600,
            callback=finite,
        ),
    ] = 60.0,
    as_json: JsonOption = False,
) -> None:
    """Ask a member to drain: it gives its shards to the other members, and ends.

    It reads the request with its next heartbeat, and keeps draining if this command is ended. A
    member that is the last one closes its shards, so that the next one resumes them.

    \b
    Example:
      gateway-proto fleet drain web-1 --store redis://127.0.0.1
    """
    screen, engine = Screen(as_json=as_json), opened_store(store)
    run_with_store(screen, lambda: _drain(screen, engine, bot, member, seconds))


async def _drain(
    screen: Screen, store: FeedStore, bot: str | None, member: str, seconds: float
) -> None:
    from gateway_fleet._drains import ask_to_drain

    loop = asyncio.get_running_loop()
    async with store:
        found, scope, generation = await find_generation(store, bot)
        view = FleetView(found, generation, seconds)
        table = await read_members(scope)
        view.observe(table, now=loop.time())
        row = _row(view, member)
        if row is None:
            known = ", ".join(row.member for row in view.members()) or "none"
            raise LocalProtocolError(f"invalid member {member!r:.140}: the fleet has {known}")
        await ask_to_drain(scope, member)
        screen.line("fleet", f"asked {member} to drain {len(row.shards)} shards")
        end = loop.time() + seconds
        while row is not None and (row.shards or not row.draining):
            if loop.time() >= end:
                if seconds:
                    raise LocalProtocolError(_reason(row.heartbeat_age, member, seconds))
                return
            await asyncio.sleep(_LOOK_SECONDS)
            view.observe(await read_members(scope), now=loop.time())
            row = _row(view, member)
    screen.line("fleet", f"{member} is drained")


def _row(view: FleetView, member: str) -> MemberRow | None:
    return next((row for row in view.members() if row.member == member), None)


def _reason(age: float | None, member: str, seconds: float) -> str:
    if age is None:
        return f"{member} wrote no heartbeat in {seconds:g} s: it is dead, or cut off"
    return f"{member} is not drained after {seconds:g} s: it still drains"
