"""Bot on Twisted's reactor; reads GATEWAY_TOKEN and GATEWAY_API."""

import os
import random
import time

from twisted.internet import reactor
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.protocol import Protocol

from gateway_proto import Client, Config, Dispatch, Intents, State

now = time.monotonic


class Driver(Protocol):
    timer = None

    def connectionMade(self):
        self.connection = client.dial_succeeded(now=now())
        self.process_output()

    def dataReceived(self, data):
        self.connection.receive_data(data, now=now())
        self.process_output()

    def connectionLost(self, reason):
        self.connection.receive_eof(now=now())
        self.process_output()
        dial()

    def on_timer(self):
        self.connection.handle_timer(now=now())
        self.process_output()

    def process_output(self):
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


def dial():
    asked = client.next_dial()
    if asked is None:
        reactor.stop()
    else:
        reactor.callLater(max(0.0, asked.at - now()), connect, asked)


def connect(asked):
    endpoint = HostnameEndpoint(reactor, asked.host.encode(), asked.port, timeout=20)
    if asked.tls:
        from twisted.internet.ssl import optionsForClientTLS  # pip install twisted[tls]

        endpoint = wrapClientTLS(optionsForClientTLS(asked.host), endpoint)
    connectProtocol(endpoint, Driver()).addErrback(failed)


def failed(failure):
    client.dial_failed(failure.getErrorMessage(), now=now())
    dial()


token, api_url = os.environ["GATEWAY_TOKEN"], os.environ.get("GATEWAY_API")
intents = Intents.GUILD_MESSAGES | Intents.MESSAGE_CONTENT
client = Client(Config(token=token, api_url=api_url, intents=intents, random=random.random))
reactor.callWhenRunning(dial)
reactor.run()
raise SystemExit(client.gave_up)  # None, status 0: it was stopped
