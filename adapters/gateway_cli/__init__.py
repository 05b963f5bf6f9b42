"""words of a command line → demo, serve, tail, replay, timeline."""

from gateway_cli.app import main

__all__ = ["main"]
