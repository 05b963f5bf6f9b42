"""Bot on Twisted's reactor; reads GATEWAY_TOKEN and GATEWAY_API."""

import os
import random
import time
from typing import Any

from twisted.internet import reactor as any_reactor
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from gateway_proto import Client, Config, Dial, Dispatch, Intents, State

reactor: Any = any_reactor  # its types are for mypy's plugin alone
now = time.monotonic


class Driver(Protocol):
    transport: Any
    timer: Any = None

    def connectionMade(self) -> None:
        self.connection = client.dial_succeeded(now=now())
        self.process_output()

    def dataReceived(self, data: bytes) -> None:
        self.connection.receive_data(data, now=now())
        self.process_output()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.connection.receive_eof(now=now())
        self.process_output()
        dial()

    def on_timer(self) -> None:
        self.connection.handle_timer(now=now())
        self.process_output()

    def process_output(self) -> None:
        """After each change: hand over the events, send the bytes, set the timer."""
        for event in self.connection.events():
            if isinstance(event, Dispatch) and event.name == "MESSAGE_CREATE":
                print(event.data["content"], flush=True)
                if event.data["content"] == "!stop":
                    client.stop(keep_session=False, now=now())
        self.transport.write(self.connection.data_to_send())
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        if self.connection.state is State.CLOSED:
            self.transport.loseConnection()
        elif (at := self.connection.next_timer()) is not None:
            self.timer = reactor.callLater(max(0.0, at - now()), self.on_timer)


def dial() -> None:
    asked = client.next_dial()
    if asked is None:
        reactor.stop()
    else:
        reactor.callLater(max(0.0, asked.at - now()), connect, asked)


def connect(asked: Dial) -> None:
    endpoint: Any = HostnameEndpoint(reactor, asked.host.encode(), asked.port, timeout=20)
    if asked.tls:
        from twisted.internet.ssl import optionsForClientTLS  # pip install twisted[tls]

        endpoint = wrapClientTLS(optionsForClientTLS(asked.host), endpoint)
    endpoint.connect(Factory.forProtocol(Driver)).addErrback(failed)


def failed(failure: Failure) -> None:
    client.dial_failed(failure.getErrorMessage(), now=now())
    dial()


token, api_url = os.environ["GATEWAY_TOKEN"], os.environ.get("GATEWAY_API")
intents = Intents.GUILD_MESSAGES | Intents.MESSAGE_CONTENT
client = Client(Config(token=token, api_url=api_url, intents=intents, random=random.random))
reactor.callWhenRunning(dial)
reactor.run()
raise SystemExit(client.gave_up)  # None, status 0: it was stopped
