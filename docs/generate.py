"""Generator of `docs/versions/`: a page for each version, and one that compares them.

python docs/generate.py          # write the pages
python docs/generate.py --check  # exit with 1 if a page is out of date
"""

from __future__ import annotations

import ast
import enum
import inspect
import pathlib
import sys
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from gateway_proto import Compression, Opcode, ProtocolVersion, State
from gateway_proto.state import TRANSITIONS, Input
from gateway_proto.versions import VERSIONS, CloseCodePolicy, NextAction

Table: TypeAlias = Mapping[tuple[State, Input], State]
FOLDER = pathlib.Path(__file__).parent / "versions"
_NOTE = "<!-- Written by docs/generate.py from versions.py and state.py: change those. -->\n"
_SINCE = {
    3: "Described by the unofficial document of 2016-02-20; in use from autumn 2015. Details that "
    "it omits are taken from clients of that time.",
    4: "From 2016-03-31 on: version and encoding are in the query of the URL, and a session that "
    "cannot be resumed is answered with INVALID_SESSION.",
    5: "From 2016-06-06 on: the server sends HELLO first, and acknowledges heartbeats.",
    6: "From July 2016 on, and still answered. Later additions are included: "
    "compressed streams, intents, the resume URL.",
    7: "Never documented. Clients that named it meant version 6.",
    8: "From 2020-09-24 on: intents are required, activities replace the game.",
    9: "From 2021-04-28 on: threads.",
    10: "From 2022-02-14 on: the content of messages requires a separate intent.",
}
_SHORT = {
    Input.OPENED: "open",
    Input.END: "the end",
    Input.INVALID_SESSION_SAME_CONNECTION: "op 9, stays",
}
"""Short labels for the arrows; the tables have the full names."""
_OMITTED = {"number", "close_policies", "commands"}  # they have separate sections
_ACTIONS = {
    NextAction.RESUME: "resumes",
    NextAction.IDENTIFY: "identifies",
    NextAction.STOP: "gives up",
}


