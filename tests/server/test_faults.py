"""Recovery from every fault in virtual time, and scenarios in JSON and YAML."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_proto import GaveUp, LocalProtocolError
from gateway_proto.server import Fault, Scenario
from tests.server.fault_links import (
    EVERY,
    close_events,
    is_ready,
    received_numbers,
    run_with_faults,
)

# ----- recovery from every fault -----


@pytest.mark.parametrize("fault", EVERY, ids=lambda f: f"{f.what}-{f.on}-{f.code}-{f.size}-{f.nth}")
@pytest.mark.parametrize("compression", ["none", "zlib-stream", "zstd-stream"])
def test_client_becomes_ready_after_any_single_fault(fault: Fault, compression: str) -> None:
    link = run_with_faults(fault, compression=compression)

    assert is_ready(link), close_events(link)
    assert not [event for event in link.client.events if isinstance(event, GaveUp)]
    assert 4 in received_numbers(link)


@pytest.mark.parametrize("fault", EVERY, ids=lambda f: f"{f.what}-{f.on}-{f.code}-{f.size}-{f.nth}")
@pytest.mark.parametrize("version", [3, 6])
def test_client_of_other_versions_becomes_ready_after_a_fault(fault: Fault, version: int) -> None:
    link = run_with_faults(fault, version=version, intents=None)

    assert is_ready(link), close_events(link)
    # Version 3 has no ACKs: silence after READY cannot be distinguished from an idle server.
    unnoticed = version == 3 and (fault.what, fault.on, fault.size) in (
        ("silence", "dispatch", 0),
        ("merge", "ready", 99),
    )
    assert (4 in received_numbers(link)) is not unnoticed


def test_scenario_is_deterministic() -> None:
    faults = [Fault("drop", on="dispatch", size=9), Fault("corrupt", on="resumed", connection=2)]

    first, second = run_with_faults(*faults), run_with_faults(*faults)

    assert first.client.events == second.client.events
    assert len(close_events(first)) == 2


# ----- scenarios in files -----


def test_scenario_is_read_from_json() -> None:
    text = '[{"what": "close", "code": 4009, "on": "dispatch", "nth": 3, "connection": null}]'

    assert Scenario.from_json(text) == Scenario(
        [Fault("close", code=4009, on="dispatch", nth=3, connection=None)]
    )


@pytest.mark.parametrize(
    ("text", "error_text"),
    [
        ("{}", "invalid scenario"),
        ("[5]", "invalid scenario"),
        ("[{}]", "fault 1 of the scenario has .*: expected what"),
        ('[{"what": "drop"}, {"what": "drop", "when": 5}]', "fault 2 of the scenario"),
        ('[{"what": "explode"}]', "invalid Fault.what 'explode': expected one of refuse, drop"),
        ('[{"what": "drop", "on": "monday"}]', "invalid Fault.on 'monday'"),
        ('[{"what": "close", "code": "x"}]', "fault 1 of the scenario: "),
    ],
)
def test_invalid_scenario_is_rejected(text: str, error_text: str) -> None:
    with pytest.raises(LocalProtocolError, match=error_text):
        Scenario.from_json(text)
    with pytest.raises(LocalProtocolError, match=error_text):
        Scenario.from_yaml(text)  # JSON is also YAML


def test_scenario_in_yaml_may_have_the_unquoted_key_on() -> None:
    text = """
    - what: close
      code: 4009
      on: dispatch
      connection: null
    - {what: drop, size: 3}
    """

    assert Scenario.from_yaml(text) == Scenario(
        [Fault("close", code=4009, on="dispatch", connection=None), Fault("drop", size=3)]
    )


@pytest.mark.parametrize(
    "text",
    [
        "a: b",
        "\0",
        b"\xff\xfe\xff",
        "[" * 3000,
        "- !!python/object:os.system {}",
        "a: &a [*a]",
        "- &a {what: *a}",
        "- {what: 2020-99-99}",
        "- {what: drop, 5: 6}",
        "- {what: drop, [1]: 6}",
        "- {what: drop",
    ],
)
def test_invalid_yaml_scenario_is_rejected(text: str | bytes) -> None:
    with pytest.raises(LocalProtocolError, match="scenario"):
        Scenario.from_yaml(text)


# ----- random scenarios -----

_ANY = st.builds(
    Fault,
    st.sampled_from([fault.what for fault in EVERY]),
    on=st.sampled_from([fault.on for fault in EVERY] + ["resume", "resumed"]),
    connection=st.integers(1, 3),
    nth=st.integers(1, 3),
    after=st.sampled_from([0.0, 0.5, 20.0]),
    code=st.sampled_from([1000, 1001, 4000, 4007, 4008, 4009]),
    size=st.sampled_from([0, 1, 5, 50, 200_000]),
    resumable=st.booleans(),
    url=st.sampled_from([None, "ws://dead.localhost", "wss://evil.example"]),
    seconds=st.sampled_from([0.1, 5.0, 100.0]),
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    st.lists(_ANY, min_size=1, max_size=5),
    st.sampled_from([(3, "payload"), (4, "none"), (6, "zlib-stream"), (10, "zstd-stream")]),
)
def test_client_becomes_ready_after_faults_on_three_connections(
    faults: list[Fault], form: tuple[int, str]
) -> None:
    version, compression = form
    intents = None if version == 3 else 0
    link = run_with_faults(
        *faults,
        dispatches=8,
        seconds=900,
        version=version,
        compression=compression,
        intents=intents,
    )

    assert is_ready(link)
    assert not [event for event in link.client.events if isinstance(event, GaveUp)]
    numbers = received_numbers(link)
    assert numbers == sorted(numbers)
