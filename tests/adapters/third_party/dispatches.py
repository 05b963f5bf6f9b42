"""Dispatches of nearly every type with complete data, for `World.with_guild(members=3)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway_proto.server import World
from gateway_proto.server.interactions import (
    button_press,
    chat_message,
    modal_submit,
    slash_command,
)
from gateway_proto.server.world_objects import (
    complete_emoji,
    complete_presence,
    complete_sound,
    complete_sticker,
    make_channel,
    make_guild,
    make_member,
    make_message,
    make_role,
    make_thread,
    make_user,
    make_voice_state,
)

__all__ = ["dispatches"]

Data = dict[str, Any]
Build = Callable[[World], Any]

_TIME = "2026-01-01T00:00:00.000000+00:00"
_LATER = "2027-01-01T00:00:00.000000+00:00"
_GUILD = {"guild_id": "1000"}
_OF_CREATE = (
    *("joined_at", "large", "unavailable", "member_count", "voice_states", "members", "channels"),
    *("threads", "presences", "stage_instances", "guild_scheduled_events", "soundboard_sounds"),
)
"""Fields that only GUILD_CREATE has.

<https://docs.discord.com/developers/events/gateway-events#guild-create>
"""


def dispatches() -> list[tuple[str, Build]]:
    """Return names, and functions that return the data in the world after the previous ones."""
    return [
        *_of_guilds(),
        *_of_messages(),
        *_of_threads_and_voice(),
        *_of_plans_and_rules(),
        *_of_applications(),
        *_removals(),
    ]


def _of(**fields: Any) -> Data:
    return {**_GUILD, **fields}


def _fixed(name: str, data: Any) -> tuple[str, Build]:
    return name, lambda world: data


def _member(world: World) -> Data:
    guild = world.guild("1000")
    assert guild is not None
    found: Data = next(m for m in guild["members"] if m["user"]["id"] == "4000")
    return found


def _guild_update(world: World) -> Data:
    guild = world.guild("1000")
    assert guild is not None
    return {key: value for key, value in guild.items() if key not in _OF_CREATE} | {"name": "New"}


_NEWCOMER = make_user(9000, "newcomer")
_NEW_MEMBER = {**make_member(_NEWCOMER), **_GUILD}
_ROLE = make_role(5000, "mods")
_CHANNEL = make_channel(2100, "fresh", guild_id="1000")


def _of_guilds() -> list[tuple[str, Build]]:
    kinds = {2101: 2, 2102: 13, 2103: 4, 2104: 15, 2105: 5}
    others = [make_channel(id_, "c", type_=type_, guild_id="1000") for id_, type_ in kinds.items()]
    emoji = complete_emoji({"id": "8000", "name": "em"})
    sticker = complete_sticker({"id": "8100", "name": "st"}, "1000")
    sound = complete_sound({"sound_id": "8200", "name": "so"}, "1000")
    game = {"name": "g", "type": 0, "created_at": 1767225600000}
    busy = complete_presence({"user": {"id": "4000"}, "status": "dnd"}, "1000")
    return [
        ("GUILD_UPDATE", _guild_update),
        *(_fixed("CHANNEL_CREATE", channel) for channel in (_CHANNEL, *others)),
        _fixed("CHANNEL_UPDATE", {**_CHANNEL, "name": "f2"}),
        _fixed(
            "CHANNEL_PINS_UPDATE", {**_GUILD, "channel_id": "2000", "last_pin_timestamp": _TIME}
        ),
        _fixed("GUILD_ROLE_CREATE", {**_GUILD, "role": _ROLE}),
        _fixed("GUILD_ROLE_UPDATE", {**_GUILD, "role": {**_ROLE, "name": "m2"}}),
        _fixed("GUILD_MEMBER_ADD", _NEW_MEMBER),
        _fixed("GUILD_MEMBER_UPDATE", {**_NEW_MEMBER, "nick": "nn", "roles": ["5000"]}),
        _fixed("PRESENCE_UPDATE", {**busy, "activities": [game]}),
        _fixed("GUILD_EMOJIS_UPDATE", {**_GUILD, "emojis": [emoji]}),
        _fixed("GUILD_STICKERS_UPDATE", {**_GUILD, "stickers": [sticker]}),
        _fixed("GUILD_SOUNDBOARD_SOUND_CREATE", sound),
        _fixed("GUILD_SOUNDBOARD_SOUND_UPDATE", sound),
        _fixed("GUILD_SOUNDBOARD_SOUNDS_UPDATE", {**_GUILD, "soundboard_sounds": [sound]}),
        _fixed("GUILD_SOUNDBOARD_SOUND_DELETE", {**_GUILD, "sound_id": "8200"}),
        _fixed("GUILD_BAN_ADD", {**_GUILD, "user": _NEWCOMER}),
        _fixed("GUILD_BAN_REMOVE", {**_GUILD, "user": _NEWCOMER}),
        _fixed("GUILD_INTEGRATIONS_UPDATE", _GUILD),
        _fixed("WEBHOOKS_UPDATE", {**_GUILD, "channel_id": "2000"}),
        ("USER_UPDATE", lambda world: world.user),
    ]


def _of_messages() -> list[tuple[str, Build]]:
    at = {**_GUILD, "channel_id": "2000", "message_id": "7000"}
    emoji = {"id": None, "name": "\U0001f525"}
    reaction = {**at, "user_id": "4000", "emoji": emoji, "burst": False, "type": 0}
    row = {"type": 1, "components": [{"type": 2, "style": 1, "custom_id": "b", "label": "B"}]}
    poll = {
        "question": {"text": "q"},
        "answers": [{"answer_id": 1, "poll_media": {"text": "a"}}],
        "expiry": _TIME,
        "allow_multiselect": False,
        "layout_type": 1,
        "results": {"is_finalized": False, "answer_counts": []},
    }
    vote = {**at, "message_id": "7002", "user_id": "4000", "answer_id": 1}
    embed = {"type": "rich", "title": "x"}

    def added(world: World) -> Data:
        return {**reaction, "member": _member(world), "message_author_id": "4000"}

    def edited(world: World) -> Data:
        return {**chat_message(world, "hi2", id_="7000"), "edited_timestamp": _TIME}

    def typing(world: World) -> Data:
        start = {"channel_id": "2000", "user_id": "4000", "timestamp": 1767225600}
        return {**_GUILD, **start, "member": _member(world)}

    def direct(world: World) -> Data:
        return make_message(7100, "dm", channel_id="2200", author=_member(world)["user"])

    return [
        ("MESSAGE_CREATE", lambda world: chat_message(world, "hi", id_="7000")),
        (
            "MESSAGE_CREATE",
            lambda world: chat_message(world, "x", id_="7001", embeds=[embed], components=[row]),
        ),
        ("MESSAGE_CREATE", lambda world: chat_message(world, "", id_="7002", poll=poll)),
        ("MESSAGE_CREATE", direct),
        ("MESSAGE_UPDATE", edited),
        ("MESSAGE_REACTION_ADD", added),
        _fixed("MESSAGE_REACTION_REMOVE", reaction),
        _fixed("MESSAGE_REACTION_REMOVE_EMOJI", {**at, "emoji": emoji}),
        _fixed("MESSAGE_REACTION_REMOVE_ALL", at),
        _fixed("MESSAGE_POLL_VOTE_ADD", vote),
        _fixed("MESSAGE_POLL_VOTE_REMOVE", vote),
        ("TYPING_START", typing),
    ]


_THREAD = make_thread(6000, "thread", guild_id="1000", parent_id="2000", owner_id="4000")


def _of_threads_and_voice() -> list[tuple[str, Build]]:
    joined = {"id": "6000", "user_id": "4000", "join_timestamp": _TIME, "flags": 1}
    effect = {"channel_id": "2001", "user_id": "4000", "emoji": None}

    def members(world: World) -> Data:
        added = {**joined, "member": _member(world), "presence": None}
        data = {"id": "6000", "member_count": 2, "added_members": [added]}
        return {**_GUILD, **data, "removed_member_ids": []}

    def own(world: World) -> Data:
        return {**_GUILD, **joined, "user_id": world.user["id"]}

    def synchronized(world: World) -> Data:
        mine = {**joined, "user_id": world.user["id"]}
        return {**_GUILD, "channel_ids": ["2000"], "threads": [_THREAD], "members": [mine]}

    def voice(channel_id: str | None) -> Build:
        state = make_voice_state("4000", channel_id, "1000")
        return lambda world: {**state, "member": _member(world)}

    return [
        _fixed("THREAD_CREATE", {**_THREAD, "newly_created": True}),
        _fixed("THREAD_UPDATE", {**_THREAD, "name": "t2"}),
        ("THREAD_MEMBERS_UPDATE", members),
        ("THREAD_MEMBER_UPDATE", own),
        ("THREAD_LIST_SYNC", synchronized),
        ("VOICE_STATE_UPDATE", voice("2001")),
        ("VOICE_STATE_UPDATE", voice(None)),
        _fixed("VOICE_CHANNEL_STATUS_UPDATE", {**_GUILD, "id": "2001", "status": "s"}),
        _fixed(
            "VOICE_CHANNEL_EFFECT_SEND",
            {**_GUILD, **effect, "animation_type": 0, "animation_id": 1},
        ),
    ]


def _of_plans_and_rules() -> list[tuple[str, Build]]:
    stage = _of(
        id="8300",
        channel_id="2102",
        topic="t",
        privacy_level=2,
        discoverable_disabled=False,
        guild_scheduled_event_id=None,
    )
    event = _of(
        id="8400",
        channel_id="2001",
        creator_id="4000",
        name="ev",
        description=None,
        scheduled_start_time=_LATER,
        scheduled_end_time=None,
        privacy_level=2,
        status=1,
        entity_type=2,
        entity_id=None,
        entity_metadata=None,
        user_count=0,
        image=None,
        recurrence_rule=None,
    )
    guest = {**_GUILD, "guild_scheduled_event_id": "8400", "user_id": "4000"}
    action = {"type": 1, "metadata": {}}
    words = {"keyword_filter": ["x"], "regex_patterns": [], "allow_list": []}
    rule = _of(
        id="8500",
        name="r",
        creator_id="4000",
        event_type=1,
        trigger_type=1,
        trigger_metadata=words,
        actions=[action],
        enabled=True,
        exempt_roles=[],
        exempt_channels=[],
    )
    execution = _of(
        action=action,
        rule_id="8500",
        rule_trigger_type=1,
        user_id="4000",
        channel_id="2000",
        message_id="7000",
        content="x",
        matched_keyword="x",
        matched_content="x",
    )
    audit = {"id": "8700", "user_id": "4000", "target_id": "9000", "action_type": 22}
    return [
        _fixed("STAGE_INSTANCE_CREATE", stage),
        _fixed("STAGE_INSTANCE_UPDATE", {**stage, "topic": "u"}),
        _fixed("STAGE_INSTANCE_DELETE", stage),
        _fixed("GUILD_SCHEDULED_EVENT_CREATE", event),
        _fixed("GUILD_SCHEDULED_EVENT_UPDATE", {**event, "name": "e2"}),
        _fixed("GUILD_SCHEDULED_EVENT_USER_ADD", guest),
        _fixed("GUILD_SCHEDULED_EVENT_USER_REMOVE", guest),
        _fixed("GUILD_SCHEDULED_EVENT_DELETE", event),
        _fixed("AUTO_MODERATION_RULE_CREATE", rule),
        _fixed("AUTO_MODERATION_RULE_UPDATE", rule),
        _fixed("AUTO_MODERATION_ACTION_EXECUTION", execution),
        _fixed("AUTO_MODERATION_RULE_DELETE", rule),
        _fixed("GUILD_AUDIT_LOG_ENTRY_CREATE", {**_GUILD, **audit, "changes": []}),
    ]


def _of_applications() -> list[tuple[str, Build]]:
    partial = {"id": "1", "name": "a", "icon": None, "description": "", "summary": ""}
    integration = _of(
        id="8600",
        name="i",
        type="discord",
        enabled=True,
        scopes=[],
        account={"id": "1", "name": "a"},
        application=partial,
    )
    subscription: Data = {
        "id": "8900",
        "user_id": "4000",
        "sku_ids": ["1"],
        "entitlement_ids": ["8800"],
        "renewal_sku_ids": None,
        "current_period_start": _TIME,
        "current_period_end": _TIME,
        "status": 0,
        "canceled_at": None,
    }

    def entitlement(world: World) -> Data:
        times = {"starts_at": _TIME, "ends_at": None, "consumed": False, "deleted": False}
        ids = {"id": "8800", "sku_id": "1", "user_id": "4000", "type": 8}
        return {**_GUILD, **ids, **times, "application_id": world.application["id"]}

    def invite(world: World) -> Data:
        limits = {"max_age": 0, "max_uses": 0, "temporary": False, "uses": 0, "expires_at": None}
        place = {"channel_id": "2000", "code": "abc", "created_at": _TIME, "type": 0, "flags": 0}
        return {**_GUILD, **place, **limits, "inviter": _member(world)["user"]}

    def slash(world: World) -> Data:
        return slash_command(world, "ping", id_="7300", token="t1")

    def press(world: World) -> Data:
        return button_press(world, "b", message_id="7001", id_="7301", token="t2")

    def select(world: World) -> Data:
        ids = {"message_id": "7001", "id_": "7303", "token": "t4"}
        return button_press(world, "b", values=["q"], **ids)  # type: ignore[arg-type]

    return [
        _fixed("INTEGRATION_CREATE", integration),
        _fixed("INTEGRATION_UPDATE", integration),
        _fixed("INTEGRATION_DELETE", {**_GUILD, "id": "8600"}),
        ("ENTITLEMENT_CREATE", entitlement),
        ("ENTITLEMENT_UPDATE", entitlement),
        ("ENTITLEMENT_DELETE", entitlement),
        _fixed("SUBSCRIPTION_CREATE", subscription),
        ("INVITE_CREATE", invite),
        _fixed("INVITE_DELETE", {**_GUILD, "channel_id": "2000", "code": "abc"}),
        ("INTERACTION_CREATE", slash),
        ("INTERACTION_CREATE", press),
        (
            "INTERACTION_CREATE",
            lambda world: modal_submit(world, "m", {"a": "b"}, id_="7302", token="t3"),
        ),
        ("INTERACTION_CREATE", select),
    ]


def _removals() -> list[tuple[str, Build]]:
    thread = {**_GUILD, "id": "6000", "parent_id": "2000", "type": 11}

    def second(world: World) -> Data:
        return make_guild(1002, "Second", user=world.user)

    return [
        _fixed("MESSAGE_DELETE", {**_GUILD, "id": "7000", "channel_id": "2000"}),
        _fixed("MESSAGE_DELETE_BULK", {**_GUILD, "ids": ["7001"], "channel_id": "2000"}),
        _fixed("THREAD_DELETE", thread),
        _fixed("GUILD_MEMBER_REMOVE", {**_GUILD, "user": _NEWCOMER}),
        _fixed("GUILD_ROLE_DELETE", {**_GUILD, "role_id": "5000"}),
        _fixed("CHANNEL_DELETE", _CHANNEL),
        ("GUILD_CREATE", second),
        _fixed("GUILD_DELETE", {"id": "1002", "unavailable": True}),
        ("GUILD_CREATE", second),
        _fixed("GUILD_DELETE", {"id": "1002"}),
    ]
