"""Encodings as parameters of tests; those that need a missing optional package are skipped."""

from __future__ import annotations

import pytest

from gateway_proto.encoding import etf

__all__ = ["ENCODINGS", "NEEDS_ETF"]

NEEDS_ETF = pytest.mark.skipif(not etf.available(), reason="the extra etf is not installed")
ENCODINGS = ["json", pytest.param("etf", marks=NEEDS_ETF)]
