"""Members of a fleet with a server, for tests of the commands that other processes send."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from gateway_fleet import (
    StoreError,
    open_fleet,
)
from gateway_proto import (
    Dispatch,
    Identify,
    RequestGuildMembers,
    UpdatePresence,
    UpdateVoiceState,
)
from gateway_proto.server import Server, ServerConfig
from tests.adapters.support import Kit, lookup_config
from tests.adapters.waiting import until

FAST: dict[str, Any] = {"ttl": 1.0, "interval": 0.2}
COUNT = 4


class Member:
    def __init__(self, fleet: Any, scope: anyio.CancelScope) -> None:
        self.fleet = fleet
        self.scope = scope


class Bench:
    """A server, the commands that it received, and members of a fleet."""

    def __init__(self, new_store: Callable[[], Any]) -> None:
        self.new_store = new_store
        self.received: list[tuple[int, Any]] = []
        """Shard id and command, without those that a client sends by itself."""
        self.identified: list[Any] = []
        self.answers: Callable[[Any], list[Dispatch]] = lambda command: []
        self.serving: Any = None
        self.tasks: Any = None

    def on_event(self, connection: Any, event: Any) -> None:
        if isinstance(event, Identify):
            self.identified.append(event.presence)
        if isinstance(event, UpdatePresence | UpdateVoiceState | RequestGuildMembers):
            self.received.append((connection.session.shard[0], event))
            for dispatch in self.answers(event):
                connection.send(dispatch, now=self.serving.now())

    @property
    def numbers(self) -> list[int]:
        """Numbers of the `numbered` commands that were received."""
        return [
            int(command.channel_id) - 1
            for _, command in self.received
            if isinstance(command, UpdateVoiceState)
        ]

    async def start(self, store: Any = None, **options: Any) -> Member:
        ready: list[Member] = []
        self.tasks.start_soon(self._run, ready, store or self.new_store(), options)
        await until(lambda: bool(ready))
        return ready[0]

    async def _run(self, ready: list[Member], store: Any, options: dict[str, Any]) -> None:
        settings = {name: options.pop(name) for name in ("presence",) if name in options}
        config = lookup_config(self.serving, **settings)
        with anyio.CancelScope() as scope:
            given = {**FAST, "publish": True, **options}
            async with open_fleet(config, store, **given) as fleet:
                ready.append(Member(fleet, scope))
                async for _ in fleet:
                    pass

    async def until_owned(self, *members: Member) -> None:
        """Wait until members own all shards between them, each READY."""
        each = COUNT // len(members)
        await until(
            lambda: all(
                len(member.fleet.owned) == each
                and all(is_ready(member, shard_id) for shard_id in member.fleet.owned)
                for member in members
            )
        )


def numbered(number: int) -> UpdateVoiceState:
    """Return a command that can be told apart from others."""
    return UpdateVoiceState("1", str(number + 1))


def is_ready(member: Member, shard_id: int) -> bool:
    gateway = member.fleet.gateways.get(shard_id)
    return gateway is not None and gateway.state is not None and gateway.state.value == "ready"


def run(kit: Kit, new_store: Any, body: Callable[[Bench], Awaitable[None]], **config: Any) -> None:
    async def main() -> None:
        server = Server(ServerConfig(shards=COUNT, max_concurrency=16, **config))
        bench = Bench(new_store)
        async with (
            kit.limit(60),
            new_store(),
            kit.adapter.serve_gateway(server, on_event=bench.on_event) as bench.serving,
            anyio.create_task_group() as bench.tasks,
        ):
            await body(bench)
            bench.tasks.cancel_scope.cancel()

    kit.run(main)


def chunks(command: Any) -> list[Dispatch]:
    """Return the answer to a members request, in three chunks."""
    if not isinstance(command, RequestGuildMembers) or command.guild_id == "404":
        return []
    return [
        Dispatch.of(
            "GUILD_MEMBERS_CHUNK",
            {
                "guild_id": command.guild_id,
                "nonce": command.nonce,
                "members": [[command.query, index]],
                "chunk_index": index,
                "chunk_count": 3,
            },
        )
        for index in range(3)
    ]


class CutStore:
    """A store that can be cut off, and whose requests can be done without an answer."""

    def __init__(self, store: Any) -> None:
        self.inner = store
        self.state: dict[str, Any] = {"cut": False, "unanswered": ()}

    async def __aenter__(self) -> Any:
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self.inner.__aexit__(*exc)

    def scoped(self, prefix: str) -> Any:
        scope = type(self)(self.inner.scoped(prefix))
        scope.__dict__.update(self.__dict__, inner=scope.inner)
        return scope

    async def listen(self, notify: Any) -> None:
        await self.inner.listen(notify)

    async def watch(self, mailbox: str, notify: Any) -> None:
        await self.inner.watch(mailbox, notify)

    async def records(self, shard: int, after: int) -> Any:
        async with contextlib.aclosing(self.inner.records(shard, after)) as records:
            async for item in records:
                await self._check()
                yield item

    async def _check(self) -> None:
        if self.state["cut"]:
            await anyio.sleep(0.01)
            raise StoreError("cut off")

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self.inner, name)
        if not callable(verb):
            return verb

        async def call(*arguments: Any) -> Any:
            await self._check()
            answer = await verb(*arguments)
            if name in self.state["unanswered"]:
                raise StoreError("the answer was lost")
            return answer

        return call


class CountingStore(CutStore):
    """A store that counts calls, and can lose every notification."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.calls: list[str] = []

    async def watch(self, mailbox: str, notify: Any) -> None:
        await anyio.sleep_forever()

    async def listen(self, notify: Any) -> None:
        await anyio.sleep_forever()

    def __getattr__(self, name: str) -> Any:
        self.calls.append(name)
        return super().__getattr__(name)
