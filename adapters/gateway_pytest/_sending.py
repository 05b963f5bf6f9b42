"""`Sender`: dispatches, messages and interactions that a test lets a running server send."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, get_args

from gateway_asyncio import RunningServer
from gateway_proto import LocalProtocolError
from gateway_proto._checks import BOOL, instance_of, optional, shown
from gateway_proto.server import Server, ServerConnection, ServerMessage, ServerSession
from gateway_proto.wire.close_codes import check_close
from gateway_pytest._people import Built, People
from gateway_pytest._thread import ServerThread
from gateway_pytest._waiting import Changes

__all__ = ["Sender"]

_OPTIONS = optional(instance_of(Mapping, "a mapping of options by name"))
_INPUTS = instance_of(Mapping, "a mapping of values by custom_id or label")

T = TypeVar("T")
_MESSAGES: tuple[type, ...] = get_args(ServerMessage)


class Sender:
    """Methods that send to the clients of a server in a thread. Callable from any thread."""

    def __init__(self, server: Server, thread: ServerThread, changes: Changes) -> None:
        self.server: Server = server
        self._thread = thread
        self._changes = changes

    def dispatch(
        self,
        name: str,
        data: Any,
        to: Callable[[ServerSession], bool] | None = None,
        *,
        allow_none: bool = False,
    ) -> int:
        """Dispatch to the sessions that `to` selects, or a gateway would; return their number.

        Raises AssertionError if the number is 0, unless `allow_none` is True, and changes nothing
        then.
        """
        __tracebackhide__ = True
        BOOL.named("allow_none", allow_none)

        def dispatch(serving: RunningServer) -> int:
            sessions = self.server.recipients(name, data, now=serving.now(), to=to)
            return serving.dispatch(name, data, to) if sessions or allow_none else 0

        return self._reached(name, self._do(dispatch), allow_none)

    def say(
        self, content: str = "", *, channel: Any = None, author: Any = None, **fields: Any
    ) -> dict[str, Any]:
        """Let a member of the world send a message; return it after it was dispatched.

        `channel` and `author` are names, ids or objects of the world; by default the first text
        channel, and the first member that is not a bot. `fields` are more fields of the message.
        Raises AssertionError if the world does not have them, as do `slash`, `press`, `select` and
        `submit`.
        """
        __tracebackhide__ = True
        return self._act(lambda people: people.message(content, channel, author, fields))

    def slash(
        self,
        name: str,
        /,
        *,
        channel: Any = None,
        author: Any = None,
        options: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """Let a member run a slash command; return the interaction.

        Other keywords are options; pass those with the name of a parameter in `options`. If the bot
        has registered commands, raises AssertionError for a command, option or value that none of
        them allows.
        """
        __tracebackhide__ = True
        _OPTIONS.named("options", options)
        given = {**(options or {}), **more}
        return self._act(lambda people: people.command(name, given, channel, author))

    def press(self, button: Any, *, message: Any = None, author: Any = None) -> dict[str, Any]:
        """Let a member press a button; return the interaction.

        `button` is its custom_id, label or object; without `message`, an id or object, it is that
        of the latest message that has one.
        """
        __tracebackhide__ = True
        return self._act(lambda people: people.component(button, None, message, author))

    def select(
        self, menu: Any, *values: str, message: Any = None, author: Any = None
    ) -> dict[str, Any]:
        """Let a member choose values in a menu, like `press`."""
        __tracebackhide__ = True
        return self._act(lambda people: people.component(menu, list(values), message, author))

    def submit(
        self, modal: Any, inputs: Mapping[str, Any], *, channel: Any = None, author: Any = None
    ) -> dict[str, Any]:
        """Let a member submit a modal that the bot has shown; return the interaction.

        `modal` is its custom_id, title or object; the last one shown is used. `inputs` are values
        by custom_id or label: a text, for a menu a list of values or ids, for a checkbox a bool,
        for a file upload a mapping such as {"data.csv": b"1,2"}. The server serves these files. By
        default the member and the channel are those to which it was shown. Raises AssertionError
        for an unknown modal or input, a value that is not allowed, and a required input left out.
        """
        __tracebackhide__ = True
        _INPUTS.named("inputs", inputs)
        return self._act(lambda people: people.modal(modal, inputs, channel, author))

    def send(self, message: ServerMessage, *, allow_none: bool = False) -> int:
        """Send a message on every connection that has a session; return their number."""
        __tracebackhide__ = True
        BOOL.named("allow_none", allow_none)
        if not isinstance(message, _MESSAGES):
            raise LocalProtocolError(
                f"invalid message {shown(message)}: expected ReconnectRequested(), "
                "SessionInvalidated(resumable), HeartbeatRequested(), HeartbeatAcked(), "
                "Hello(heartbeat_interval) or Dispatch; dispatch(name, data) sends a dispatch"
            )

        def send(serving: RunningServer) -> int:
            connections = self._with_session()
            for connection in connections:
                connection.send(message, now=serving.now())
            return len(connections)

        return self._reached(type(message).__name__, self._do(send), allow_none)

    def drop(self, *, allow_none: bool = False) -> int:
        """Drop every connection that has a session, without a close frame; return their number."""
        __tracebackhide__ = True
        BOOL.named("allow_none", allow_none)

        def drop(serving: RunningServer) -> int:
            count = len(self._with_session())
            serving.drop()
            return count

        return self._reached("drop", self._do(drop), allow_none)

    def close(self, code: int, reason: str = "", *, allow_none: bool = False) -> int:
        """Close every connection that has a session; return their number."""
        __tracebackhide__ = True
        check_close(code, reason, as_server=True)
        BOOL.named("allow_none", allow_none)

        def close(serving: RunningServer) -> int:
            connections = self._with_session()
            for connection in connections:
                connection.close(code, reason, now=serving.now())
            return len(connections)

        return self._reached(f"close {code}", self._do(close), allow_none)

    # ----- inside -----

    def _act(self, build: Callable[[People], Built]) -> dict[str, Any]:
        __tracebackhide__ = True

        def act(serving: RunningServer) -> tuple[str, dict[str, Any], int]:
            now = serving.now()
            name, data = build(People(self.server, now, serving.api_url))
            sessions = self.server.recipients(name, data, now=now)
            return name, data, serving.dispatch(name, data) if sessions else 0

        name, data, count = self._do(act)
        self._reached(name, count, False)
        return data

    def _with_session(self) -> Sequence[ServerConnection]:
        return [c for c in list(self.server.connections) if c.session is not None]

    def _reached(self, what: str, count: int, allow_none: bool) -> int:
        __tracebackhide__ = True
        if count == 0 and not allow_none:
            sessions = len(self.server.sessions)
            why = (
                "no client has a session: call wait_until_ready() first"
                if sessions == 0
                else f"none of the {sessions} sessions is connected, has the intents and the shard"
            )
            raise AssertionError(f"{what} reached no client: {why}; or pass allow_none=True")
        return count

    def _do(self, what: Callable[[RunningServer], T]) -> T:
        if self._changes.error is not None:
            raise self._changes.error
        return self._thread.do(what)
