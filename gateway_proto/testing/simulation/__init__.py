"""Simulation of many clients and servers under injected faults, in virtual time."""
