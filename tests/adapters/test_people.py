"""Slash commands and modals of members in the world of the fixture."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from gateway_proto.server import Server, ServerConfig, World
from gateway_pytest._people import People
from tests.server.support import http

_WORLD = World.with_guild("Test", members=2)


def _option(name: str, type_: int, **fields: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, **fields}


_OPTIONS = [
    _option("times", 4, required=True, min_value=1, max_value=3),
    _option("text", 3, min_length=2, max_length=4),
    _option("loud", 5),
    _option("ratio", 10, min_value=0.5),
    _option("color", 3, choices=[{"name": "Red", "value": "r"}, {"name": "Blue", "value": "b"}]),
    _option("who", 6),
    _option("odd", 99),
]
_COMMANDS = (
    {"id": "70", "name": "ping", "type": 1, "options": _OPTIONS},
    {"id": "71", "name": "User", "type": 2},
    {"id": "72", "name": "here", "type": 1, "guild_id": "1000", "options": [None, {}]},
    {"id": "73", "name": "there", "type": 1, "guild_id": "5"},
    {"id": "74", "name": "many", "type": 1, "options": [_option("one", 1)]},
)


def _people(world: World = _WORLD, commands: tuple[Any, ...] = _COMMANDS) -> People:
    server = Server(ServerConfig(world=attrs.evolve(world, commands=commands)))
    return People(server, 0.0, "http://127.0.0.1:80/api")


# ----- slash commands -----


def test_slash_uses_the_registered_types() -> None:
    options = {"times": 2, "text": "abc", "loud": True, "ratio": 1, "color": "r"}

    _, made = _people().command("ping", options, None, None)

    assert made["data"]["id"] == "70"
    given = {option["name"]: option["type"] for option in made["data"]["options"]}
    assert given == {"times": 4, "text": 3, "loud": 5, "ratio": 10, "color": 3}


@pytest.mark.parametrize("name", ["anything", "ping"])
def test_slash_without_registered_commands_allows_all(name: str) -> None:
    _, made = _people(commands=()).command(name, {"x": 0.5}, None, None)

    assert made["data"]["options"] == [{"name": "x", "type": 10, "value": 0.5}]


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("pong", {}, "unknown command 'pong': the bot has registered ping, here, many"),
        ("User", {}, "unknown command 'User': the bot has registered ping"),
        ("there", {}, "unknown command 'there'"),
        ("many", {}, "command 'many' has subcommands"),
        ("ping", {}, "command 'ping' requires times: it is left out"),
        ("here", {"x": 1}, "unknown option 'x' of 'here': the command has none"),
        ("ping", {"time": 1}, "unknown option 'time' of 'ping': the command has times, text"),
        ("ping", {"times": "2"}, "invalid option 'times' of 'ping' '2': expected an int"),
        ("ping", {"times": True}, "invalid option 'times' of 'ping' True: expected an int"),
        ("ping", {"times": 1.5}, "invalid option 'times' of 'ping' 1.5: expected an int"),
        ("ping", {"times": 2**53 + 1}, "invalid option 'times' of 'ping' 9007199254740993"),
        ("ping", {"times": 0}, "invalid option 'times' of 'ping' 0: expected at least 1"),
        ("ping", {"times": 4}, "invalid option 'times' of 'ping' 4: expected at most 3"),
        ("ping", {"text": 5}, "invalid option 'text' of 'ping' 5: expected a str"),
        ("ping", {"text": "a"}, "invalid option 'text' of 'ping' 'a': expected at least 2 char"),
        ("ping", {"text": "abcde"}, "invalid option 'text' of 'ping' 'abcde': expected at most 4"),
        ("ping", {"loud": 1}, "invalid option 'loud' of 'ping' 1: expected a bool"),
        ("ping", {"ratio": "1"}, "invalid option 'ratio' of 'ping' '1': expected an int or float"),
        ("ping", {"ratio": 0.1}, "invalid option 'ratio' of 'ping' 0.1: expected at least 0.5"),
        ("ping", {"color": "g"}, "invalid option 'color' of 'ping' 'g': expected one of r, b"),
        ("ping", {"who": "4000"}, "option 'who' of 'ping' is a user, which slash does not build"),
        ("ping", {"odd": "4000"}, "option 'odd' of 'ping' is of an unknown type"),
    ],
)
def test_slash_that_no_member_could_run_raises(
    name: str, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(AssertionError) as caught:
        _people().command(name, options, None, None)

    assert str(caught.value).startswith(text)


# ----- modals -----


def _label(label: str, component: dict[str, Any]) -> dict[str, Any]:
    return {"type": 18, "label": label, "component": component}


def _choices(type_: int, custom_id: str, **fields: Any) -> dict[str, Any]:
    options = [{"label": "One", "value": "1"}, {"label": "Two", "value": "2"}]
    return {"type": type_, "custom_id": custom_id, "options": options, **fields}


_TEXT = {"type": 4, "custom_id": "name", "label": "Name", "min_length": 2, "max_length": 5}
_NOTE = {"type": 4, "custom_id": "note", "label": "Note", "required": False}
_PRESET = {"type": 4, "custom_id": "preset", "value": "as it was"}
_ROWS = {
    "custom_id": "form",
    "title": "A form",
    "components": [{"type": 1, "components": [_TEXT]}, {"type": 1, "components": [_NOTE]}],
}
_LABELS = {
    "custom_id": "labels",
    "title": "With labels",
    "components": [
        {"type": 10, "content": "Fill it in."},
        _label("Preset", _PRESET),
        _label("Menu", _choices(3, "menu", max_values=2)),
        _label("Radio", _choices(21, "radio", required=False)),
        _label("Boxes", _choices(22, "boxes", required=False, min_values=None)),
        _label("Box", {"type": 23, "custom_id": "box"}),
        _label("Who", {"type": 5, "custom_id": "who", "required": False}),
    ],
}


def _showing(*modals: dict[str, Any]) -> People:
    people = _people(commands=())
    for modal in modals:
        _, opened = people.command("open", {}, "general", "member-2")
        people.server.dispatch("INTERACTION_CREATE", opened, now=0.0)
        path = f"/api/interactions/{opened['id']}/{opened['token']}/callback"
        assert http(people.server, "POST", path, {"type": 9, "data": modal})[0] == 204
    return people


@pytest.mark.parametrize("modal", ["form", "A form", _ROWS])
@pytest.mark.parametrize("key", ["name", "Name"])
def test_modal_in_rows_is_submitted_by_its_recipient(modal: Any, key: str) -> None:
    _, made = _showing(_ROWS, _LABELS).modal(modal, {key: "Ann"}, None, None)

    assert made["data"]["custom_id"] == "form"
    rows = [row["components"] for row in made["data"]["components"]]
    assert [(row[0]["custom_id"], row[0]["value"]) for row in rows] == [
        ("name", "Ann"),
        ("note", ""),
    ]
    assert made["member"]["user"]["username"] == "member-2"


def test_last_shown_modal_is_submitted() -> None:
    newer = {**_ROWS, "custom_id": "newer"}

    _, made = _showing(_ROWS, newer).modal("A form", {"name": "Ann"}, "general", "member-1")

    assert made["data"]["custom_id"] == "newer"
    assert made["member"]["user"]["username"] == "member-1"


def test_modal_with_labels_is_submitted_in_labels() -> None:
    given = {"Menu": ["1", "2"], "radio": "2", "Boxes": ["1"], "box": True}

    _, made = _showing(_LABELS).modal("With labels", given, None, None)

    first, *labels = made["data"]["components"]
    assert first == {"type": 10, "id": 1}
    assert {label["type"] for label in labels} == {18}
    inner = [label["component"] for label in labels]
    found = {one["custom_id"]: one.get("value", one.get("values")) for one in inner}
    assert found == {
        "preset": "as it was",
        "menu": ["1", "2"],
        "radio": "2",
        "boxes": ["1"],
        "box": True,
        "who": [],
    }
    ids = [label["id"] for label in labels] + [one["id"] for one in inner]
    assert sorted(ids) == list(range(2, 14))


def test_omitted_optional_inputs_are_empty() -> None:
    _, made = _showing(_LABELS).modal("labels", {"menu": "1"}, None, None)

    inner = {c["component"]["custom_id"]: c["component"] for c in made["data"]["components"][1:]}
    assert inner["menu"]["values"] == ["1"]
    assert (inner["radio"]["value"], inner["boxes"]["values"]) == (None, [])
    assert inner["box"]["value"] is False


def test_modal_of_a_button_has_its_message() -> None:
    people = _people(commands=())
    row = {"type": 1, "components": [{"type": 2, "custom_id": "b", "label": "Open"}]}
    _, message = people.message("x", None, None, {"components": [row]})
    people.server.dispatch("MESSAGE_CREATE", message, now=0.0)
    _, opened = people.component("Open", None, None, None)
    people.server.dispatch("INTERACTION_CREATE", opened, now=0.0)
    path = f"/api/interactions/{opened['id']}/{opened['token']}/callback"
    http(people.server, "POST", path, {"type": 9, "data": _ROWS})

    _, made = people.modal("form", {"name": "Ann"}, None, None)

    assert made["message"]["id"] == message["id"]


@pytest.mark.parametrize(
    ("modal", "inputs", "text"),
    [
        ("x", {}, "unknown modal 'x': the bot has shown With labels (labels), A form (form)"),
        ("form", {"Nam": "Ann"}, "unknown input 'Nam': the modal has Name (name), Note (note)"),
        ("form", {}, "required input Name (name) is left out"),
        ("form", {"name": ""}, "required input Name (name) is left out"),
        ("form", {"name": "Ann", "Name": "Ann"}, "input Name (name) is given twice"),
        ("form", {"name": "A"}, "invalid input Name (name) 'A': expected 2 to 5 characters"),
        ("form", {"name": 5}, "invalid input Name (name) 5: expected a str"),
        ("labels", {}, "required input Menu (menu) is left out: give values of ['1', '2']"),
        ("labels", {"menu": "3"}, "invalid input Menu (menu) '3': expected values of '1', '2'"),
        ("labels", {"menu": []}, "invalid input Menu (menu) []: expected 1 to 2 values"),
        ("labels", {"menu": 5}, "invalid input Menu (menu) 5: expected values of"),
        ("labels", {"menu": "1", "radio": ["1", "2"]}, "invalid input Radio (radio)"),
        ("labels", {"menu": "1", "box": "on"}, "invalid input Box (box) 'on': expected a bool"),
        ("labels", {"menu": "1", "who": 4000}, "invalid input Who (who) 4000: expected ids as str"),
        ("labels", {"menu": "1", "who": ["5"]}, "invalid value '5': expected an id of the guild's"),
        ("labels", {"menu": "1", "who": ["4000", "4001"]}, "invalid input Who (who)"),
    ],
)
def test_modal_that_no_member_could_submit_raises(
    modal: str, inputs: dict[str, Any], text: str
) -> None:
    people = _showing(_ROWS, _LABELS)

    with pytest.raises(AssertionError) as caught:
        people.modal(modal, inputs, None, None)

    assert str(caught.value).startswith(text)


# ----- objects that a modal refers to -----

_UPLOAD = {"type": 19, "custom_id": "file", "max_values": 2, "file_types": ["image", ".CSV"]}
_FILES = {
    "custom_id": "files",
    "title": "With files",
    "components": [
        _label("File", _UPLOAD),
        _label("Extra", {"type": 19, "custom_id": "extra", "required": False}),
        _label("Who", {"type": 7, "custom_id": "who", "max_values": 3, "required": False}),
        _label("Where", {"type": 8, "custom_id": "where", "default_values": [{"id": "2001"}]}),
    ],
}


def test_uploaded_files_of_a_modal_can_be_downloaded() -> None:
    people = _showing(_FILES)

    _, made = people.modal("files", {"File": {"a b.png": b"7", "x.csv": b"[1]"}}, None, None)

    upload, extra = (made["data"]["components"][at]["component"] for at in (0, 1))
    attachments = made["data"]["resolved"]["attachments"]
    assert (upload["values"], extra["values"]) == (list(attachments), [])
    found = [(one["filename"], one["size"], one["content_type"]) for one in attachments.values()]
    assert found == [("a b.png", 1, "image/png"), ("x.csv", 3, "text/csv")]
    urls = [one["url"].removeprefix("http://127.0.0.1:80") for one in attachments.values()]
    assert urls[0].endswith("/a%20b.png")
    assert all(one["ephemeral"] for one in attachments.values())
    answers = [http(people.server, "GET", url, token=None) for url in urls]
    assert answers == [(200, 7), (200, [1])]
    assert not people.server.rest.unknown


def test_selected_objects_of_a_modal_are_resolved() -> None:
    given = {"File": {"x.csv": b""}, "Who": ["4000", "1000"]}

    _, made = _showing(_FILES).modal("files", given, None, None)

    resolved = made["data"]["resolved"]
    assert resolved["users"]["4000"]["username"] == "member-1"
    assert resolved["roles"]["1000"]["name"] == "@everyone"
    assert resolved["channels"]["2001"]["name"] == "Voice"
    assert set(resolved["members"]) == {"4000"}
    assert made["data"]["components"][3]["component"]["values"] == ["2001"]


@pytest.mark.parametrize(
    ("files", "text"),
    [
        (None, "required input File (file) is left out: give files"),
        ({}, "invalid input File (file) {}: expected 1 to 2 files"),
        (b"x", "invalid input File (file) b'x': expected files of at most 10 MiB as {filename:"),
        ({"x.csv": "x"}, "invalid input File (file) {'x.csv': 'x'}: expected files of at most"),
        ({"": b""}, "invalid input File (file) {'': b''}: expected files of at most 10 MiB"),
        ({"a/b.csv": b""}, "invalid input File (file) {'a/b.csv': b''}: expected files of at"),
        ({"x.csv": bytes(10 * 2**20 + 1)}, "invalid input File (file) {'x.csv': b'"),
        ({"x.pdf": b""}, "invalid input File (file) {'x.pdf': b''}: expected files of ['image', "),
        ({"1.csv": b"", "2.csv": b"", "3.csv": b""}, "invalid input File (file) {'1.csv': b''"),
    ],
)
def test_files_that_no_member_could_upload_raise(files: Any, text: str) -> None:
    people = _showing(_FILES)

    with pytest.raises(AssertionError) as caught:
        people.modal("files", {"File": files}, None, None)

    assert str(caught.value).startswith(text)


def test_modal_before_any_was_shown_raises() -> None:
    with pytest.raises(AssertionError, match="has shown no modal: wait for the request in which"):
        _people().modal("form", {}, None, None)


def test_selected_object_that_does_not_exist_raises() -> None:
    menu = {"type": 1, "components": [{"type": 5, "custom_id": "who"}]}
    message = {"id": "9", "channel_id": "2000", "components": [menu]}
    world = attrs.evolve(World.with_guild(members=1), messages=[message])

    with pytest.raises(AssertionError, match="invalid value '404': expected an id"):
        _people(world, ()).component("who", ["404"], None, None)
