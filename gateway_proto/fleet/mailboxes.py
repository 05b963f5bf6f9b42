"""Mailboxes of a store: bounded, and each message is taken at most once.

Members and consumers send each other commands by them. The definition of what each engine must do.
"""

from __future__ import annotations

from gateway_proto._checks import Check, number
from gateway_proto.fleet.records import NAME

__all__ = ["MAX_MESSAGES", "MAX_MESSAGE_SIZE", "Mailboxes", "check_message"]

MAX_MESSAGES = 256
"""Maximum number of messages in one mailbox."""
MAX_MESSAGE_SIZE = 2**16
"""Maximum number of bytes of a message."""
_LEAST_BOXES = 64
"""Number of mailboxes from which those without messages are dropped."""
_MESSAGE = Check(
    lambda value: isinstance(value, bytes) and 0 < len(value) <= MAX_MESSAGE_SIZE,
    f"1 to {MAX_MESSAGE_SIZE} bytes",
)
_TTL = number(0, 3600, "seconds, at most 3600", is_open=True)


def check_message(mailbox: str, message: bytes, ttl: float = 1.0) -> None:
    """Raise `LocalProtocolError` unless a store takes these arguments."""
    NAME.named("mailbox", mailbox)
    _MESSAGE.named("message", message)
    _TTL.named("ttl", ttl)


class Mailboxes:
    """Messages of all mailboxes, with the times at which they expire."""

    __slots__ = ("_boxes", "_most")

    def __init__(self) -> None:
        self._boxes: dict[str, dict[bytes, float]] = {}
        self._most = _LEAST_BOXES

    def __len__(self) -> int:
        """Return the number of mailboxes that are kept."""
        return len(self._boxes)

    def post(self, mailbox: str, message: bytes, ttl: float, now: float) -> bool:
        """Add a message for `ttl` seconds; return False, and do nothing, if the mailbox is full."""
        check_message(mailbox, message, ttl)
        if mailbox not in self._boxes and len(self._boxes) >= self._most:
            self._drop_expired(now)
        box = self._boxes.setdefault(mailbox, {})
        _expire(box, now)
        if len(box) >= MAX_MESSAGES:
            return False
        box[message] = now + ttl
        return True

    def unpost(self, mailbox: str, message: bytes, now: float) -> bool:
        """Remove a message; return whether it was there, so that nobody has it or will take it."""
        check_message(mailbox, message)
        box = self._boxes.get(mailbox, {})
        _expire(box, now)
        return box.pop(message, None) is not None

    def take(self, mailbox: str, now: float) -> list[bytes]:
        """Remove and return the messages of a mailbox, in the order in which they were posted."""
        NAME.named("mailbox", mailbox)
        box = self._boxes.pop(mailbox, {})
        _expire(box, now)
        return list(box)

    def _drop_expired(self, now: float) -> None:
        """Drop the mailboxes that nobody takes from, such as those of processes that ended."""
        for mailbox, box in list(self._boxes.items()):
            _expire(box, now)
            if not box:
                del self._boxes[mailbox]
        self._most = max(_LEAST_BOXES, 2 * len(self._boxes))


def _expire(box: dict[bytes, float], now: float) -> None:
    for message in [message for message, until in box.items() if until <= now]:
        del box[message]
