"""Bot on trio with a second task; reads GATEWAY_TOKEN and GATEWAY_API."""

import contextlib
import itertools
import os

import trio

from gateway_proto import Activity, Config, Dispatch, GaveUpError, Intents, UpdatePresence
from gateway_trio import Gateway, open_gateway

GAMES = ("chess", "go", "shogi")


async def play(gateway: Gateway) -> None:
    """Show another game every minute; `send` waits for a connection."""
    with contextlib.suppress(GaveUpError):  # `main` returns the reason
        for game in itertools.cycle(GAMES):
            await gateway.send(UpdatePresence([Activity(game)]))
            await trio.sleep(60)


async def main() -> str | None:
    """Run until a message says stop; return the reason if the client gave up."""
    config = Config(
        token=os.environ["GATEWAY_TOKEN"],
        intents=Intents.GUILD_MESSAGES | Intents.MESSAGE_CONTENT,
        api_url=os.environ.get("GATEWAY_API"),  # None is Discord itself
    )
    # An error in a nursery would arrive in a group, so look at `gave_up` instead.
    opening = open_gateway(config, raise_on_give_up=False)
    async with opening as gateway, trio.open_nursery() as nursery:
        nursery.start_soon(play, gateway)
        async for event in gateway:
            if isinstance(event, Dispatch) and event.name == "MESSAGE_CREATE":
                print(event.data["content"], flush=True)
                if event.data["content"] == "!stop":
                    await gateway.stop(keep_session=False)
                    break
        nursery.cancel_scope.cancel()
    return gateway.gave_up


raise SystemExit(trio.run(main))  # None, status 0: it was stopped
