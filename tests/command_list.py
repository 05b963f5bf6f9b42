"""Commands of `gateway-proto`, also those within groups, by the words that name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import typer.main

from gateway_cli.app import app


def every_command(group: Any = None) -> dict[str, Any]:
    """Return all commands, such as "tail" and "fleet run"."""
    commands: Mapping[str, Any] = (group or typer.main.get_command(app)).commands
    found: dict[str, Any] = {}
    for name, command in commands.items():
        if hasattr(command, "commands"):
            found |= {f"{name} {inner}": made for inner, made in every_command(command).items()}
        else:
            found[name] = command
    return found


def names_of(words: Sequence[str]) -> tuple[str, str]:
    """Return the names that the command of a shell line may have."""
    return words[1], " ".join(words[1:3])
