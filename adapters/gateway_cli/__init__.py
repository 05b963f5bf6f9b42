"""Command line `gateway-proto`: demo, serve, tail, doctor, replay, timeline, simulate."""

from gateway_cli.start import main

__all__ = ["main"]
