"""GATEWAY_TOKEN, GATEWAY_API, SESSION_FILE → messages on the screen: asyncio, and restarts.

The session is stored behind each event that was handled. So a process may be killed at any
instant: the next one resumes, and is told again what this one had not finished.
"""

import asyncio
import os
import pathlib

from gateway_asyncio import open_gateway
from gateway_proto import Config, Dispatch, GatewayProtoError, Intents, Session

FILE = pathlib.Path(os.environ.get("SESSION_FILE", "session.json"))
CONFIG = Config(
    token=os.environ["GATEWAY_TOKEN"],
    intents=Intents.GUILD_MESSAGES | Intents.MESSAGE_CONTENT,
    api_url=os.environ.get("GATEWAY_API"),  # None is Discord itself
)


def load() -> Session | None:
    """What was stored, where it is there and fits."""
    try:
        # If it is of another token, shard or version, it is ignored: see `SessionIgnored`.
        return Session.from_json(FILE.read_bytes())
    except (FileNotFoundError, GatewayProtoError):
        return None


def store(session: Session | None) -> None:
    """All or nothing: a file that is half written would cost the session."""
    if session is None:
        FILE.unlink(missing_ok=True)
    else:
        new = FILE.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(session.to_json())
        os.replace(new, FILE)


async def main() -> None:
    async with open_gateway(CONFIG, session=load()) as gateway:
        async for event in gateway:
            store(gateway.session)  # as of the event before this one, which is handled
            if isinstance(event, Dispatch) and event.name == "MESSAGE_CREATE":
                print(event.data["content"], flush=True)
                if event.data["content"] == "!stop":
                    gateway.handled()  # this one too
                    break
    store(gateway.session)  # leaving has closed in a way that the session survives


asyncio.run(main())
