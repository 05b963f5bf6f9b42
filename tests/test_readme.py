"""The README: each block of code runs, and its commands exist."""

from __future__ import annotations

import asyncio
import os
import pathlib
import re
import socket
import subprocess
import sys
from typing import Any

import pytest

from gateway_proto import Client, Config, Dispatch, Intents
from gateway_proto.server import ServerConfig
from gateway_pytest import RunningGateway
from tests.markdown_blocks import ROOT, blocks, check_commands

PAGE = ROOT / "README.md"


def _block(text: str) -> str:
    """Return the only Python block that contains a text."""
    (code,) = (block.code for block in blocks(PAGE, "python") if text in block.code)
    return code


def _names(text: str) -> dict[str, Any]:
    """Run the only Python block that contains a text, and return its names."""
    names: dict[str, Any] = {}
    exec(compile(_block(text), "README.md", "exec"), names)
    return names


def _on_trio(code: str) -> str:
    """Apply the README's sentence about trio."""
    code = code.replace("import asyncio\n", "import trio\n")
    code = code.replace("from gateway_asyncio", "from gateway_trio")
    return code.replace("asyncio.run(main())", "trio.run(main)")


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_bot_prints_messages_and_why_it_gave_up(loop: str, tmp_path: pathlib.Path) -> None:
    code = _block("GATEWAY_TOKEN")
    with RunningGateway() as gateway:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", _on_trio(code) if loop == "trio" else code],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": f"{ROOT}:{ROOT / 'adapters'}",
                "GATEWAY_TOKEN": gateway.token,
                "GATEWAY_API": f"{gateway.api_url}/v10",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            gateway.wait_until_ready(timeout=30)
            gateway.say("hello")
            gateway.close(4004, "Authentication failed.")
            out, errors = process.communicate(timeout=30)
        finally:
            process.kill()
            process.communicate()

    assert out == "hello\n"
    assert errors.startswith("gave up: ")
    assert errors.count("\n") == 1
    assert "4004" in errors
    assert process.returncode == 1


def test_reply_is_posted_to_the_channel_of_a_message() -> None:
    httpx = pytest.importorskip("httpx")
    reply = _names("import httpx")["reply"]
    config = {"intents": Intents.GUILD_MESSAGES | Intents.MESSAGE_CONTENT}

    async def main(gateway: RunningGateway) -> None:
        from gateway_asyncio import open_gateway

        url, token = f"{gateway.api_url}/v10", gateway.token
        headers = {"Authorization": f"Bot {token}"}
        async with (
            httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as http,
            open_gateway(Config(token=token, api_url=url, **config)) as bot,
        ):
            await gateway.aio.wait_until_ready()
            gateway.say("!ping")
            async for event in bot:
                if isinstance(event, Dispatch) and event.name == "MESSAGE_CREATE":
                    await reply(http, event, "pong")
                    break

    with RunningGateway() as gateway:
        asyncio.run(main(gateway))

        request = gateway.wait_for_request("POST", "/channels/{channel_id}/messages")
    assert request.status == 200
    assert request.json["content"] == "pong"
    assert "message_id" in request.json["message_reference"]


def test_driver_runs_a_connection_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    names = _names("def drive")
    drive, now = names["drive"], names["now"]
    with RunningGateway(ServerConfig(heartbeat_interval=100)) as gateway:
        config = Config(token=gateway.token, intents=0, gateway_url=gateway.url)
        client = Client(config)

        class Socket(socket.socket):
            """Ends the connection after READY."""

            def recv(self, *args: Any) -> bytes:
                if client.session is not None:
                    client.stop(keep_session=False, now=now())
                return super().recv(*args)

        dial = client.next_dial()
        assert dial is not None
        with Socket() as sock:
            sock.connect((dial.host, dial.port))
            drive(client.dial_succeeded(now=now()), sock)

    events = re.findall(r"^(\w+)\(", capsys.readouterr().out, re.M)
    assert events[:2] == ["Opened", "Hello"]
    assert "Ready" in events
    assert events[-1] == "Closed"


def test_driver_ends_when_the_transport_does(capsys: pytest.CaptureFixture[str]) -> None:
    names = _names("def drive")
    client = Client(Config(token="t", intents=0, gateway_url="ws://localhost"))
    connection = client.dial_succeeded(now=names["now"]())
    ours, theirs = socket.socketpair()
    with ours:
        theirs.close()

        names["drive"](connection, ours)

    assert capsys.readouterr().out.startswith("Closed(")


def test_unit_test_of_the_readme_passes() -> None:
    names = _names("testing import Link")

    (test,) = (value for name, value in names.items() if name.startswith("test_"))
    test()


def test_commands_of_the_readme_exist() -> None:
    assert check_commands(PAGE) == 2  # serve and demo
