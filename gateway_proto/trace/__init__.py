"""Traces: recording and replay of clients, servers and connections as JSON lines.

    recorder = Recorder(file.write)
    client = recorder.client(config)  # an ordinary Client; recorder.server() returns a Server
    ...
    recorder.close()

    for step in replay(open("trace.jsonl")):
        for difference in step.differences:
            print(step.number, difference)

A trace records every input and output, and everything that a replay needs: the config, the random
numbers and the time of each call. Tokens are redacted. The first line states the format; each
further line is one call or its output.
"""

from __future__ import annotations

from gateway_proto.trace.recorder import FORMAT, VERSION, Recorder
from gateway_proto.trace.replay import Difference, Step, TraceError, read, replay

__all__ = ["FORMAT", "VERSION", "Difference", "Recorder", "Step", "TraceError", "read", "replay"]
