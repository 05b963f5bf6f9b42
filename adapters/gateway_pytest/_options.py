"""Options of a slash command, checked against the command that the bot has registered.

<https://docs.discord.com/developers/interactions/application-commands>
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from gateway_proto.server import World
from gateway_proto.server.interactions import command_options, find_command

__all__ = ["check_command"]

Data = Mapping[str, Any]
_SUBCOMMANDS = (1, 2)
_STRING, _INTEGER, _BOOLEAN, _NUMBER = 3, 4, 5, 10
_PLAIN = {_STRING: "a str", _INTEGER: "an int", _BOOLEAN: "a bool", _NUMBER: "an int or float"}
_RESOLVED = {6: "a user", 7: "a channel", 8: "a role", 9: "a mentionable", 11: "an attachment"}
_MAX_INTEGER = 2**53


def check_command(
    world: World, name: str, options: Mapping[str, Any], guild_id: str | None
) -> None:
    """Raise AssertionError for values that a member could not enter, if commands are registered."""
    if not world.commands:
        return
    command = find_command(world, name, guild_id)
    if command is None:
        known = _listed([c["name"] for c in world.commands if _is_usable(c, guild_id)])
        raise AssertionError(f"unknown command {name!r}: the bot has registered {known}")
    registered = {option["name"]: option for option in command_options(command)}
    if any(option["type"] in _SUBCOMMANDS for option in registered.values()):
        raise AssertionError(
            f"command {name!r} has subcommands, which slash does not build: "
            'dispatch("INTERACTION_CREATE", ...)'
        )
    for key, value in options.items():
        if key not in registered:
            known = _listed(list(registered))
            raise AssertionError(f"unknown option {key!r} of {name!r}: the command has {known}")
        _check_value(f"option {key!r} of {name!r}", registered[key], value)
    missing = [k for k, option in registered.items() if option.get("required") and k not in options]
    if missing:
        raise AssertionError(f"command {name!r} requires {_listed(missing)}: it is left out")


def _check_value(name: str, option: Data, value: Any) -> None:
    type_ = option["type"]
    if type_ not in _PLAIN:
        raise AssertionError(
            f"{name} is {_RESOLVED.get(type_, 'of an unknown type')}, which slash does not build: "
            'dispatch("INTERACTION_CREATE", ...)'
        )
    _expect(_has_type(type_, value), name, value, _PLAIN[type_])
    choices = [c.get("value") for c in option.get("choices") or () if isinstance(c, Mapping)]
    _expect(not choices or value in choices, name, value, f"one of {_listed(choices)}")
    is_text = type_ == _STRING
    size = len(value) if is_text else value
    least = option.get("min_length" if is_text else "min_value")
    most = option.get("max_length" if is_text else "max_value")
    unit = " characters" if is_text else ""
    if least is not None:
        _expect(size >= least, name, value, f"at least {least}{unit}")
    if most is not None:
        _expect(size <= most, name, value, f"at most {most}{unit}")


def _has_type(type_: int, value: Any) -> bool:
    if type_ == _STRING:
        return isinstance(value, str)
    if type_ == _BOOLEAN or isinstance(value, bool):
        return type_ == _BOOLEAN and isinstance(value, bool)
    if not isinstance(value, int if type_ == _INTEGER else int | float):
        return False
    return -_MAX_INTEGER <= value <= _MAX_INTEGER


def _is_usable(command: Data, guild_id: str | None) -> bool:
    return command.get("type", 1) == 1 and command.get("guild_id") in (None, guild_id)


def _listed(names: list[Any]) -> str:
    return ", ".join(itertools.islice(dict.fromkeys(map(str, names)), 20)) or "none"


def _expect(is_allowed: bool, name: str, value: Any, allowed: str) -> None:
    if not is_allowed:
        raise AssertionError(f"invalid {name} {value!r:.100}: expected {allowed}")
