"""Intents: bits, privileged ones, and the events of each."""

from __future__ import annotations

import pytest

from gateway_proto import Intents, LocalProtocolError
from gateway_proto.intents import INTENT_EVENTS


def test_intent_bits_equal_the_documentation() -> None:
    bits = {intent.name: intent.value.bit_length() - 1 for intent in Intents}

    assert bits["GUILDS"] == 0
    assert bits["GUILD_MESSAGE_TYPING"] == 11
    assert bits["MESSAGE_CONTENT"] == 15
    assert bits["GUILD_SCHEDULED_EVENTS"] == 16
    assert bits["AUTO_MODERATION_EXECUTION"] == 21
    assert bits["DIRECT_MESSAGE_POLLS"] == 25
    assert len(bits) == 21


def test_three_intents_are_privileged() -> None:
    everything = Intents((1 << 26) - 1)

    assert everything.privileged == (
        Intents.GUILD_MEMBERS | Intents.GUILD_PRESENCES | Intents.MESSAGE_CONTENT
    )
    assert Intents.GUILDS.privileged == Intents(0)


def test_all_intents_have_no_undefined_bits() -> None:
    assert sorted(Intents.all()) == sorted(Intents)
    assert Intents.all().value == sum(intent.value for intent in Intents)


def test_unprivileged_intents_are_the_others() -> None:
    assert Intents.unprivileged().privileged == Intents(0)
    assert Intents.unprivileged() | Intents.all().privileged == Intents.all()


def test_every_intent_has_its_events() -> None:
    assert INTENT_EVENTS.keys() == set(Intents)
    assert Intents.GUILD_MESSAGES.events == {
        "MESSAGE_CREATE",
        "MESSAGE_UPDATE",
        "MESSAGE_DELETE",
        "MESSAGE_DELETE_BULK",
    }
    assert Intents.MESSAGE_CONTENT.events == frozenset()
    assert "THREAD_MEMBERS_UPDATE" in (Intents.GUILDS | Intents.GUILD_MEMBERS).events
    assert Intents(0).events == frozenset()


def test_event_has_its_intents() -> None:
    assert Intents.for_event("MESSAGE_CREATE") == (Intents.GUILD_MESSAGES | Intents.DIRECT_MESSAGES)
    assert Intents.for_event("READY") == Intents(0)


@pytest.mark.parametrize(
    ("text", "intents"),
    [
        ("guilds, GUILD_MESSAGES", Intents.GUILDS | Intents.GUILD_MESSAGES),
        (" 513 ", Intents(513)),
        ("", Intents(0)),
    ],
)
def test_intents_are_parsed_from_names_or_a_number(text: str, intents: Intents) -> None:
    assert Intents.parse(text) == intents


def test_unknown_intent_is_rejected_with_the_known_names() -> None:
    with pytest.raises(
        LocalProtocolError, match=r"invalid intent 'guild': expected a number or .*guilds"
    ):
        Intents.parse("guild")
