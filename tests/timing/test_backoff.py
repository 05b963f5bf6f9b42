"""Backoff delays after consecutive failures, by what failed."""

from __future__ import annotations

from gateway_proto.timing.backoff import Backoff, DialBackoffs


def _backoff(random_source: float = 1.0) -> Backoff:
    return Backoff(initial=1.0, maximum=8.0, random=lambda: random_source)


def test_backoff_bound_doubles_up_to_the_maximum() -> None:
    backoff = _backoff()
    delays = []
    for _ in range(6):
        backoff.record_loss()
        delays.append(backoff.delay())

    assert delays == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_backoff_bound_grows_by_its_factor() -> None:
    backoff = Backoff(initial=2.0, maximum=4.0, random=lambda: 1.0, factor=1.25)
    delays = []
    for _ in range(5):
        backoff.record_loss()
        delays.append(backoff.delay())

    assert delays == [2.0, 2.5, 3.125, 3.90625, 4.0]


def test_backoff_uses_full_jitter() -> None:
    delays = []
    for random_source in (0.0, 0.25, 0.999):
        backoff = _backoff(random_source)
        backoff.record_loss()
        delays.append(backoff.delay())

    assert delays == [0.0, 0.25, 0.999]


def test_backoff_bound_before_any_failure_is_the_first() -> None:
    assert _backoff().delay() == 1.0


def test_thousands_of_failures_do_not_overflow_the_backoff() -> None:
    backoff = _backoff()
    for _ in range(5000):
        backoff.record_loss()

    assert backoff.delay() == 8.0


def test_backoff_reset_clears_all_failures() -> None:
    backoff = _backoff()
    for _ in range(3):
        backoff.record_loss()

    backoff.reset()

    assert (backoff.failures, backoff.delay()) == (0, 1.0)


def test_only_losses_after_identify_wait_up_to_the_maximum() -> None:
    backoffs = DialBackoffs(initial=1.0, maximum=8.0, outage_maximum=4.0, random=lambda: 1.0)
    waits = {}
    for name, backoff in {
        "outage": backoffs.after(reached=False, identified=False),
        "resumed": backoffs.after(reached=True, identified=False),
        "identified": backoffs.after(reached=True, identified=True),
    }.items():
        for _ in range(20):
            backoff.record_loss()
        waits[name] = backoff.delay()

    assert waits == {"outage": 4.0, "resumed": 4.0, "identified": 8.0}


def test_end_of_losses_keeps_the_failures_of_an_outage() -> None:
    backoffs = DialBackoffs(initial=1.0, maximum=8.0, outage_maximum=4.0, random=lambda: 1.0)
    for backoff in (
        backoffs.outage,
        *(backoffs.after(reached=True, identified=it) for it in (True, False)),
    ):
        backoff.record_loss()
    assert backoffs.losses == 2

    backoffs.end_losses()

    assert (backoffs.losses, backoffs.outage.failures) == (0, 1)
