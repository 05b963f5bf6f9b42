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
    Intents,
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


# ----- what is refused before it is sent: field, value and limit -----

_ALL = Intents.GUILD_MEMBERS | Intents.GUILD_PRESENCES


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (Raw(-1), r"Raw\.op is -1: it must be an integer from 0 to 255"),
        (Raw(True), r"Raw\.op is True"),
        (Identify(token="t", intents=-1), r"Identify\.intents is -1"),
        (Identify(token="t", intents=2**53 + 1), r"Identify\.intents is 9007199254740993"),
        (UpdatePresence((), -1), r"UpdatePresence\.since is -1"),
        (UpdatePresence((), 1.5), r"UpdatePresence\.since is 1\.5"),  # type: ignore[arg-type]
        (UpdatePresence(status="away"), r"status is 'away': it must be one of online, dnd, idle"),
        (UpdatePresence([Activity("")]), r"Activity\.name is ''"),
        (UpdatePresence([Activity(5)]), r"Activity\.name is 5"),  # type: ignore[arg-type]
        (UpdatePresence([Activity("x", -1)]), r"Activity\.type is -1"),
        (UpdateVoiceState(None, None), r"UpdateVoiceState\.guild_id is None: it must be a snowfl"),
        (UpdateVoiceState("1", "general"), r"UpdateVoiceState\.channel_id is 'general'"),
        (UpdateVoiceState("\N{SUPERSCRIPT TWO}", None), r"guild_id is '²'"),
        (UpdateVoiceState("1" * 21, None), r"guild_id is '1{21}'"),
        (RequestGuildMembers("x"), r"RequestGuildMembers\.guild_id is 'x'"),
        (RequestGuildMembers("1", limit=-1), r"RequestGuildMembers\.limit is -1"),
        (RequestGuildMembers("1", "a"), r"limit is 0: it must be an integer from 1 to 100"),
        (RequestGuildMembers("1", "a", 101), r"limit is 101: it must be an integer from 1 to 100"),
        (RequestGuildMembers("1", "a", 5, ["2"]), r"user_ids is .*: give either them, or query"),
        (RequestGuildMembers("1", user_ids=[]), r"user_ids has 0 ids: it must have 1 to 100"),
        (RequestGuildMembers("1", user_ids=range(101)), r"user_ids has 101 ids"),
        (RequestGuildMembers("1", user_ids=["me"]), r"RequestGuildMembers\.user_ids is 'me'"),
        (RequestGuildMembers("1", nonce="é" * 17), r"nonce is .*: it has 34 bytes, more than 32"),
        (RequestGuildMembers("1", nonce="\ud800" * 11), r"it has 33 bytes, more than 32"),
        (RequestSoundboardSounds([]), r"guild_ids is \(\): it must have at least one"),
        (RequestSoundboardSounds(["x"]), r"RequestSoundboardSounds\.guild_ids is 'x'"),
        (RequestChannelInfo("x", ["status"]), r"RequestChannelInfo\.guild_id is 'x'"),
        (RequestChannelInfo("1", []), r"RequestChannelInfo\.fields is \(\)"),
    ],
)
def test_a_command_with_a_bad_field_is_refused_with_its_value_and_limit(
    command: Any, says: str
) -> None:
    """Rules 61 to 64."""
    with pytest.raises(LocalProtocolError, match=says):
        spell(command, V10, intents=_ALL)


@pytest.mark.parametrize(
    ("command", "intents", "says"),
    [
        (RequestGuildMembers("1"), 0, "all members needs the intent GUILD_MEMBERS"),
        (
            RequestGuildMembers("1", "a", 5, presences=True),
            0,
            "presences needs the intent GUILD_PR",
        ),
        (RequestGuildMembers("1", "a", 5), 0, None),
        (RequestGuildMembers("1", limit=5), 0, None),
        (RequestGuildMembers("1", user_ids=["1"] * 100), 0, None),
        (RequestGuildMembers("1", presences=True), _ALL, None),
        (RequestGuildMembers("1", presences=True), None, None),
        (RequestGuildMembers("1", nonce="x" * 32), _ALL, None),
    ],
)
def test_a_request_without_its_intent_is_refused(
    command: Any, intents: int | None, says: str | None
) -> None:
    """Rule 64; where there were no intents yet, all that there is comes."""
    if says is None:
        assert spell(command, V10, intents=intents)[0] == 8
    else:
        with pytest.raises(LocalProtocolError, match=says):
            spell(command, V10, intents=intents)


@pytest.mark.parametrize(
    ("presence", "version", "says"),
    [
        (UpdatePresence([Activity("a"), Activity("b")]), 3, "version 3 knows one, the game"),
        (UpdatePresence([Activity("a"), Activity("b")]), 7, "version 7 knows one, the game"),
        (UpdatePresence(status="dnd"), 3, "version 3 knows online, and idle with `since`"),
        (UpdatePresence(status="idle"), 5, "version 5 knows online, and idle with `since`"),
        (UpdatePresence((), 5, status="online"), 4, "version 4 knows online"),
    ],
)
def test_a_presence_that_a_version_cannot_say_is_refused(
    presence: UpdatePresence, version: int, says: str
) -> None:
    with pytest.raises(LocalProtocolError, match=says):
        spell(presence, DIALECTS[version])


def test_a_presence_has_all_of_its_fields_always() -> None:
    """Rule 63: one that is missing costs the connection."""
    assert spell(UpdatePresence(), V10)[1] == {
        "since": None,
        "activities": [],
        "status": "online",
        "afk": False,
    }


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