def _docs() -> dict[str, str]:
    """Return the description of each field of `ProtocolVersion`, by name."""
    docs = {
        "api_url": "Base URL of `/gateway`.",
        "compressions": "Supported compressions of the server's messages.",
        "lookup_cacheable": "Whether the lookup's answer may be kept for the next connection.",
        "acks_heartbeats": "Whether the server acknowledges heartbeats.",
        "heartbeat_format": "Data of a heartbeat.",
        "property_prefix": "Prefix of each name of Identify's properties.",
        "property_names": "The properties of Identify.",
        "large_threshold_range": "Allowed values, from and to.",
        "intents_required": "Whether Identify must carry `intents`.",
        "presence_format": "Fields of a presence.",
        "presence_in_identify": "Whether Identify may carry a presence.",
        "resume_with_token": "Whether Resume carries the token.",
        "resume_url_in_ready": "Whether READY contains the resume URL.",
    }
    (class_,) = ast.parse(textwrap.dedent(inspect.getsource(ProtocolVersion))).body
    assert isinstance(class_, ast.ClassDef)
    for field, after in zip(class_.body, [*class_.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr):
            assert isinstance(field.target, ast.Name) and isinstance(after.value, ast.Constant)
            docs[field.target.id] = " ".join(str(after.value.value).split())
    return docs


def _text_of(value: Any) -> str:
    """Return a value as text."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case enum.Enum():
            return str(value.value)
        case frozenset():
            return ", ".join(c.value for c in Compression if c in value)
        case str():
            return f"`{value}`" if value else "-"
        case (str(), *_):
            return ", ".join(f"`{part}`" for part in value)
        case (low, high):
            return f"{low:g}, {high:g}"
        case _:
            return f"{value:g}"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(text, 100, subsequent_indent=indent, break_on_hyphens=False)


def diagram(table: Table) -> str:
    """Return a mermaid diagram of a transition table, without transitions that keep the state.

    Inputs between the same states share an arrow.
    """
    arrows: dict[tuple[State, State], list[str]] = {}
    for (before, input_), after in table.items():
        if before is not after:
            label = _SHORT.get(input_, input_.value)
            arrows.setdefault((before, after), []).append(label)
    order = list(State)
    lines = [f"    [*] --> {State.CONNECTING.name}"]
    for before, after in sorted(arrows, key=lambda pair: tuple(map(order.index, pair))):
        lines.append(f"    {before.name} --> {after.name}: {'<br/>'.join(arrows[before, after])}")
    lines.append(f"    {State.CLOSED.name} --> [*]")
    return "```mermaid\nstateDiagram-v2\n" + "\n".join(lines) + "\n```\n"


def cells(table: Table) -> str:
    """Return the whole transition table: a row for each input, a column for each state."""
    states = [s for s in State if any(s in (before, table[before, i]) for before, i in table)]
    inputs = [i for i in Input if any(i is input_ for _, input_ in table)]
    rows = []
    for input_ in inputs:
        afters = [table.get((state, input_)) for state in states]
        row = [
            "-" if after is None else "stays" if after is state else f"**{after.name}**"
            for state, after in zip(states, afters, strict=True)
        ]
        rows.append([input_.value, *row])
    return _table(["input", *(state.name for state in states)], rows)


def _close(code: int, after: CloseCodePolicy) -> list[str]:
    does = _ACTIONS[after.next_action]
    if after.min_delay:
        does += f", after {after.min_delay:g} s at least"
    if after.action_if_resuming is not None:
        does += f"; in answer to a Resume, {_ACTIONS[after.action_if_resuming]}"
    if after.caused_by_command:
        does += "; twice after the same command, gives up"
    return [str(code), after.meaning, does]


def _page(version: ProtocolVersion, before: ProtocolVersion | None) -> str:
    docs, number = _docs(), version.number
    fields = [name for name in version.__struct_fields__ if name not in _OMITTED]
    rows = []
    for name in fields:
        own, old = _text_of(getattr(version, name)), _text_of(getattr(before or version, name))
        rows.append([f"`{name}`", own if own == old else f"**{own}** (was {old})", docs[name]])
    ops = sorted(version.commands)
    closes = [_close(*row) for row in sorted(version.close_policies.items())]
    states = "client_with_hello" if version.sends_hello else "client_without_hello"
    asks = " Changes from the previous version are in bold." if before else ""
    return f"""{_NOTE}
# Version {number}

{_filled(_SINCE[number])}

Select it with `Config(version={number}, ...)` or `--api-version {number}`. Its data is the value
`VERSIONS[{number}]`. [The versions](README.md) compares all of them.

## Fields

Times are seconds, sizes are bytes.{asks}

{_table(["field", "value", "meaning"], rows)}
## Commands of a client

{_table(["op", "name"], ([str(int(op)), op.name] for op in ops))}
## Close codes

After any other close code, or none, the client resumes. `Config.close_policies` changes these
actions.

{_table(["code", "means", "the client"], closes)}
## The states of a client

The arrows are inputs that change the state; the table below has every input. A client ignores
inputs that have no transition (-).

{diagram(TRANSITIONS[states])}
{cells(TRANSITIONS[states])}"""


def _index() -> str:
    docs = _docs()
    first = VERSIONS[min(VERSIONS)]
    differing = [
        name
        for name in first.__struct_fields__
        if name not in _OMITTED and len({_text_of(getattr(v, name)) for v in VERSIONS.values()}) > 1
    ]
    rows = [
        [f"`{name}`", *(_text_of(getattr(v, name)) for v in VERSIONS.values()), docs[name]]
        for name in differing
    ]
    ops = [
        [f"{int(op)} {op.name}", *(_text_of(op in v.commands) for v in VERSIONS.values())]
        for op in Opcode
        if any(op in v.commands for v in VERSIONS.values())
    ]
    codes = sorted({code for v in VERSIONS.values() for code in v.close_policies})
    closes = [
        [
            str(code),
            *(
                v.close_policies[code].next_action.value if code in v.close_policies else "-"
                for v in VERSIONS.values()
            ),
        ]
        for code in codes
    ]
    links = [f"[{version}]({version}.md)" for version in VERSIONS]
    since = "".join(
        _filled(f"- [Version {version}]({version}.md). {_SINCE[version]}", "  ") + "\n"
        for version in VERSIONS
    )
    return f"""{_NOTE}
# The versions

Each version of the protocol is a `ProtocolVersion`, a value of data. No other code compares
versions. `VERSIONS` contains them by number.

{since}
## Differences

Fields of `ProtocolVersion` that are equal in all versions are omitted; the page of each version
lists them.

{_table(["field", *links, "meaning"], rows)}
## Commands of a client

{_table(["op", *links], ops)}
## Actions after a close code

The action is `resume`, `identify` or `stop`, as in `NextAction`. After a code that the version does
not define (-) the client resumes.

{_table(["code", *links], closes)}
## The states of a server

They are the same for every version. An input that has no transition (-) closes the connection, so
that client errors are reported.

{diagram(TRANSITIONS["server"])}
{cells(TRANSITIONS["server"])}"""


def pages() -> dict[pathlib.Path, str]:
    """Return each generated page with its text."""
    versions = list(VERSIONS.values())
    written = {FOLDER / "README.md": _index()}
    for before, version in zip([None, *versions], versions, strict=False):
        written[FOLDER / f"{version.number}.md"] = _page(version, before)
    return written


def main() -> int:
    """Write the pages, or check them; return the exit status."""
    check = "--check" in sys.argv[1:]
    written = pages()
    stale = [path for path in written if not path.exists() or path.read_text() != written[path]]
    for path in stale:
        print(path.relative_to(FOLDER.parent), "is not up to date" if check else "is written")
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(written[path])
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
