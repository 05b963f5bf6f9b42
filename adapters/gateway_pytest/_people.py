"""Dispatches of actions by users of the world, built in the server's thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from gateway_proto import LocalProtocolError
from gateway_proto.server import Server
from gateway_proto.server.interactions import (
    button_press,
    chat_message,
    modal_submit,
    slash_command,
)
from gateway_pytest._choosing import pick_author, pick_channel, pick_component
from gateway_pytest._modals import pick_modal, submitted
from gateway_pytest._options import check_command
from gateway_pytest._resolving import Resolver

__all__ = ["Built", "People"]

Built = tuple[str, dict[str, Any]]


@attrs.frozen
class People:
    """Builder of the name and the data of dispatches at the time `now`.

    `api_url` is the base of the URLs of uploaded files.
    """

    server: Server
    now: float
    api_url: str

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
        chosen = pick_channel(self.server.world, channel).channel
        check_command(self.server.world, name, options, chosen.get("guild_id"))
        data = slash_command(self.server.world, name, options, **self._fresh(), **place)
        return "INTERACTION_CREATE", data

    def component(self, wanted: Any, values: list[str] | None, message: Any, author: Any) -> Built:
        """Build the interaction of a button or, with values, of a menu."""
        component, found = pick_component(self.server.world, wanted, message)
        try:
            data = button_press(
                self.server.world,
                component["custom_id"],
                message_id=found["id"],
                values=values,
                user_id=self._place(found["channel_id"], author)["user_id"],
                **self._fresh(),
            )
        except LocalProtocolError as error:
            raise AssertionError(str(error)) from None
        return "INTERACTION_CREATE", data

    def modal(self, modal: Any, inputs: Mapping[str, Any], channel: Any, author: Any) -> Built:
        """Build the interaction of a modal that is submitted, by default by whom it was shown."""
        found, opened = pick_modal(self.server.world, modal)
        user = opened.get("member", opened).get("user")
        place = self._place(
            opened.get("channel_id") if channel is None else channel,
            user if author is None else author,
        )
        resolver = Resolver(self.server, place["channel_id"], self.api_url, self._id)
        components = submitted(found, inputs, resolver)
        resolver.serve_files()
        data = modal_submit(
            self.server.world,
            str(found.get("custom_id")),
            components,
            message=opened.get("message"),
            resolved=resolver.objects,
            **self._fresh(),
            **place,
        )
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
