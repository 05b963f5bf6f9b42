"""Verbs of a store over dictionaries: the definition of what each engine must do.

The verbs are pure and synchronous. `gateway_fleet.MemoryStore` and the simulation use them, and the
tests of the engines compare with them.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from gateway_proto._checks import COUNT, POSITIVE, WORD, as_now, optional, shown
from gateway_proto.errors import LocalProtocolError
from gateway_proto.fleet.mailboxes import Mailboxes
from gateway_proto.fleet.records import BYTES, HEAD, RECORD, LogHead, LogRecord

__all__ = ["ReferenceStore"]

_VALUE = optional(BYTES)


class _Log:
    """Log of one shard. Its head remains when its oldest records are dropped."""

    __slots__ = ("head", "records", "size")

    def __init__(self) -> None:
        self.head = LogHead()
        self.records: deque[tuple[int, LogRecord]] = deque()
        self.size = 0


class _Tables:
    """Everything under one prefix."""

    __slots__ = ("logs", "mailboxes", "members", "values")

    def __init__(self) -> None:
        self.mailboxes = Mailboxes()
        self.members: dict[str, bytes] = {}
        self.logs: dict[int, _Log] = {}
        self.values: dict[str, tuple[bytes, int]] = {}


class ReferenceStore:
    """Members table, logs, values and mailboxes of a fleet, in memory.

    Each log keeps its newest records: at most `max_records`, whose events have at most `max_bytes`,
    and at least one.
    """

    def __init__(self, *, max_records: int = 10_000, max_bytes: int = 64 * 2**20) -> None:
        POSITIVE.named("max_records", max_records)
        POSITIVE.named("max_bytes", max_bytes)
        self._bounds = max_records, max_bytes
        self._prefix = ""
        self._scopes: dict[str, _Tables] = {"": _Tables()}

    def scoped(self, prefix: str) -> ReferenceStore:
        """Return a store on the same data whose keys are under `prefix`, added to the present."""
        WORD.named("prefix", prefix)
        records, size = self._bounds
        scope = ReferenceStore(max_records=records, max_bytes=size)
        scope._prefix = f"{self._prefix}:{prefix}"
        scope._scopes = self._scopes
        return scope

    def heartbeat(self, member: str, value: bytes) -> dict[str, bytes]:
        """Write the value of a member, and return those of all members. Empty removes it."""
        WORD.named("member", member)
        BYTES.named("value", value)
        members = self._tables.members
        if value:
            members[member] = value
        else:
            members.pop(member, None)
        return dict(members)

    def head(self, shard: int) -> LogHead:
        """Return the head of a shard's log."""
        return self._log(shard).head

    def append(self, shard: int, after: LogHead, record: LogRecord) -> int | None:
        """Append a record if the head still has the position and the id of `after`.

        Returns the record's position, or None if the append is refused.
        """
        HEAD.named("after", after)
        RECORD.named("record", record)
        log = self._log(shard)
        if (log.head.position, log.head.id) != (after.position, after.id):
            return None
        position = after.position + 1
        log.head = record.head(position)
        log.records.append((position, record))
        log.size += record.size()
        max_records, max_bytes = self._bounds
        while len(log.records) > 1 and (len(log.records) > max_records or log.size > max_bytes):
            log.size -= log.records.popleft()[1].size()
        return position

    def records(self, shard: int, after: int) -> list[tuple[int, LogRecord]]:
        """Return the kept records that follow the position `after`, with their positions."""
        COUNT.named("after", after)
        records = self._log(shard).records
        # Positions have no gap, and a log may have thousands of records.
        return list(islice(records, max(0, after + 1 - records[0][0]), None)) if records else []

    def compare_and_set(
        self, key: str, value: bytes | None, revision: int
    ) -> tuple[bytes | None, int]:
        """Write a value if the key still has the revision; return its value and revision.

        A `value` of None only reads. A key that was never written has None and revision 0. The
        write was done if the returned value is the written one, so writers add what is unique.
        """
        WORD.named("key", key)
        _VALUE.named("value", value)
        COUNT.named("revision", revision)
        values = self._tables.values
        present = values.get(key)
        if value is not None and revision == (0 if present is None else present[1]):
            present = values[key] = value, revision + 1
        return (None, 0) if present is None else present

    def post(self, mailbox: str, message: bytes, ttl: float, *, now: float) -> bool:
        """Put a message into a mailbox for `ttl` seconds; return False if the mailbox is full.

        Messages of one mailbox must differ. Raises `LocalProtocolError` for one that is too large.
        """
        return self._tables.mailboxes.post(mailbox, message, ttl, as_now(now))

    def unpost(self, mailbox: str, message: bytes, *, now: float) -> bool:
        """Remove a message; return whether it was there: then nobody has taken it, or will."""
        return self._tables.mailboxes.unpost(mailbox, message, as_now(now))

    def take(self, mailbox: str, *, now: float) -> list[bytes]:
        """Remove and return the messages of a mailbox, in order; each is returned at most once."""
        return self._tables.mailboxes.take(mailbox, as_now(now))

    def rewind(self, shard: int, position: int) -> None:
        """Drop the records after a position, and the head, as a failover that loses a tail.

        Raises `LocalProtocolError` unless the record at the position is kept, or it is 0 and all
        records are.
        """
        log = self._log(shard)
        kept = {0: LogHead()} if not log.records or log.records[0][0] == 1 else {}
        kept.update((number, record.head(number)) for number, record in log.records)
        if position not in kept:
            raise LocalProtocolError(
                f"invalid position {shown(position)}: expected that of a record that is kept"
            )
        log.head = kept[position]
        while log.records and log.records[-1][0] > position:
            log.size -= log.records.pop()[1].size()

    def forget(self) -> None:
        """Remove everything under the prefix."""
        for prefix in [*self._scopes]:
            if prefix == self._prefix or prefix.startswith(f"{self._prefix}:"):
                del self._scopes[prefix]

    @property
    def _tables(self) -> _Tables:
        return self._scopes.setdefault(self._prefix, _Tables())

    def _log(self, shard: int) -> _Log:
        COUNT.named("shard", shard)
        return self._tables.logs.setdefault(shard, _Log())
