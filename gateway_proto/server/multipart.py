"""Decoder of HTTP request bodies: JSON and uploaded files.

<https://docs.discord.com/developers/reference#uploading-files>: a multipart body has its JSON in
the field `payload_json`, and its files in `files[n]`.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from gateway_proto.events import UploadedFile

__all__ = ["InvalidBodyError", "read_body"]

_BOUNDARY = re.compile(r'boundary="?([^";\s]{1,200})"?', re.IGNORECASE)
_NAME = re.compile(r'[; ]name="([^"]*)"')
_FILENAME = re.compile(r'[; ]filename="([^"]*)"')
_CONTENT_TYPE = re.compile(r"^content-type: *([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_MAX_PARTS = 100
_MAX_JSON = 2**20
"""Bytes. Decoded JSON takes up to 30 times its size in memory."""


class InvalidBodyError(Exception):
    """Invalid body, with the status and JSON of the response."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.json: dict[str, Any] = {"message": message, "code": code}


def _invalid() -> InvalidBodyError:
    return InvalidBodyError(400, 50109, "The request body contains invalid JSON.")


def read_body(body: bytes, content_type: str) -> tuple[Any, tuple[UploadedFile, ...]]:
    """Return the JSON and the files of a body. Raises `InvalidBodyError`."""
    kind = content_type.partition(";")[0].strip().lower()
    if not body:
        return None, ()
    if kind == "multipart/form-data":
        boundary = _BOUNDARY.search(content_type)
        if boundary is None:
            raise _invalid()
        return _read_parts(body, b"--" + boundary.group(1).encode("latin-1"))
    return _json(body), ()


def _json(body: bytes) -> Any:
    if len(body) > _MAX_JSON:
        raise InvalidBodyError(413, 40005, "Request entity too large")
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise _invalid() from None


def _read_parts(body: bytes, delimiter: bytes) -> tuple[Any, tuple[UploadedFile, ...]]:
    # RFC 2046, section 5.1.1: each part begins with CRLF, the delimiter and CRLF.
    parts = (b"\r\n" + body).split(b"\r\n" + delimiter, _MAX_PARTS + 1)
    if len(parts) < 3 or not parts[-1].startswith(b"--") or len(parts) > _MAX_PARTS + 1:
        raise _invalid()
    json: Any = None
    fields: dict[str, str] = {}
    files = []
    for part in parts[1:-1]:
        head, blank, data = part.partition(b"\r\n\r\n")
        text = head.decode("utf-8", "replace")
        name = _NAME.search(text)
        if not blank or name is None:
            raise _invalid()
        filename, type_ = _FILENAME.search(text), _CONTENT_TYPE.search(text)
        if name[1] == "payload_json":
            json = _json(data)
        elif filename is None:
            fields[name[1]] = data.decode("utf-8", "replace")
        else:
            content_type = "application/octet-stream" if type_ is None else type_[1].strip()
            files.append(UploadedFile(name[1], filename[1], content_type, data))
    return (fields or None) if json is None else json, tuple(files)
