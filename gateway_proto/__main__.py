"""`python -m gateway_proto` → the command `gateway-proto`, an adapter in the extra `cli`."""

import importlib

importlib.import_module("gateway_cli").main()
