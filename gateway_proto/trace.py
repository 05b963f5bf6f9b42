"""a machine's life ↔ JSON lines: recorded as it goes, driven again as it went.

    recorder = Recorder(file.write)
    client = recorder.client(config)  # a Client as any other; recorder.server() is a Server
    ...
    recorder.close()

    for step in replay(open("trace.jsonl")):
        for difference in step.differences:
            print(step.number, difference)

A trace is what a machine was told and what it said, and all that it takes to do it again: the
config, the chance that was drawn, the time of each call. It holds no token. The first line names
the format; each further line is one call of the contract, or what one handed over.
"""

from __future__ import annotations

from gateway_proto._tracing.recorder import FORMAT, VERSION, Recorder
from gateway_proto._tracing.replay import Difference, Step, TraceError, read, replay

__all__ = ["FORMAT", "VERSION", "Difference", "Recorder", "Step", "TraceError", "read", "replay"]
