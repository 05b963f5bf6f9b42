"""Words of a command line → demo, serve, tail, doctor, replay, timeline, simulate."""

from gateway_cli.start import main

__all__ = ["main"]
