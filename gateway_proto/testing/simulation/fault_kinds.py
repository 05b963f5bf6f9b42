"""The kinds of faults that a simulation injects."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["FAULT_KINDS"]

FAULT_KINDS: Mapping[str, str] = MappingProxyType(
    {
        # the network
        "latency": "a connection becomes slow for some minutes",
        "chop": "sent data arrives in small pieces from now on",
        "reorder": "one direction of a connection is delayed for some seconds",
        "cut": "a connection drops, and data in transfer is lost",
        "cut_up": "a connection drops in the middle of data that a client sends, at any byte",
        "cut_down": "a connection drops in the middle of data that a server sends, at any byte",
        "silence": "all data is lost in both directions, without an error",
        "silence_up": "all data from the client to the server is lost, without an error",
        "silence_down": "all data from the server to the client is lost, without an error",
        "refuse": "dials are refused for some minutes",
        "unreachable": "dials are not answered for some minutes",
        "slow_reader": "a server does not read from a client for a while",
        "corrupt_up": "a bit of the data that a client sends is flipped",
        "corrupt_down": "a bit of the data that a server sends is flipped",
        # servers
        "restart": "a server closes all connections and is down for a while; sessions are kept",
        "server_crash": "a server drops all connections and is down for a while; sessions are lost",
        "move": "a server moves to other hosts; the old hosts no longer exist",
        "reconnect": "op 7",
        "redirect": "op 7 with the URL of another host (version 3), or without a URL",
        "invalidate": "op 9, and the session is lost",
        "invalidate_resumable": "op 9, and the session may be resumed (if the version allows it)",
        "no_acks": "heartbeats are no longer acknowledged on a connection",
        "expire": "a session is forgotten, and its connection dropped",
        "rate_limit": "close code 4008",
        "dead_resume_host": "the host of the resume URL refuses dials for some minutes",
        "http_error": "lookups and upgrades are answered with an HTTP error for some minutes",
        "sequence_back": "the sequence of a session decreases, and dispatches continue",
        "spare_ack": "an unexpected heartbeat ACK, and from then on none",
        "ping_flood": "a server sends thousands of pings and does not read",
        "bomb": "a message above the client's limit, compressed or not",
        "untrusted_url": "lookups, READY and op 7 contain URLs of untrusted hosts",
        "heartbeat_request": "op 1",
        "garbage": "a server sends bytes that are not a valid frame",
        # applications
        "slow_consumer": "an application takes seconds for each event, and receives many",
        "commands": "an application sends more commands than the rate limits allow",
        "large_dispatches": "a loop is blocked and then slow while large dispatches arrive",
        "pause": "a client pauses reading, and for some seconds after that no data arrives",
        "stop_at_slot": "a client is stopped, and then granted the identify slot it waited for",
        "crash": "a process ends at once: only its stored session is left",
        "stop": "an application stops its client, with or without its session, and starts again",
        # clocks
        "suspend": "a system is suspended, and its monotonic clock stands still",
        "stall": "a loop is blocked for a while",
        "clock_jump": "unix time is set, forwards or backwards",
    }
)
"""The description of each kind of fault, by name."""
