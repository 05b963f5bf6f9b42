"""Group of commands whose modules are imported when they are run, or when their help is shown."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, MutableMapping
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup

from gateway_cli.start import exit_without_extra

__all__ = ["CommandPlace", "GroupPlace", "group_of"]


_SETTINGS: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
}


class CommandPlace(NamedTuple):
    """Module and function of a command, and its line in the help."""

    module: str
    function: str
    short_help: str


class GroupPlace(NamedTuple):
    """A group of commands within the group."""

    commands: dict[str, CommandPlace | GroupPlace]
    short_help: str
    help: str


class _Commands(MutableMapping[str, Any]):
    """Commands by name, each imported when it is first asked for."""

    def __init__(self, places: dict[str, CommandPlace | GroupPlace]) -> None:
        self._places = places
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = _load(name, self._places[name])
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._places[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _load(name: str, place: CommandPlace | GroupPlace) -> Any:
    if isinstance(place, GroupPlace):
        group = typer.Typer(
            cls=group_of(place.commands),
            name=name,
            no_args_is_help=True,
            short_help=place.short_help,
            help=place.help,
            **_SETTINGS,
        )
        group.callback()(lambda: None)
        return typer.main.get_command(group)
    try:
        module = importlib.import_module(f"gateway_cli.{place.module}")
    except ModuleNotFoundError as error:
        exit_without_extra(error)
        raise
    single = typer.Typer(**_SETTINGS)
    single.command(name, short_help=place.short_help)(getattr(module, place.function))
    return typer.main.get_command(single)


def group_of(places: dict[str, CommandPlace | GroupPlace]) -> type[TyperGroup]:
    """Return the class of a group with these commands."""

    class LazyGroup(TyperGroup):
        """Group that lists its commands without importing them."""

        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.commands = _Commands(places)

        def list_commands(self, ctx: Any) -> list[str]:
            return list(places)

        def format_commands(self, ctx: Any, formatter: Any) -> None:
            with formatter.section("Commands"):
                formatter.write_dl([(name, place.short_help) for name, place in places.items()])

    return LazyGroup
