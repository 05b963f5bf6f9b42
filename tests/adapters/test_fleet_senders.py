"""Commands and requests from any process to any shard of a fleet, with both adapters and stores."""

from __future__ import annotations

import contextlib
import gc
import itertools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import pytest

from gateway_fleet import (
    CommandError,
    MemoryStore,
    StoreError,
    open_commands,
    open_feed,
    open_fleet,
)
from gateway_proto import (
    Activity,
    Dispatch,
    GuildMembers,
    Heartbeat,
    Identify,
    LocalProtocolError,
    RawCommand,
    RequestError,
    RequestGuildMembers,
    UpdatePresence,
    UpdateVoiceState,
)
from gateway_proto.fleet import LoggedDispatch
from gateway_proto.server import Server, ServerConfig
from tests.adapters.engines import (
    KINDS,
    EngineProcess,
    nats_process,
    open_store,
    redis_process,
)
from tests.adapters.support import KITS, Kit, lookup_config

FAST: dict[str, Any] = {"ttl": 1.0, "interval": 0.2}
COUNT = 4


@pytest.fixture(scope="module")
def redis_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    with redis_process(tmp_path_factory.mktemp("redis")) as process:
        yield process


@pytest.fixture(scope="module")
def nats_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    with nats_process(tmp_path_factory.mktemp("nats")) as process:
        yield process


_prefixes = itertools.count()


@pytest.fixture(params=["memory", *KINDS])
def new_store(request: pytest.FixtureRequest, kit: Kit) -> Callable[[], Any]:
    """Return a function that makes stores of the same data."""
    if request.param == "memory":
        store = MemoryStore()
        return lambda: store
    if request.param == "nats" and kit.name != "asyncio":
        pytest.skip("NatsStore is for asyncio alone")
    process = request.getfixturevalue(f"{request.param}_engine")
    prefix = f"gw-{next(_prefixes)}"
    return lambda: open_store(process.url, prefix=prefix)


