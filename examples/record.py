"""Record a trace and replay it; reads GATEWAY_TOKEN and GATEWAY_API.

The token is not in the trace. `gateway-proto timeline trace.jsonl` draws it.
"""

import asyncio
import os

from gateway_asyncio import open_gateway
from gateway_proto import Config, Dispatch, GaveUpError, Intents
from gateway_proto.trace import Recorder, replay

PATH = os.environ.get("TRACE_FILE", "trace.jsonl")


async def main() -> None:
    config = Config(
        token=os.environ["GATEWAY_TOKEN"],
        intents=Intents.GUILD_MESSAGES | Intents.MESSAGE_CONTENT,
        api_url=os.environ.get("GATEWAY_API"),  # None is Discord itself
    )
    with open(PATH, "w", encoding="utf-8") as file:
        recorder = Recorder(file.write)
        try:
            async with open_gateway(config, recorder=recorder) as gateway:
                async for event in gateway:
                    if isinstance(event, Dispatch) and event.name == "MESSAGE_CREATE":
                        print(event.data["content"], flush=True)
                        if event.data["content"] == "!stop":
                            break
        finally:
            recorder.close()  # writes the lines that waited


reason = None
try:
    asyncio.run(main())
except GaveUpError as error:
    reason = error.reason  # the trace has what came before
with open(PATH, encoding="utf-8") as lines:
    differences = [difference for step in replay(lines) for difference in step.differences]
print(f"{len(differences)} differences")
raise SystemExit(reason)  # None, status 0: it was stopped
