"""words of a command line → demo, serve, tail."""

from gateway_cli.app import main

__all__ = ["main"]
