"""Config of clients under test, and all events of a gateway."""

from __future__ import annotations

from gateway_proto import Config, Event
from gateway_proto.driver.event_queue import BaseGateway

CONFIG = Config(token="t", intents=0, gateway_url="ws://localhost")


def take_all(gateway: BaseGateway) -> list[Event]:
    return list(iter(gateway._next_event, None))
