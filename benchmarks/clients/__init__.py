"""Clients, one per file: each measures the seconds from READY to the last dispatch.

python -m benchmarks.clients.NAME PORT COMPRESSION DISPATCHES [data]

With `data` the whole payload is decoded where the client leaves that to the application.
"""
