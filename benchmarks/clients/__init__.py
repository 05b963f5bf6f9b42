"""port, compression, count → the seconds between READY and the last dispatch: a client a file.

python -m benchmarks.clients.NAME PORT COMPRESSION DISPATCHES [data]

With `data` the whole payload is decoded where the client leaves that to the application.
"""
