"""Fixtures of the tests of fleets."""

from __future__ import annotations

import pytest

from gateway_proto.fleet import ReferenceStore


@pytest.fixture
def store() -> ReferenceStore:
    return ReferenceStore()
