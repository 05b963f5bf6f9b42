"""Two processes of one bot that share identify slots; reads GATEWAY_TOKEN, GATEWAY_API, SHARDS.

Each process runs every second shard. The parent grants the slots, over a loopback socket: a process
sends the key of a shard, and receives a line when that key is free. Only one shard of a key may
identify in five seconds, in whichever process it is.
"""

import asyncio
import contextlib
import os
import sys
from collections import defaultdict

import gateway_proto as gp
from gateway_asyncio import Gateway, open_shards

PROCESSES = 2
SLOT_SECONDS = float(os.environ.get("SLOT_SECONDS", "5.25"))  # five, and a margin

free: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)


async def grant_slot(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    key = int(await reader.readline())
    with contextlib.suppress(asyncio.CancelledError):  # at the end of the program
        async with free[key]:
            writer.write(b"granted\n")
            if await reader.readline() != b"unused\n":  # a process that died may have used it
                await asyncio.sleep(SLOT_SECONDS)
    writer.close()


async def use_slot(gateway: Gateway, key: int, port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"%d\n" % key)
        if await reader.readline() == b"granted\n":
            # False: the connection was lost meanwhile, and the next one asks again.
            writer.write(b"used\n" if gateway.grant_identify() else b"unused\n")
            await writer.drain()
    finally:
        writer.close()


async def run_shards(number: int, port: int) -> None:
    count = int(os.environ["SHARDS"])
    config = gp.Config(
        token=os.environ["GATEWAY_TOKEN"],
        api_url=os.environ.get("GATEWAY_API"),
        intents=gp.Intents.GUILD_MESSAGES | gp.Intents.MESSAGE_CONTENT,
        wait_for_identify_slot=True,
    )
    waiting = set()
    async with open_shards(config, count=count, ids=range(number, count, PROCESSES)) as shards:
        async for shard_id, event in shards:  # None for the events of the lookup
            match event:
                case gp.IdentifySlotNeeded():
                    gateway = shards.gateways[event.shard_id]
                    task = asyncio.create_task(use_slot(gateway, event.key, port))
                    waiting.add(task)
                    task.add_done_callback(waiting.discard)
                case gp.Ready():
                    print(f"process {number}: shard {shard_id} is ready", flush=True)
                case gp.Dispatch(name="MESSAGE_CREATE"):
                    print(f"process {number}:", event.data["content"], flush=True)
                    if event.data["content"] == "!stop":
                        break


async def main() -> int:
    """Run the processes; return the highest exit status."""
    async with await asyncio.start_server(grant_slot, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        command = [sys.executable, *sys.orig_argv[1:]]
        started = [
            await asyncio.create_subprocess_exec(*command, str(number), str(port))
            for number in range(PROCESSES)
        ]
        return max([await process.wait() for process in started])


if len(sys.argv) == 1:
    raise SystemExit(asyncio.run(main()))
try:
    asyncio.run(run_shards(int(sys.argv[1]), int(sys.argv[2])))
except gp.GaveUpError as error:
    raise SystemExit(f"process {sys.argv[1]}: {error.reason}") from None
