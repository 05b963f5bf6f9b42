"""messages → dispatches: the part of a client's connection that receives, by the short road."""

from __future__ import annotations

import abc

from gateway_proto._beating import Beating
from gateway_proto._connection import DROPPED, EVENT_SIZE
from gateway_proto._layers.dispatch import Dispatch
from gateway_proto._layers.inflate import InflateError
from gateway_proto._layers.payloads import NO_DISPATCH, decode_dispatch, read
from gateway_proto._layers.state import Input
from gateway_proto.dialects import Encoding
from gateway_proto.requests import ANSWERS

__all__ = ["Receiving"]

_TELLING = ANSWERS | {"READY", "RESUMED"}
"""Dispatches that tell the machine something."""


class Receiving(Beating, abc.ABC):
    """Dispatches that are for the application alone; all else goes the long way up."""

    __slots__ = ()

    _awaits_answer: bool

    _decode = staticmethod(read)

    def _take_messages(self, messages: list[str | bytes], now: float, *, is_text: bool) -> None:
        """Dispatches that change nothing but the sequence, one after the other; the rest goes up.

        Nearly all that ever comes takes this short road: it makes nothing but the event, and so
        costs a third of the long one.
        """
        inflate, decode, events = self._inflater.receive, decode_dispatch, self._events
        is_steady, heard = self._is_steady(), False
        size, limit = self._events_size, self._events_limit
        following = iter(messages)
        for message in following:
            if not is_text and size >= limit:
                self._events_size = size
                if self._holds([message, *following], now, is_text=False):
                    break
            if not is_steady:
                self._events_size = size
                super()._take_messages([message], now, is_text=is_text)
                size = self._events_size
                is_steady = self._is_steady()
                continue
            try:
                text = message if is_text else inflate(message)
            except InflateError as error:
                self._fail(DROPPED, str(error), now)
                return
            if text is None:
                continue
            if not is_text:
                size += len(text) + EVENT_SIZE
            try:
                dispatch = decode(text)
            except NO_DISPATCH:
                dispatch = None
            if type(dispatch) is not Dispatch:
                self._take_text(text, now, inflated=text is not message)
                is_steady = self._is_steady()
                continue
            if dispatch.name in _TELLING:
                self._received(dispatch, now)
                is_steady = self._is_steady()
                continue
            if dispatch.sequence is not None:
                self._sequence = dispatch.sequence
            events.append(dispatch)
            heard = True
        self._events_size = size
        if heard:
            self._heard()

    def _is_steady(self) -> bool:
        """Whether a dispatch leaves everything as it is."""
        state = self._state
        return (
            self._table.get((state, Input.DISPATCH)) is state
            and not self._heartbeats.held
            and not self._awaits_answer
            and self._config.encoding is Encoding.JSON
        )

    def _heard(self) -> None:
        self._heartbeats.heard()
        self._answered = True
