"""Members of a fleet on a reference store, driven by hand or by virtual time."""

from __future__ import annotations

from collections.abc import Callable

from gateway_proto.fleet import (
    ClaimShard,
    LogHead,
    MemberRecord,
    Membership,
    MembershipEvent,
    ReferenceStore,
    ReleaseRequested,
    StoreRequest,
    WriteMember,
    claim_record,
)


def claim(store: ReferenceStore, member: str, request: ClaimShard) -> LogHead | None:
    """Append a claim after the present head; None if it is refused."""
    record = claim_record(member, request.id, head := store.head(request.shard))
    position = store.append(request.shard, head, record)
    return None if position is None else record.head(position)


class Member:
    """A membership whose requests the store answers at once, and which releases when asked to."""

    def __init__(self, name: str, store: ReferenceStore, count: int, *, now: float) -> None:
        self.name = name
        self.store = store
        self.membership = Membership(name, count, ttl=3.0, interval=0.5, now=now)
        self.events: list[MembershipEvent] = []
        self.is_stopped = False
        self.is_cut = False

    @property
    def owned(self) -> set[int]:
        return set(self.membership.owned)

    def run(self, now: float) -> None:
        """Handle due timers, and everything that follows at once."""
        if self.is_stopped:
            return
        for shard, head in list(self.membership.owned.items()):
            if not self.is_cut and self.store.head(shard).id != head.id:
                self.membership.fenced(shard, head.id, now=now)  # as its next append finds out
        self.membership.handle_timer(now=now)
        for request in self.membership.store_requests():
            self.answer(request, now)
        for event in self.membership.events():
            self.events.append(event)
            if isinstance(event, ReleaseRequested):
                self.membership.released(event.shard, event.claim, now=now)

    def answer(self, request: StoreRequest, now: float) -> None:
        if isinstance(request, WriteMember):
            table = None if self.is_cut else self.store.heartbeat(request.member, request.value)
            self.membership.heartbeat_done(table, now=now)
        else:
            head = None if self.is_cut else claim(self.store, self.name, request)
            self.membership.claim_done(request, head, now=now)

    def take(self, kind: type[MembershipEvent]) -> list[MembershipEvent]:
        """Return the events of a kind so far, and forget all events."""
        events, self.events = self.events, []
        return [event for event in events if isinstance(event, kind)]


class Members:
    """Members with a common clock, which runs in steps of 0.05 seconds."""

    def __init__(self, *names: str, count: int, now: float = 100.0) -> None:
        self.store = ReferenceStore()
        self.count = count
        self.now = now
        self.members: dict[str, Member] = {}
        for name in names:
            self.start(name)

    def __getitem__(self, name: str) -> Member:
        return self.members[name]

    def start(self, name: str) -> Member:
        member = Member(name, self.store, self.count, now=self.now)
        self.members[name] = member
        return member

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> float:
        """Run for some time, or until a condition holds; return the seconds."""
        start = self.now
        while self.now < start + seconds and not until():
            self.now = round(self.now + 0.05, 6)
            for member in self.members.values():
                member.run(self.now)
        return self.now - start

    @property
    def owners(self) -> dict[int, list[str]]:
        return {
            shard: [name for name, member in self.members.items() if shard in member.owned]
            for shard in range(self.count)
        }

    @property
    def is_settled(self) -> bool:
        """Whether each shard has one owner."""
        return all(len(names) == 1 for names in self.owners.values())

    def record(self, name: str) -> MemberRecord:
        """Return the record of a member in the table."""
        return MemberRecord.from_bytes(self.store.heartbeat("-", b"")[name])
