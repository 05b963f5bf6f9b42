"""The command `fleet reshard`: change the number of shards of a running fleet."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from gateway_cli.fleet_change import read_change
from gateway_cli.fleet_options import BotOption, StoreOption, opened_store, run_with_store
from gateway_cli.fleet_view import find_generation
from gateway_cli.options import JsonOption, finite
from gateway_cli.show import MISUSED, Screen, fail
from gateway_proto import LocalProtocolError
from gateway_proto.fleet.member_record import MAX_SHARDS

if TYPE_CHECKING:
    from gateway_fleet import FeedStore

__all__ = ["fleet_reshard"]

_LOOK_SECONDS = 0.2


def fleet_reshard(
    store: StoreOption,
    count: Annotated[
        int | None,
        typer.Argument(metavar="COUNT", help="The new number of shards.", min=1, max=MAX_SHARDS),
    ] = None,
    bot: BotOption = None,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Cancel the change, while it is preparing.")
    ] = False,
    seconds: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="How long to wait for the end of the change.",
            min=0,
            max=604800,
            callback=finite,
        ),
    ] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Change the number of shards: the members run the new ones next to the present ones.

    The new shards identify as slots allow. Once all are READY, the members and the consumers change
    over to them, and the present ones close. The change goes on if this command ends, or a member
    dies; fleet status shows it.

    \b
    Example:
      gateway-proto fleet reshard 32 --store redis://127.0.0.1 --seconds 600
    """
    if (count is None) is not cancel:
        problem = (
            "missing COUNT: pass it"
            if count is None
            else "COUNT and --cancel exclude each other: pass COUNT"
        )
        fail(f"{problem}, or --cancel", status=MISUSED)
    screen, engine = Screen(as_json=as_json), opened_store(store)
    run_with_store(screen, lambda: _reshard(screen, engine, bot, count, seconds))


async def _reshard(
    screen: Screen, store: FeedStore, bot: str | None, count: int | None, seconds: float
) -> None:
    from gateway_fleet import cancel_reshard, reshard

    async with store:
        found, _, present = await find_generation(store, bot)
        if count is None:
            await cancel_reshard(store, bot=found)
            screen.line("fleet", f"cancelled: the fleet stays at {present.count} shards")
            return
        await reshard(store, count, bot=found)
        screen.line("fleet", f"announced a change from {present.count} to {count} shards")
        if seconds:
            await _wait(screen, store, found, seconds)
            _, _, present = await find_generation(store, found)
            if present.count != count:
                raise LocalProtocolError(f"the change to {count} shards was cancelled")
            screen.line("fleet", f"the fleet has {count} shards")


async def _wait(screen: Screen, store: FeedStore, bot: str, seconds: float) -> None:
    """Wait for the end of the change, and print how far it is."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    shown = ""
    while (change := await read_change(store, bot)) is not None:
        if change.text != shown:
            shown = change.text
            screen.line("fleet", shown)
        if loop.time() >= end:
            raise LocalProtocolError(f"not complete after {seconds:g} s, it goes on: {shown}")
        await asyncio.sleep(_LOOK_SECONDS)
