"""kinds of trouble → what each of them is, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["KINDS"]

KINDS: Mapping[str, str] = MappingProxyType(
    {
        # the network
        "latency": "a wire becomes slow for some minutes",
        "chop": "what is sent on a wire arrives in small pieces from now on",
        "reorder": "one direction of a wire is held back for a while, and others pass it",
        "cut": "a wire breaks, and what is on its way is lost",
        "cut_up": "a wire breaks in the middle of what a client sends, at any byte",
        "cut_down": "a wire breaks in the middle of what a server sends, at any byte",
        "silence": "nothing arrives on a wire any more, and nobody is told",
        "silence_up": "the same from the client to the server alone",
        "silence_down": "the same from the server to the client alone",
        "refuse": "dials are refused for some minutes",
        "unreachable": "dials are not answered at all for some minutes",
        "slow_reader": "a server does not read from a client for a while",
        "corrupt_up": "a bit of what a client sends is turned over",
        "corrupt_down": "a bit of what a server sends is turned over",
        # servers
        "restart": "a server closes all connections, is away for a while, and knows its sessions",
        "server_crash": "a server breaks all wires, is away for a while, and knows no session",
        "move": "a server moves to other hosts, which lookups name, and those of before are gone",
        "reconnect": "op 7",
        "redirect": "op 7 with the URL of another door (version 3), or with none",
        "invalidate": "op 9, and the session is lost",
        "invalidate_resumable": "op 9, and the session may be resumed (where the version says so)",
        "no_acks": "heartbeats are acknowledged no more on a connection",
        "expire": "a session is forgotten, and its connection dropped",
        "rate_limit": "close code 4008",
        "dead_resume_host": "the host of the resume URL refuses dials for some minutes",
        "http_error": "lookups and upgrades are answered with an HTTP error for some minutes",
        "sequence_back": "the sequences of a session go back, and its dispatches go on",
        "spare_ack": "a heartbeat ACK that nothing awaits, and from then on none",
        "ping_flood": "a server sends thousands of pings, and does not read",
        "bomb": "a message that is larger than the client allows, compressed or not",
        "lure": "lookups, READY and op 7 name hosts to which no token may go",
        "beat_request": "op 1",
        "garbage": "a server sends bytes that are no frame",
        # applications
        "slow_consumer": "an application takes seconds for each event, and many come",
        "commands": "an application sends more commands than the limits let through",
        "large_dispatches": "a loop is blocked and then slow, and meanwhile large dispatches come",
        "pause": "nothing is read for a while, and for some seconds after it nothing arrives",
        "stop_at_slot": "a client is stopped, and then granted the identify slot it waited for",
        "crash": "a process dies: all is lost but its stored session",
        "stop": "an application stops its client, with or without its session, and starts again",
        # clocks
        "suspend": "a machine sleeps, and its monotonic clock stands still",
        "stall": "a loop is blocked for a while",
        "clock_jump": "unix time is set, forwards or backwards",
    }
)
"""Every kind of trouble that a simulation makes, by name."""
