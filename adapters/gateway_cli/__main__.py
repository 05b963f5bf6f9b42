"""Entry point of `python -m gateway_cli`: the command `gateway-proto`."""

from gateway_cli import main

main()
