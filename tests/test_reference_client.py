"""The client and the reference client: equal output and events for equal input."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from gateway_proto import Client, ClientConnection, CloseCodePolicy, NextAction
from gateway_proto.client import connection
from gateway_proto.client.outcome import ConnectionOutcome
from gateway_proto.timing.heartbeat import HeartbeatScheduler
from gateway_proto.timing.rate_limit import SlidingWindow
from gateway_proto.timing.timers import Timer
from tests.client_state_machine import state_machine_of

VERSIONS = [3, 4, 5, 6, 7, 8, 9, 10]
# The phase "explain" takes a minute, and the steps are sufficient.
_SETTINGS = settings(
    deadline=None,
    phases=[Phase.reuse, Phase.generate, Phase.shrink],
    report_multiple_bugs=False,
)


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_client_matches_the_reference_client(version: int) -> None:
    run_state_machine_as_test(state_machine_of(version), settings=_SETTINGS)


# ----- detection of defective clients -----


def _forgets_jitter(self: Any, milliseconds: Any, name: str, now: float, *, first: float) -> bool:
    return _START_HEARTBEATS(self, milliseconds, name, now, first=1.0)


def _moves_the_schedule(self: Any, now: float) -> None:
    _SEND_HEARTBEAT(self, now)
    self._heartbeats.record_sent(now)
    self._timers.set(Timer.HEARTBEAT, self._heartbeats.due)


def _keeps_the_sequence(self: Any, dispatch: Any, now: float) -> None:
    before = self._sequence
    _READY(self, dispatch, now)
    self._sequence = self._sequence if before is None else before


def _resumes_always(config: Any, code: int | None) -> Any:
    return CloseCodePolicy(NextAction.RESUME, "")


def _stays_on_the_resume_url(self: Any) -> bool:
    return self._session is not None and self._session.resume_url is not None


_START_HEARTBEATS = ClientConnection._start_heartbeats
_SEND_HEARTBEAT = ClientConnection._send_heartbeat
_READY = ClientConnection._handle_ready
_REDIRECT = property(lambda self: None, lambda self, value: None)
_MUTANTS: dict[str, tuple[int, Any, str, Any]] = {
    "the first heartbeat is sent after a whole interval": (
        *(10, ClientConnection),
        *("_start_heartbeats", _forgets_jitter),
    ),
    "a requested heartbeat moves the schedule": (
        *(5, ClientConnection),
        *("_send_heartbeat", _moves_the_schedule),
    ),
    "heartbeats are sent between Resume and its response": (
        *(10, ClientConnection),
        *("_may_send_heartbeat", lambda self: True),
    ),
    "zombies are never detected": (6, HeartbeatScheduler, "is_zombie", lambda self: False),
    "READY keeps the sequence of the previous session": (
        *(8, ClientConnection),
        *("_handle_ready", _keeps_the_sequence),
    ),
    "every close may be resumed": (9, connection, "close_policy", _resumes_always),
    "presences have no limit": (3, SlidingWindow, "next_slot_at", lambda self, now, reserve=0: now),
    "a redirect is ignored": (4, ConnectionOutcome, "redirect", _REDIRECT),
    "a dead gateway is not looked up again": (
        3,
        Client,
        "_gateway_failed",
        lambda self, permanent=False: None,
    ),
    "a dead resume URL is dialled without an end": (
        *(7, Client),
        *("_on_resume_url", _stays_on_the_resume_url),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("mutant", _MUTANTS)
def test_defective_client_is_detected(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    version, owner, name, wrong = _MUTANTS[mutant]
    monkeypatch.setattr(owner, name, wrong)

    with pytest.raises(AssertionError) as caught:
        run_state_machine_as_test(state_machine_of(version), settings=_QUICK)

    assert caught.traceback[-1].name in ("both_are_the_same", "_same_dial")


_QUICK = settings(
    deadline=None,
    database=None,
    derandomize=True,
    max_examples=300,
    phases=[Phase.generate],
    report_multiple_bugs=False,
)
