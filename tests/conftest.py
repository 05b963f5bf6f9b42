"""profiles of Hypothesis: `pytest --hypothesis-profile=long` looks fifty times as long."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("long", max_examples=5000, stateful_step_count=100, deadline=None)
