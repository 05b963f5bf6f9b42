"""Bot on asyncio that resumes after restarts; reads GATEWAY_TOKEN, GATEWAY_API, SESSION_FILE.

The session is stored after each handled event. After a crash the next process resumes, and
receives only the unfinished event again.
"""

import asyncio
import os
import pathlib

from gateway_asyncio import open_gateway
from gateway_proto import Config, Dispatch, GatewayProtoError, GaveUpError, Intents, Session

FILE = pathlib.Path(os.environ.get("SESSION_FILE", "session.json"))
CONFIG = Config(
    token=os.environ["GATEWAY_TOKEN"],
    intents=Intents.GUILD_MESSAGES | Intents.MESSAGE_CONTENT,
    api_url=os.environ.get("GATEWAY_API"),  # None is Discord itself
)


def load() -> Session | None:
    """Return the stored session, if it exists and is valid."""
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
            is_last = False
            if isinstance(event, Dispatch) and event.name == "MESSAGE_CREATE":
                print(event.data["content"], flush=True)
                is_last = event.data["content"] == "!stop"
            gateway.handled()  # it is finished: the session is as of this event
            store(gateway.session)
            if is_last:
                break  # leaving closes in a way that the session survives


try:
    asyncio.run(main())
except GaveUpError as error:  # such as a rejected token; a lost connection is dialled again
    raise SystemExit(error.reason) from None
