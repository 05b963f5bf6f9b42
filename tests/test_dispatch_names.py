"""Names of dispatches, with their versions and intents."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from gateway_proto import Client, Config, Dispatch, DispatchName, Intents, LocalProtocolError
from gateway_proto.client.requests import RESPONSE_DISPATCHES
from gateway_proto.intents import INTENT_EVENTS
from gateway_proto.server import Server
from gateway_proto.testing import Link
from gateway_proto.versions import VERSIONS


def test_every_dispatch_name_equals_its_value() -> None:
    assert len(DispatchName) == 85
    assert all(name.value == name.name for name in DispatchName)


def test_dispatch_names_include_all_events_of_intents() -> None:
    assert frozenset().union(*INTENT_EVENTS.values()) <= set(DispatchName)


def test_dispatch_names_include_all_that_the_client_reads() -> None:
    assert {"READY", "RESUMED", *RESPONSE_DISPATCHES} <= set(DispatchName)


def test_dispatch_name_has_its_intents() -> None:
    assert DispatchName.MESSAGE_CREATE.intents == Intents.GUILD_MESSAGES | Intents.DIRECT_MESSAGES
    assert DispatchName.INTERACTION_CREATE.intents == Intents(0)


@pytest.mark.parametrize(
    ("name", "versions"),
    [
        ("MESSAGE_ACK", range(3, 6)),
        ("MESSAGE_CREATE", range(3, 11)),
        ("INTERACTION_CREATE", range(6, 11)),
        ("THREAD_LIST_SYNC", range(9, 11)),
        ("CHANNEL_INFO", range(10, 11)),
    ],
)
def test_dispatch_name_has_its_versions(name: str, versions: range) -> None:
    assert DispatchName(name).versions == versions


@pytest.mark.parametrize("version", [version for version in VERSIONS if version >= 6])
def test_unsupported_dispatch_name_excludes_the_version(version: int) -> None:
    unknown = {name for name in DispatchName if not VERSIONS[version].has_dispatch(name)}

    assert not any(version in name.versions for name in unknown)
    assert bool(unknown) == (version < 9)


def test_dispatch_name_is_interchangeable_with_str() -> None:
    dispatch = Dispatch.of(DispatchName.TYPING_START, {})

    assert type(dispatch.name) is str
    assert dispatch == Dispatch.of("TYPING_START", {})
    assert {"TYPING_START": 1}[DispatchName.TYPING_START] == 1
    match dispatch:
        case Dispatch(name=DispatchName.TYPING_START):
            pass
        case _:
            pytest.fail("the name was not matched")


@pytest.mark.parametrize("encoding", ["json", "etf"])
def test_server_dispatches_by_dispatch_name(encoding: str) -> None:
    if encoding == "etf":
        pytest.importorskip("erlpack")
    server = Server()
    config = Config(token="t", intents=0, api_url="http://localhost/api", encoding=encoding)
    link = Link(Client(config), server)
    link.run(1)

    server.dispatch(DispatchName.USER_UPDATE, {"id": "1"}, now=link.now)
    link.run(1)

    assert "USER_UPDATE" in [e.name for e in link.client.events if isinstance(e, Dispatch)]


def test_import_does_not_load_dispatch_names() -> None:
    code = "import sys, gateway_proto; print('gateway_proto.dispatches' in sys.modules)"

    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


@pytest.mark.parametrize("name", [None, 5, b"READY", ["READY"], {}])
def test_name_that_is_no_text_is_rejected(name: Any) -> None:
    with pytest.raises(LocalProtocolError, match=r"name .*: expected a str"):
        Dispatch.of(name, {})
    with pytest.raises(LocalProtocolError, match=r"name .*: expected a str"):
        Intents.for_event(name)


@pytest.mark.parametrize("sequence", [True, -1, 2**63, "1", 1.0])
def test_invalid_sequence_of_a_dispatch_is_rejected(sequence: Any) -> None:
    with pytest.raises(LocalProtocolError, match=r"sequence .*: expected an int from 0 to"):
        Dispatch.of("READY", {}, sequence)
