"""Files of gateway_proto/ that a journey enters, as `python -m benchmarks.journeys` counts them."""

from __future__ import annotations

import pytest

from benchmarks.journeys import GOALS, Journey, journeys


@pytest.fixture(scope="module")
def by_name() -> dict[str, Journey]:
    return {journey.name: journey for journey in journeys()}


@pytest.mark.parametrize("name", GOALS)
def test_journey_enters_few_files(name: str, by_name: dict[str, Journey]) -> None:
    journey = by_name[name]

    assert journey.files <= GOALS[name], str(journey)


def test_general_path_does_not_enter_an_empty_queue(by_name: dict[str, Journey]) -> None:
    for journey in by_name.values():
        assert not {"timing/command_queue.py", "client/requests.py"} & journey.functions.keys(), (
            str(journey)
        )


def test_journey_lists_the_functions_of_each_file(by_name: dict[str, Journey]) -> None:
    text = str(by_name["dispatch"])

    assert "goal: at most 5 files" in text
    assert "  client/fast_path.py: take_dispatches" in text
