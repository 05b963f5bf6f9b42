"""Benchmarks of speed and memory, compared with a bare read loop and other clients."""
