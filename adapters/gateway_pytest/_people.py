"""What people of the world do: dispatches for a bot, built in the server's thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from gateway_proto import Server
from gateway_proto.interactions import button_press, chat_message, modal_submit, slash_command
from gateway_pytest._choosing import pick_author, pick_channel, pick_component

__all__ = ["Built", "People"]

Built = tuple[str, dict[str, Any]]


@attrs.frozen
class People:
    """Builds the name and the data of dispatches at the time `now`."""

    server: Server
    now: float

    def message(self, content: str, channel: Any, author: Any, fields: Mapping[str, Any]) -> Built:
        """Build a message."""
        place = self._place(channel, author)
        timestamp = self.server.rest.timestamp(now=self.now)
        data = chat_message(
            self.server.world,
            content,
            id_=self._id(),
            channel_id=place["channel_id"],
            author_id=place["user_id"],
            **{"timestamp": timestamp, **fields},
        )
        return "MESSAGE_CREATE", data

    def command(self, name: str, options: Mapping[str, Any], channel: Any, author: Any) -> Built:
        """Build the interaction of a slash command."""
        place = self._place(channel, author)
        data = slash_command(self.server.world, name, options, **self._fresh(), **place)
        return "INTERACTION_CREATE", data

    def component(self, wanted: Any, values: list[str] | None, message: Any, author: Any) -> Built:
        """Build the interaction of a button or, with values, of a menu."""
        component, found = pick_component(self.server.world, wanted, message)
        data = button_press(
            self.server.world,
            component["custom_id"],
            message_id=found["id"],
            values=values,
            user_id=self._place(found["channel_id"], author)["user_id"],
            **self._fresh(),
        )
        return "INTERACTION_CREATE", data

    def modal(self, modal: Any, inputs: Mapping[str, str], channel: Any, author: Any) -> Built:
        """Build the interaction of a modal that is submitted."""
        custom_id = modal["custom_id"] if isinstance(modal, Mapping) else modal
        place = self._place(channel, author)
        data = modal_submit(self.server.world, custom_id, inputs, **self._fresh(), **place)
        return "INTERACTION_CREATE", data

    def _place(self, channel: Any, author: Any) -> dict[str, str]:
        place = pick_channel(self.server.world, channel)
        user = pick_author(self.server.world, place, author)["user"]
        return {"channel_id": place.channel["id"], "user_id": user["id"]}

    def _id(self) -> str:
        return self.server.rest.new_id(now=self.now)

    def _fresh(self) -> dict[str, str]:
        id_ = self._id()
        return {"id_": id_, "token": f"interaction-{id_}"}
