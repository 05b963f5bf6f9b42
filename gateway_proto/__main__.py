"""Entry point of `python -m gateway_proto`: the command `gateway-proto`, of the extra `cli`."""

import importlib

importlib.import_module("gateway_cli").main()