pytestmark = [
    pytest.mark.parametrize("kit", KITS, ids=str),
    # Of coredis, if it loses a connection; see `collected`.
    pytest.mark.filterwarnings("ignore:Exception ignored in.*MemoryObject"),
]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Collect what coredis leaves unclosed within the test, whose filter ignores it."""
    yield
    gc.collect()


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


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    with anyio.fail_after(seconds):
        while not condition():
            await anyio.sleep(0.01)


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


# ----- commands -----


def test_command_is_sent_by_the_owner_of_its_shard(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        members = [await bench.start(), await bench.start()]
        await bench.until_owned(*members)

        async with open_commands(bench.new_store()) as commands:
            assert commands.count == COUNT
            for shard_id in range(COUNT):
                await commands.send(shard_id, UpdateVoiceState(str(shard_id + 1), "5"))

        await until(lambda: len(bench.received) == COUNT)
        expected = [(n, UpdateVoiceState(str(n + 1), "5")) for n in range(COUNT)]
        assert bench.received == expected, "each once, in order"

    run(kit, new_store, body)


def test_consumer_sends_a_command_while_it_handles(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        await bench.start()
        async with open_feed(bench.new_store(), group="g", from_start=True, **FAST) as feed:
            async for shard_id, event in feed:
                if isinstance(event, LoggedDispatch) and event.name == "READY":
                    await feed.send(shard_id, numbered(shard_id))
                    if len(bench.received) == COUNT:
                        break

        assert sorted(bench.received, key=lambda item: item[0]) == [
            (n, numbered(n)) for n in range(COUNT)
        ]

    run(kit, new_store, body)


@pytest.mark.slow
def test_command_follows_a_shard_that_moves(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        first = await bench.start()
        await bench.until_owned(first)
        async with open_commands(bench.new_store()) as commands:
            await commands.send(0, numbered(0))
            second = await bench.start()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(first.fleet.drain)
                for number in range(1, 20):
                    await commands.send(number % COUNT, numbered(number), timeout=10.0)
            await bench.until_owned(second)

        await until(lambda: len(bench.received) >= 20)
        assert bench.numbers == list(range(20))

    run(kit, new_store, body)


@pytest.mark.slow
def test_command_to_a_dead_owner_waits_for_the_next(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        store = CutStore(bench.new_store())
        first = await bench.start(store=store)
        await bench.until_owned(first)
        store.state["cut"] = True  # as if it was killed: it does not leave the members table
        first.scope.cancel()
        async with open_commands(bench.new_store()) as commands:
            with pytest.raises(CommandError) as raised:
                await commands.send(1, numbered(1), timeout=2.0)
            second = await bench.start()
            await commands.send(1, numbered(2), timeout=20.0)

        assert not raised.value.may_be_sent
        assert (raised.value.name, raised.value.shard, raised.value.seconds) == (
            "UpdateVoiceState",
            1,
            2.0,
        )
        assert "UpdateVoiceState for shard 1 was not sent within 2 s: " in str(raised.value)
        assert bench.numbers == [2]
        assert 1 in second.fleet.owned

    run(kit, new_store, body)


@pytest.mark.slow
def test_shard_without_an_owner_raises(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        member = await bench.start()
        await bench.until_owned(member)
        await member.fleet.drain()

        async with open_commands(bench.new_store()) as commands:
            with pytest.raises(CommandError, match="3 s: no member owns the shard") as raised:
                await commands.send(2, numbered(9), timeout=3.0)

        assert not raised.value.may_be_sent
        assert bench.received == []

    run(kit, new_store, body)


@pytest.mark.parametrize(
    ("shard_id", "command", "text"),
    [
        (COUNT, numbered(9), "invalid shard_id 4: expected an int from 0 to 3"),
        (True, numbered(9), "invalid shard_id True"),
        (0, Heartbeat(None), "invalid command Heartbeat: the connection sends it by itself"),
        (0, "{}", "invalid command '{}': expected a command of gateway_proto"),
        (0, UpdateVoiceState(None, "1"), "UpdateVoiceState.guild_id is None"),
        (0, RawCommand(9, "x" * 5000), "RawCommand has 5015 bytes, more than the 4096"),
        (0, RequestGuildMembers("1"), "intent"),
    ],
)
def test_invalid_command_raises_before_it_is_posted(
    kit: Kit, shard_id: Any, command: Any, text: str
) -> None:
    async def body(bench: Bench) -> None:
        await bench.until_owned(await bench.start())
        store = CountingStore(bench.new_store())
        async with open_commands(store) as commands:
            with pytest.raises(LocalProtocolError) as raised:
                await commands.send(shard_id, command)
            with pytest.raises(LocalProtocolError, match="invalid timeout 0"):
                await commands.send(0, numbered(9), timeout=0)

        assert text in str(raised.value)
        assert not {"post", "unpost"} & set(store.calls)

    store = MemoryStore()
    run(kit, lambda: store, body)


@pytest.mark.slow
def test_rate_limit_of_the_owner_is_kept(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        await bench.until_owned(await bench.start())
        failed: list[CommandError] = []

        async def send(commands: Any, number: int) -> None:
            try:
                await commands.send(0, numbered(number), timeout=6.0)
            except CommandError as error:
                failed.append(error)

        async with open_commands(bench.new_store()) as commands, anyio.create_task_group() as tasks:
            for number in range(140):
                tasks.start_soon(send, commands, number)

        # https://docs.discord.com/developers/events/gateway#rate-limiting: 120 in 60 seconds.
        sent = bench.numbers
        assert 110 <= len(sent) <= 118
        assert len(sent) == len(set(sent)), "none twice"
        assert len(sent) + len(failed) == 140
        assert not any(error.may_be_sent for error in failed)
        assert "the rate limits of the gateway do not allow it yet" in str(failed[0])
        await anyio.sleep(0.3)
        assert len(bench.received) == len(sent), "an expired command is not sent later"

    store = MemoryStore()
    run(kit, lambda: store, body)


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


@pytest.mark.slow
def test_command_arrives_without_any_notification(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        bench.answers = chunks
        await bench.until_owned(await bench.start(store=CountingStore(bench.new_store())))

        async with open_commands(CountingStore(bench.new_store())) as commands:
            await commands.send(0, numbered(1))
            await commands.request(0, RequestGuildMembers("1", user_ids=["2"]))

        assert len(bench.received) == 2

    run(kit, new_store, body)


@pytest.mark.slow
def test_post_without_an_answer_is_not_repeated(kit: Kit, new_store: Any) -> None:
    """The message may have arrived: then it is removed again, or it was taken."""

    async def body(bench: Bench) -> None:
        await bench.until_owned(await bench.start())
        store = CutStore(bench.new_store())
        store.state["unanswered"] = ("post",)

        async with open_commands(store) as commands:
            for number in range(10):
                with contextlib.suppress(CommandError):
                    await commands.send(0, numbered(number), timeout=0.5)

        numbers = bench.numbers
        assert len(numbers) == len(set(numbers))

    run(kit, new_store, body)


@pytest.mark.slow
def test_owner_that_dies_between_taking_and_sending(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        store = CutStore(bench.new_store())
        first = await bench.start(store=store)
        await bench.until_owned(first)
        async with open_commands(bench.new_store()) as commands:
            # It takes the command, and its answer does not arrive anywhere.
            store.state["unanswered"] = ("take",)
            with pytest.raises(CommandError) as raised:
                await commands.send(0, numbered(1), timeout=1.0)
            await bench.start()
            store.state["cut"] = True
            first.scope.cancel()
            await commands.send(0, numbered(2), timeout=20.0)

        assert raised.value.may_be_sent
        assert "may have been sent, or not, within 1 s" in str(raised.value)
        assert bench.numbers == [2], "and not sent by another"

    run(kit, new_store, body)


@pytest.mark.slow
def test_store_that_is_away_for_the_sender_raises(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        await bench.until_owned(await bench.start())
        store = CutStore(bench.new_store())
        async with open_commands(store) as commands:
            store.state["cut"] = True
            with pytest.raises(CommandError, match="the store did not answer"):
                await commands.send(0, numbered(1), timeout=0.3)
            with pytest.raises(CommandError, match="the store did not answer"):
                await commands.send(0, UpdatePresence(), timeout=0.3)
            with pytest.raises(CommandError, match="the store did not answer"):
                await commands.request(0, RequestGuildMembers("1", user_ids=["2"]), timeout=0.3)
            store.state["cut"] = False
            await commands.send(0, numbered(2))

        assert bench.numbers == [2]

    run(kit, new_store, body)


@pytest.mark.slow
def test_cancelled_command_is_withdrawn(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        store = CutStore(bench.new_store())
        await bench.until_owned(await bench.start(store=store))
        store.state["cut"] = True
        async with open_commands(bench.new_store()) as commands:
            with anyio.move_on_after(0.2):
                await commands.send(0, numbered(1), timeout=30.0)
            store.state["cut"] = False
            await commands.send(0, numbered(2), timeout=10.0)

        assert bench.numbers == [2]

    run(kit, new_store, body)


# ----- presences -----


@pytest.mark.slow
def test_presence_is_sent_by_each_next_owner(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        default, chess, go = (UpdatePresence([Activity(name)]) for name in ("-", "chess", "go"))
        first = await bench.start(presence=default)
        await bench.until_owned(first)
        async with open_commands(bench.new_store()) as commands:
            for presence in (chess, go):
                await commands.send(1, presence)
        await until(lambda: bench.received == [(1, chess), (1, go)])

        second = await bench.start(presence=default)
        await first.fleet.drain()

        await bench.until_owned(second)
        await until(lambda: bench.received[-1] == (1, go) and len(bench.received) > 2)
        moved = [item for item in bench.received[2:] if item[0] == 1]
        assert moved == [(1, default), (1, go)], "the client's own, and then the stored one"

    run(kit, new_store, body)


@pytest.mark.slow
def test_presence_without_an_owner_is_sent_later(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        first = await bench.start()
        await bench.until_owned(first)
        await first.fleet.drain()
        async with open_commands(bench.new_store()) as commands:
            with pytest.raises(CommandError, match="no member owns the shard"):
                await commands.send(3, UpdatePresence([Activity("chess")]), timeout=3.0)

        await bench.start()

        await until(lambda: bool(bench.received))
        assert bench.received == [(3, UpdatePresence([Activity("chess")]))]

    run(kit, new_store, body)


# ----- requests -----


def test_request_returns_its_whole_answer(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        bench.answers = chunks
        members = [await bench.start(), await bench.start()]
        await bench.until_owned(*members)

        async with open_commands(bench.new_store()) as commands:
            for shard_id in range(COUNT):
                answer = await commands.request(
                    shard_id, RequestGuildMembers("7", query=str(shard_id), limit=5)
                )
                assert answer == GuildMembers(
                    "7", tuple([str(shard_id), index] for index in range(3))
                )

    run(kit, new_store, body)


def test_equal_nonces_of_two_workers_get_their_own_answers(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        bench.answers = chunks
        await bench.until_owned(await bench.start())
        answers: dict[str, Any] = {}

        async def ask(query: str) -> None:
            request = RequestGuildMembers("7", query=query, limit=5, nonce="same")
            async with open_commands(bench.new_store()) as commands:
                answers[query] = await commands.request(0, request)

        async with anyio.create_task_group() as tasks:
            for query in ("one", "two", "three"):
                tasks.start_soon(ask, query)

        for query, answer in answers.items():
            assert answer.members == tuple([query, index] for index in range(3))
        assert len({command.nonce for _, command in bench.received}) == 3

    run(kit, new_store, body)


@pytest.mark.slow
def test_many_requests_of_one_worker_are_told_apart(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        bench.answers = chunks
        await bench.until_owned(await bench.start())
        answers: dict[str, Any] = {}

        async with (
            open_feed(bench.new_store(), group="g", **FAST) as feed,
            anyio.create_task_group() as tasks,
        ):

            async def ask(number: int) -> None:
                request = RequestGuildMembers("7", query=str(number), limit=5)
                answers[str(number)] = await feed.request(number % COUNT, request)

            for number in range(40):
                tasks.start_soon(ask, number)

        assert len(answers) == 40
        for query, answer in answers.items():
            assert answer.members == tuple([query, index] for index in range(3))

    run(kit, new_store, body)


@pytest.mark.slow
def test_answer_continues_after_the_owner_has_died(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        bench.answers = lambda command: chunks(command)[:2]
        store = CutStore(bench.new_store())
        first = await bench.start(store=store)
        await bench.until_owned(first)
        answers: list[Any] = []

        async with (
            open_commands(bench.new_store()) as commands,
            anyio.create_task_group() as tasks,
        ):

            async def ask() -> None:
                request = RequestGuildMembers("7", query="q", limit=5)
                answers.append(await commands.request(0, request))

            tasks.start_soon(ask)
            await until(lambda: bool(bench.received))
            second = await bench.start()
            store.state["cut"] = True
            first.scope.cancel()
            await until(lambda: 0 in second.fleet.owned and is_ready(second, 0))
            bench.serving.dispatch(
                "GUILD_MEMBERS_CHUNK",
                chunks(bench.received[0][1])[2].data,
                to=lambda session: session.shard[0] == 0,
            )

        assert answers == [GuildMembers("7", tuple(["q", index] for index in range(3)))]

    run(kit, new_store, body)


@pytest.mark.slow
def test_request_without_an_answer_raises(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        await bench.until_owned(await bench.start())
        async with open_commands(bench.new_store()) as commands:
            with pytest.raises(RequestError, match=r"no answer for 2 s"):
                await commands.request(0, RequestGuildMembers("1", user_ids=["2"]), timeout=2.0)
            with pytest.raises(LocalProtocolError, match="is not a request with an answer"):
                await commands.request(0, RawCommand(8), timeout=0.5)  # type: ignore[call-overload]

    run(kit, new_store, body)


def test_request_to_members_without_logs_raises(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        await bench.until_owned(await bench.start(publish=False))
        async with open_commands(bench.new_store()) as commands:
            await commands.send(0, numbered(1))
            with pytest.raises(LocalProtocolError, match=r"logs no events, which open_fleet"):
                await commands.request(0, RequestGuildMembers("1", user_ids=["2"]))

        assert bench.received == [(0, numbered(1))]

    run(kit, new_store, body)


def test_cancelled_request_leaves_nothing_behind(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        bench.answers = chunks
        await bench.until_owned(await bench.start())
        async with open_commands(bench.new_store()) as commands:
            with anyio.move_on_after(0.2):
                await commands.request(0, RequestGuildMembers("404", user_ids=["2"]))
            await until(lambda: commands._sender.is_idle)
            answer = await commands.request(0, RequestGuildMembers("7", query="q", limit=5))

        assert len(answer.members) == 3

    run(kit, new_store, body)


# ----- opening -----


def test_store_without_mailboxes_is_rejected(kit: Kit) -> None:
    async def main() -> None:
        with pytest.raises(LocalProtocolError, match="expected a FeedStore"):
            async with open_commands(object()):  # type: ignore[arg-type]
                pass
        with pytest.raises(LocalProtocolError, match="invalid bot"):
            async with open_commands(MemoryStore(), bot="token"):
                pass

    kit.run(main)


def test_exception_of_the_block_is_not_wrapped(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        await bench.start()
        with pytest.raises(ZeroDivisionError):
            async with open_commands(bench.new_store()):
                raise ZeroDivisionError

    run(kit, new_store, body)
