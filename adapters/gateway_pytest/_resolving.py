"""Objects that the values of a modal refer to: uploaded files, users, roles and channels.

<https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-object-resolved-data-structure>
"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import attrs

from gateway_proto import LocalProtocolError
from gateway_proto.server import Server
from gateway_proto.server.interactions import ATTACHMENT_LIMIT, resolved_objects
from gateway_proto.server.world_objects import make_attachment

__all__ = ["Resolver"]

Data = Mapping[str, Any]
_OTHER = "application/octet-stream"


@attrs.define
class Resolver:
    """Collection of the objects of one interaction, in `objects` by kind and id."""

    server: Server
    channel_id: str
    api_url: str
    new_id: Callable[[], str]
    objects: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    _files: dict[str, tuple[str, bytes]] = attrs.field(factory=dict)  # by path

    def add_selected(self, type_: int, ids: list[str]) -> None:
        """Add users, roles or channels of a menu; raises AssertionError for unknown ids."""
        try:
            found = resolved_objects(self.server.world, self.channel_id, type_, ids)
        except LocalProtocolError as error:
            raise AssertionError(str(error)) from None
        for kind, objects in found.items():
            self.objects.setdefault(kind, {}).update(objects)

    def add_file(self, filename: str, data: bytes) -> str:
        """Add a file; return the id of its attachment."""
        id_ = self.new_id()
        path = f"/ephemeral-attachments/{self.channel_id}/{id_}/{filename}"
        self._files[path] = (content_type(filename), data)
        self.objects.setdefault("attachments", {})[id_] = make_attachment(
            id_,
            filename,
            size=len(data),
            url=f"{self.api_url}{quote(path)}",
            content_type=content_type(filename),
            ephemeral=True,
        )
        return id_

    def serve_files(self) -> None:
        """Answer requests for the URLs of the files with their content."""
        for path, (type_, data) in self._files.items():
            self.server.rest.reply("GET", path, body=data, headers={"Content-Type": type_})


def content_type(filename: str) -> str:
    """Return the media type of a filename."""
    return mimetypes.guess_type(filename)[0] or _OTHER


def is_uploadable(filename: Any, data: Any) -> bool:
    """Whether a member can upload a file of this name and content."""
    has_name = isinstance(filename, str) and filename != "" and "/" not in filename
    return has_name and isinstance(data, bytes) and len(data) <= ATTACHMENT_LIMIT


def has_type(filename: str, types: list[Any]) -> bool:
    """Whether a file has one of the types of a file upload, such as "image" or ".pdf".

    <https://docs.discord.com/developers/components/reference#file-upload-file-upload-structure>
    """
    name = filename.lower()
    kind = content_type(name).partition("/")[0]
    return any(type_ == kind or name.endswith(str(type_).lower()) for type_ in types)
