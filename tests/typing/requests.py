"""The type of an awaited request is that of its answer, on both event loops."""

from typing import assert_type

import gateway_asyncio
import gateway_trio
from gateway_proto import (
    ChannelInfo,
    GuildMembers,
    Request,
    RequestChannelInfo,
    RequestGuildMembers,
    RequestSoundboardSounds,
    SoundboardSounds,
)


async def ask(
    gateway: gateway_asyncio.Gateway | gateway_trio.Gateway,
    members: RequestGuildMembers,
    sounds: RequestSoundboardSounds,
    channels: RequestChannelInfo,
    either: Request,
) -> None:
    assert_type(await gateway.request(members), GuildMembers)
    assert_type(await gateway.request(sounds, timeout=1), SoundboardSounds)
    assert_type(await gateway.request(channels), ChannelInfo)
    assert_type(await gateway.request(either), GuildMembers | SoundboardSounds | ChannelInfo)
