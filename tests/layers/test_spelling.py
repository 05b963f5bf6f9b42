"""payload ↔ command: what one role writes the other reads as an equal value."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proto import (
    DIALECTS,
    Activity,
    Heartbeat,
    Identify,
    LocalProtocolError,
    Properties,
    Raw,
    RequestChannelInfo,
    RequestGuildMembers,
    RequestSoundboardSounds,
    Resume,
    UpdatePresence,
    UpdateVoiceState,
    VoiceServerPing,
)
from gateway_proto._layers.spelling import read, spell

V3, V10 = DIALECTS[3], DIALECTS[10]
IDS = st.integers(0, 2**63).map(str)
WORDS = st.text(max_size=10)
NAMES = st.text(min_size=1, max_size=10)

_ACTIVITIES = st.builds(Activity, NAMES, st.integers(0, 5), st.none() | WORDS, st.none() | WORDS)
_PRESENCES = st.builds(
    UpdatePresence,
    st.lists(_ACTIVITIES, max_size=3),
    st.none() | st.integers(0, 2**50),
    status=st.sampled_from(["online", "dnd", "idle", "invisible", "offline"]),
    afk=st.booleans(),
)
_BOTH = [
    st.builds(Heartbeat, st.none() | st.integers(0, 2**50) | WORDS),
    st.builds(UpdateVoiceState, IDS, st.none() | IDS, st.booleans(), st.booleans()),
    st.builds(Raw, st.integers(50, 99), st.none() | st.booleans() | WORDS),
]
_COMMANDS_10 = st.one_of(
    *_BOTH,
    _PRESENCES,
    st.builds(
        Identify,
        token=WORDS,
        properties=st.builds(Properties, WORDS, WORDS, WORDS),
        intents=st.integers(0, 2**26),
        compress=st.booleans(),
        large_threshold=st.integers(50, 250),
        shard=st.none() | st.tuples(st.integers(0, 9), st.integers(0, 9)),
        presence=st.none() | _PRESENCES,
    ),
    st.builds(Resume, session_id=WORDS, seq=st.integers(0, 2**50), token=st.none() | WORDS),
    st.builds(RequestGuildMembers, IDS, NAMES, st.integers(1, 100)),
    st.builds(
        RequestGuildMembers,
        IDS,
        user_ids=st.lists(IDS, min_size=1, max_size=3),
        presences=st.booleans(),
        nonce=st.none() | st.text("aé", max_size=16),
    ),
    st.builds(RequestSoundboardSounds, st.lists(IDS, min_size=1, max_size=3)),
    st.builds(RequestChannelInfo, IDS, st.lists(WORDS, min_size=1, max_size=3)),
)
_COMMANDS_3 = st.one_of(
    *_BOTH,
    st.builds(
        UpdatePresence,
        st.lists(st.builds(Activity, NAMES), max_size=1),
        st.none() | st.integers(0, 2**50),
    ),
    st.builds(
        Identify,
        token=WORDS,
        properties=st.builds(Properties, WORDS, WORDS, WORDS, WORDS, WORDS),
        compress=st.booleans(),
        large_threshold=st.integers(50, 250),
    ),
    st.builds(Resume, session_id=WORDS, seq=st.integers(0, 2**50)),
    st.builds(VoiceServerPing),
    st.builds(
        RequestGuildMembers, IDS | st.lists(IDS, min_size=1, max_size=3), WORDS, st.integers(0, 100)
    ),
    st.builds(UpdateVoiceState, st.none(), st.none()),
)


@given(_COMMANDS_10)
def test_version_10_reads_what_it_writes(command: Any) -> None:
    op, d = spell(command, V10)

    assert read(op, msgspec.json.encode(d), V10) == command


@given(_COMMANDS_3)
def test_version_3_reads_what_it_writes(command: Any) -> None:
    op, d = spell(command, V3)

    assert read(op, msgspec.json.encode(d), V3) == command


@pytest.mark.parametrize(
    ("command", "version", "says"),
    [
        (VoiceServerPing(), 10, "version 10 has no VoiceServerPing"),
        (RequestSoundboardSounds(["1"]), 3, "version 3 has no RequestSoundboardSounds"),
        (RequestChannelInfo("1", ["status"]), 3, "version 3 has no RequestChannelInfo"),
        (Identify(token="t"), 10, "needs intents"),
        (
            Identify(token="t", intents=0, large_threshold=49),
            10,
            "large_threshold is 49: it must be an integer from 50 to 250",
        ),
        (
            Identify(token="t", large_threshold=251),
            3,
            "is 251: it must be an integer from 50 to 250",
        ),
        (RequestGuildMembers(["1", "2"]), 10, "one guild a members request"),
        (RequestGuildMembers("1", user_ids=["2"]), 3, "no user_ids, presences or nonce"),
        (RequestGuildMembers("1", presences=True), 3, "no user_ids, presences or nonce"),
        (RequestGuildMembers("1", nonce="n"), 3, "no user_ids, presences or nonce"),
        ("text", 10, "is not a command"),
    ],
)
def test_what_a_version_does_not_have_is_refused_with_what_it_has(
    command: Any, version: int, says: str
) -> None:
    with pytest.raises(LocalProtocolError, match=says):
        spell(command, DIALECTS[version])


def test_ids_are_written_as_text_whatever_they_were_given_as() -> None:
    assert spell(RequestGuildMembers(5, user_ids=[6]), V10)[1] == {
        "guild_id": "5",
        "user_ids": ("6",),
    }
    assert spell(UpdateVoiceState(5, 6), V3)[1]["channel_id"] == "6"


def test_a_members_request_names_presences_and_nonce_only_where_they_are_asked_for() -> None:
    assert spell(RequestGuildMembers("1", "q", 5), V10)[1] == {
        "guild_id": "1",
        "query": "q",
        "limit": 5,
    }
    d = spell(RequestGuildMembers("1", presences=True, nonce="n"), V10)[1]
    assert (d["presences"], d["nonce"]) == (True, "n")


@pytest.mark.parametrize(
    ("command", "version"),
    [
        (VoiceServerPing(), 3),
        (RequestGuildMembers(["1", "2"], "q", 5), 3),
        (RequestGuildMembers("1", user_ids=["5", "6"]), 10),
        (RequestSoundboardSounds(["1"]), 10),
        (RequestChannelInfo("1", ["status"]), 10),
    ],
)
def test_each_command_is_read_as_it_was_written(command: Any, version: int) -> None:
    op, d = spell(command, DIALECTS[version])

    assert read(op, msgspec.json.encode(d), DIALECTS[version]) == command


# ----- what real clients send -----


def _read(op: int, d: Any, version: int = 10) -> Any:
    return read(op, msgspec.json.encode(d), DIALECTS[version])


@pytest.mark.parametrize("d", ["x", "zlib-stream", 1, None])
def test_compress_that_is_no_boolean_is_false(d: Any) -> None:
    assert not _read(2, {"token": "t", "compress": d}).compress


def test_property_names_may_have_a_dollar_sign_or_none_in_any_version() -> None:
    for version in DIALECTS:
        for prefix in ("", "$"):
            d = {"token": "t", "properties": {f"{prefix}os": "linux", f"{prefix}browser": None}}
            assert _read(2, d, version).properties.os == "linux"


def test_a_presence_with_nulls_and_a_game_is_understood() -> None:
    d = {"since": 1.0, "activities": None, "status": None, "afk": None, "game": {"name": "x"}}

    assert _read(3, d) == UpdatePresence([Activity("x")], 1, status="online")
    assert _read(3, {"game": {"name": None}}) == UpdatePresence()


@pytest.mark.parametrize(
    ("idle_since", "since"), [(None, None), (5, 5), ("anything", 0), (True, True)]
)
def test_in_version_3_anything_but_null_is_idle(idle_since: Any, since: Any) -> None:
    presence = _read(3, {"game": {"name": None}, "idle_since": idle_since}, 3)

    assert presence == UpdatePresence((), since)
    assert presence.status == ("online" if idle_since is None else "idle")


def test_a_single_user_id_and_integer_ids_are_understood() -> None:
    request = _read(8, {"guild_id": 5, "user_ids": 6, "query": None, "limit": None})

    assert request == RequestGuildMembers("5", user_ids=["6"])


def test_a_heartbeat_may_be_a_float() -> None:
    assert _read(1, 5.0) == Heartbeat(5)


@pytest.mark.parametrize(
    ("op", "d"),
    [
        (2, None),
        (2, {}),
        (2, {"token": 5}),
        (6, {"session_id": "x"}),
        (1, {}),
        (3, 5),
        (8, {}),
        (31, {}),
        (43, {"guild_id": "1"}),
    ],
)
def test_a_field_of_no_use_is_an_error(op: int, d: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        _read(op, d)


def test_an_op_that_clients_do_not_send_is_raw() -> None:
    assert _read(5, None) == Raw(5, None)
    assert _read(5, None, 3) == VoiceServerPing()
    assert _read(99, [1]) == Raw(99, [1])
