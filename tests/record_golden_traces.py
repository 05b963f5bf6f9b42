"""Record golden traces: one conversation for each version, encoding and compression.

To record all again after an intended change: `PYTHONPATH=. python tests/record_golden_traces.py`.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

from gateway_proto import (
    Activity,
    Compression,
    Config,
    Encoding,
    HeartbeatRequested,
    ReconnectRequested,
    UpdatePresence,
    UpdateVoiceState,
)
from gateway_proto.server import ServerConfig, World
from gateway_proto.testing import Link
from gateway_proto.trace import Recorder
from gateway_proto.versions import VERSIONS, protocol_version

FOLDER = pathlib.Path(__file__).with_name("traces")
TOKEN = "trace-token"


def forms() -> Iterator[tuple[int, str, str]]:
    """Return all valid combinations, in order."""
    for version, spoken in VERSIONS.items():
        for encoding in Encoding:
            for compression in Compression:
                payload_etf = (encoding, compression) == (Encoding.ETF, Compression.PAYLOAD)
                if compression in spoken.compressions and not payload_etf:
                    yield version, encoding.value, compression.value


def path(form: tuple[int, str, str]) -> pathlib.Path:
    """Return the path of the trace of a combination."""
    return FOLDER / "v{}-{}-{}.jsonl".format(*form)


def read(form: tuple[int, str, str]) -> list[str]:
    """Return the recorded lines."""
    return path(form).read_text().splitlines()


def record(form: tuple[int, str, str]) -> list[str]:
    """Run a conversation of the two roles and record it."""
    version, encoding, compression = form
    spoken = protocol_version(version)
    lines: list[str] = []
    recorder = Recorder(lines.append)
    client = recorder.client(
        Config(
            token=TOKEN,
            version=version,
            encoding=encoding,
            compression=compression,
            intents=641 if spoken.intents else None,
            api_url="http://localhost/api",
            # Otherwise each version of the package would record another trace.
            user_agent="DiscordBot (gateway_proto, 0.1)",
            unix_offset=1_450_996_513.618,
            random=lambda: 0.25,
        )
    )
    server = recorder.server(
        ServerConfig(
            world=World([{"id": "41771983423143937", "name": "traces", "topic": "x" * 1100}]),
            random=lambda: 0.25,
        )
    )
    link = Link(client, server, delay=0.05)

    def dispatch() -> None:
        d = {"id": "162701077035089920", "content": "h\N{LATIN SMALL LETTER E WITH ACUTE}llo"}
        server.dispatch("MESSAGE_CREATE", {**d, "long": "lorem ipsum " * 120}, now=link.now)

    link.run(1)
    link.client.send(UpdatePresence([Activity("chess")], 1_450_996_513_618))
    link.client.send(UpdateVoiceState("41771983423143937", "127121515262115840"))
    dispatch()
    link.run(15)
    link.server.send(HeartbeatRequested())
    link.run(45)
    link.cut()
    dispatch()
    link.run(5)
    link.server.send(ReconnectRequested("ws://localhost" if spoken.reconnect_has_url else None))
    link.run(60)
    client.stop(keep_session=False, now=link.now)
    link.run(1)
    recorder.close()
    return lines


if __name__ == "__main__":
    for form in forms():
        path(form).write_text("".join(record(form)))
        print(path(form))
