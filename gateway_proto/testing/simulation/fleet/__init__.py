"""Simulation of a fleet: shards over several machines, which share one store."""
