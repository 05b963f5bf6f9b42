"""The running gateway that several test modules use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway_pytest import RunningGateway


@pytest.fixture
def running() -> Iterator[RunningGateway]:
    with RunningGateway() as gateway:
        yield gateway
