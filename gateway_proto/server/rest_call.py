"""Request of a REST route and its outcome, with the errors of Discord.

Codes and texts: <https://docs.discord.com/developers/topics/opcodes-and-status-codes#json>.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs
import msgspec

from gateway_proto.events import UploadedFile
from gateway_proto.server.world import World

__all__ = [
    "Call",
    "Handler",
    "Outcome",
    "RestError",
    "Route",
    "invalid_body",
    "iso_time",
    "read",
    "unknown",
]

T = TypeVar("T", bound=msgspec.Struct)
Data = Mapping[str, Any]

_UNKNOWN = {
    "Application": 10002,
    "Channel": 10003,
    "Guild": 10004,
    "Invite": 10006,
    "Member": 10007,
    "Message": 10008,
    "Role": 10011,
    "User": 10013,
    "Webhook": 10015,
    "interaction": 10062,
    "application command": 10063,
}


class RestError(Exception):
    """Error response of a route."""

    def __init__(self, status: int, code: int, message: str, errors: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.json: dict[str, Any] = {"message": message, "code": code}
        if errors is not None:
            self.json["errors"] = errors


def unknown(what: str) -> RestError:
    """Return the error for an object that does not exist, such as 10003 "Unknown Channel"."""
    return RestError(404, _UNKNOWN[what], f"Unknown {what}")


def invalid_body(field: str, code: str, message: str) -> RestError:
    """Return 50035 "Invalid Form Body" for a field."""
    errors = {field: {"_errors": [{"code": code, "message": message}]}}
    return RestError(400, 50035, "Invalid Form Body", errors)


@attrs.frozen
class Call:
    """Request of a known route, with a valid token if the route needs one."""

    world: World
    params: Mapping[str, str]
    """Variable parts of the path."""
    query: Mapping[str, str]
    json: Any
    files: tuple[UploadedFile, ...]
    timestamp: str
    """Current time in ISO 8601."""
    new_id: Callable[[], str]

    @property
    def body(self) -> dict[str, Any]:
        """Body, which must be an object. A missing body counts as an empty object."""
        if self.json is None:
            return {}
        if not isinstance(self.json, dict):
            raise invalid_body("_errors", "DICT_TYPE_CONVERT", "Only dictionaries may be used here")
        return self.json

    def read(self, type_: type[T]) -> T:
        """Return the body converted to a type. Raises `RestError`."""
        return read(self.body, type_)

    def number(self, name: str, default: int, most: int) -> int:
        """Return a number of the query, limited to the range from 1 to `most`."""
        text = self.query.get(name, "")
        if not (text.isascii() and text.isdecimal() and len(text) < 10):
            return default
        return min(max(int(text), 1), most)

    def flag(self, name: str) -> bool:
        """Whether a flag of the query is set."""
        return self.query.get(name, "").lower() in ("true", "1")

    def guild(self) -> Data:
        """Return the guild of the path."""
        guild = self.world.guild(self.params["guild_id"])
        if guild is None:
            raise unknown("Guild")
        return guild

    def channel(self) -> Data:
        """Return the channel of the path."""
        channel = self.world.channel(self.params["channel_id"])
        if channel is None:
            raise unknown("Channel")
        return channel

    def message(self) -> Data:
        """Return the message of the path, in the channel of the path."""
        channel = self.channel()
        message = self.world.message(self.params["message_id"], channel["id"])
        if message is None:
            raise unknown("Message")
        return message

    def member(self) -> Data:
        """Return the member of the path."""
        wanted = self.params["user_id"]
        for member in self.guild()["members"]:
            if member["user"]["id"] == wanted:
                found: Data = member
                return found
        raise unknown("Member")


@attrs.frozen
class Outcome:
    """Result of a route: its response, the resulting dispatches, and the world."""

    status: int = 200
    json: Any = None
    dispatches: tuple[tuple[str, Any], ...] = ()
    world: World | None = None
    """Changed world. None means that only the dispatches change it."""


Handler = Callable[[Call], Outcome]


@attrs.frozen
class Route:
    """Route of a path."""

    path: str
    """Path of the documentation."""
    handlers: Mapping[str, Handler]
    """Handlers by method."""
    params: Mapping[str, str]
    """Variable parts of the path."""
    needs_token: bool


def read(body: Any, type_: type[T]) -> T:
    """Return a body converted to a type. Raises `RestError`."""
    try:
        return msgspec.convert(body, type_)
    except msgspec.ValidationError as error:
        raise invalid_body("_errors", "BASE_TYPE_BAD", str(error)) from None


def iso_time(seconds: float) -> str:
    """Return Unix time as ISO 8601 in UTC, with microseconds.

    Days are converted by Howard Hinnant's algorithm "civil_from_days":
    <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>.
    """
    micros = int(seconds * 1_000_000)
    whole, micros = divmod(micros, 1_000_000)
    days, rest = divmod(whole, 86400)
    era, day_of_era = divmod(days + 719468, 146097)
    year_of_era = (
        day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096
    ) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153  # months since March
    day = day_of_year - (153 * shifted + 2) // 5 + 1
    month = (shifted + 2) % 12 + 1
    year = year_of_era + era * 400 + (month <= 2)
    hour, minute, second = rest // 3600, rest // 60 % 60, rest % 60
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}+00:00"
