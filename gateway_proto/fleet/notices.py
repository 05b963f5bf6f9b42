"""Notices: which members wait for the news of a heartbeat, and the message that they get.

A notice only saves time. A member that gets none finds the same in the members table, later.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway_proto.fleet.member_record import MemberRecord

__all__ = ["NOTICE_SECONDS", "is_notice", "notice", "who_waits"]

NOTICE_SECONDS = 2.0
"""Seconds for which a notice is kept for its member: later it knows the news from the table."""
_PREFIX = b"\xc1notice "  # no MessagePack begins with 0xc1, and other messages are that


def notice(member: str, number: int) -> bytes:
    """Return the message of a member for the mailbox of another; `number` differs each time."""
    return b"%b%d %b" % (_PREFIX, number, member.encode())


def is_notice(message: bytes) -> bool:
    """Whether a message of a member's mailbox is a notice."""
    return message.startswith(_PREFIX)


def who_waits(
    before: MemberRecord,
    written: MemberRecord,
    targets: Mapping[int, str],
    owners: Mapping[int, tuple[int, str]],
    sources: Mapping[int, str],
) -> set[str]:
    """Return the members that wait for what `written` has, and `before` had not.

    `targets` are the members that shards are assigned to, `owners` their owners, and `sources`
    those that had them before this member wanted them.
    """
    wanted = set(written.wants).difference(before.wants).intersection(owners)
    names = {owners[shard][1] for shard in wanted}
    # The owners of shards that move give the next ones away once these have arrived.
    acquired = written.owns.keys() - before.owns.keys()
    names.update(sources[shard] for shard in acquired.intersection(sources))
    given = before.owns.keys() - written.owns.keys() - owners.keys()
    if written.draining and not before.draining:
        given |= written.owns.keys()
    names.update(targets[shard] for shard in given if shard in targets)
    return names
