"""Bot on trio with a second task; reads GATEWAY_TOKEN and GATEWAY_API."""

import os

import trio

from gateway_proto import Activity, Config, Dispatch, Intents, UpdatePresence
from gateway_trio import Gateway, open_gateway

GAMES = ("chess", "go", "shogi")


async def play(gateway: Gateway) -> None:
    """Show another game every minute; `send` waits for a connection."""
    while True:
        for game in GAMES:
            await gateway.send(UpdatePresence([Activity(game)]))
            await trio.sleep(60)


async def main() -> None:
    config = Config(
        token=os.environ["GATEWAY_TOKEN"],
        intents=Intents.GUILD_MESSAGES | Intents.MESSAGE_CONTENT,
        api_url=os.environ.get("GATEWAY_API"),  # None is Discord itself
    )
    async with open_gateway(config) as gateway, trio.open_nursery() as nursery:
        nursery.start_soon(play, gateway)
        async for event in gateway:
            if isinstance(event, Dispatch) and event.name == "MESSAGE_CREATE":
                print(event.data["content"], flush=True)
                if event.data["content"] == "!stop":
                    await gateway.stop(keep_session=False)
                    break
        nursery.cancel_scope.cancel()


trio.run(main)
