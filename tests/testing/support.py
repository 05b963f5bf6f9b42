"""Runs of simulations in other processes, and a defect of the store, for their tests."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gateway_proto.fleet import LogHead, LogRecord, ReferenceStore

__all__ = ["digest_elsewhere", "fence_nobody"]


def digest_elsewhere(run: str, hash_seed: str) -> str:
    """Return the digest of the report of `run`, an expression, in a new process."""
    code = f"from gateway_proto.testing import FleetSimulation, Simulation; print({run}.digest)"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return result.stdout.strip()


def fence_nobody(patch: pytest.MonkeyPatch) -> None:
    """Make the reference store append each record, whatever the head of the log is."""
    true = ReferenceStore.append

    def append(self: ReferenceStore, shard: int, _: LogHead, record: LogRecord) -> int | None:
        return true(self, shard, self.head(shard), record)

    patch.setattr(ReferenceStore, "append", append)
