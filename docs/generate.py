"""Generator of `docs/dialects/`: a page for each version, and one that compares them.

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

from gateway_proto import DIALECTS, TRANSITIONS, Compression, Dialect, Input, Opcode, State
from gateway_proto.dialects import AfterClose, Then

Table: TypeAlias = Mapping[tuple[State, Input], State]
FOLDER = pathlib.Path(__file__).parent / "dialects"
_NOTE = "<!-- Written by docs/generate.py out of dialects.py and state.py: change those. -->\n"
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
_SHORT = {Input.OPENED: "open", Input.END: "the end", Input.INVALID_SESSION_STAY: "op 9, stays"}
"""Short labels for the arrows; the tables have the full names."""
_OMITTED = {"version", "closes", "commands"}  # they have separate sections
_THEN = {
    Then.RESUME: "resumes",
    Then.IDENTIFY: "identifies",
    Then.STOP: "gives up",
}


def _docs() -> dict[str, str]:
    """Return the description of each field of `Dialect`: its docstring, or a text from here."""
    docs = {
        "api_url": "Base URL of `/gateway`.",
        "compressions": "Supported compressions of the server's messages.",
        "lookup_cacheable": "Whether the lookup's answer may be kept for the next connection.",
        "acks": "Whether the server acknowledges heartbeats.",
        "heartbeat_form": "Data of a heartbeat.",
        "property_prefix": "Prefix of each name of Identify's properties.",
        "property_names": "The properties of Identify.",
        "large_threshold_range": "Allowed values, from and to.",
        "intents_required": "Whether Identify must carry `intents`.",
        "presence_form": "Fields of a presence.",
        "presence_in_identify": "Whether Identify may carry a presence.",
        "resume_with_token": "Whether Resume carries the token.",
        "resume_url_in_ready": "Whether READY contains the resume URL.",
    }
    (class_,) = ast.parse(textwrap.dedent(inspect.getsource(Dialect))).body
    assert isinstance(class_, ast.ClassDef)
    for field, after in zip(class_.body, [*class_.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr):
            assert isinstance(field.target, ast.Name) and isinstance(after.value, ast.Constant)
            docs[field.target.id] = " ".join(str(after.value.value).split())
    return docs


def _said(value: Any) -> str:
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
            said = _SHORT.get(input_, input_.value)
            arrows.setdefault((before, after), []).append(said)
    order = list(State)
    lines = [f"    [*] --> {State.UPGRADING.name}"]
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
        told = [
            "-" if after is None else "stays" if after is state else f"**{after.name}**"
            for state, after in zip(states, afters, strict=True)
        ]
        rows.append([input_.value, *told])
    return _table(["input", *(state.name for state in states)], rows)


def _close(code: int, after: AfterClose) -> list[str]:
    does = _THEN[after.then]
    if after.wait:
        does += f", after {after.wait:g} s at least"
    if after.resuming is not None:
        does += f"; in answer to a Resume, {_THEN[after.resuming]}"
    if after.blames_command:
        does += "; twice after the same command, gives up"
    return [str(code), after.meaning, does]


def _page(dialect: Dialect, before: Dialect | None) -> str:
    version, docs = dialect.version, _docs()
    fields = [name for name in dialect.__struct_fields__ if name not in _OMITTED]
    rows = []
    for name in fields:
        own, old = _said(getattr(dialect, name)), _said(getattr(before or dialect, name))
        rows.append([f"`{name}`", own if own == old else f"**{own}** (was {old})", docs[name]])
    ops = sorted(dialect.commands)
    greets = "client, greeted" if dialect.greets else "client, not greeted"
    asks = " Changes from the previous version are in bold." if before else ""
    return f"""{_NOTE}
# Version {version}

{_filled(_SINCE[version])}

Select it with `Config(dialect={version}, ...)` or `--dialect {version}`. Its data is the value
`DIALECTS[{version}]`. [The versions](README.md) compares all of them.

## Fields

Times are seconds, sizes are bytes.{asks}

{_table(["field", "value", "meaning"], rows)}
## What a client may send

{_table(["op", "name"], ([str(int(op)), op.name] for op in ops))}
## Close codes

After any other close code, or none, the client resumes. `Config.closes` changes these actions.

{_table(["code", "means", "the client"], (_close(*row) for row in sorted(dialect.closes.items())))}
## The states of a client

The arrows are inputs that change the state; the table below has every input. A client ignores
inputs that have no transition (-).

{diagram(TRANSITIONS[greets])}
{cells(TRANSITIONS[greets])}"""


def _index() -> str:
    docs = _docs()
    first = DIALECTS[min(DIALECTS)]
    differing = [
        name
        for name in first.__struct_fields__
        if name not in _OMITTED and len({_said(getattr(d, name)) for d in DIALECTS.values()}) > 1
    ]
    rows = [
        [f"`{name}`", *(_said(getattr(d, name)) for d in DIALECTS.values()), docs[name]]
        for name in differing
    ]
    ops = [
        [f"{int(op)} {op.name}", *(_said(op in d.commands) for d in DIALECTS.values())]
        for op in Opcode
        if any(op in d.commands for d in DIALECTS.values())
    ]
    codes = sorted({code for d in DIALECTS.values() for code in d.closes})
    closes = [
        [
            str(code),
            *(d.closes[code].then.value if code in d.closes else "-" for d in DIALECTS.values()),
        ]
        for code in codes
    ]
    links = [f"[{version}]({version}.md)" for version in DIALECTS]
    since = "".join(
        _filled(f"- [Version {version}]({version}.md). {_SINCE[version]}", "  ") + "\n"
        for version in DIALECTS
    )
    return f"""{_NOTE}
# The versions

Each version of the protocol is a `Dialect`, a value of data. No other code compares versions.
`DIALECTS` contains them by number.

{since}
## Differences

Fields of `Dialect` that are equal in all versions are omitted; the page of each version lists them.

{_table(["field", *links, "meaning"], rows)}
## What a client may send

{_table(["op", *links], ops)}
## What a client does after a close code

The action is `resume`, `identify` or `stop`, as in `Then`. After a code that the version does not
define (-) the client resumes.

{_table(["code", *links], closes)}
## The states of a server

They are the same for every version. An input that has no transition (-) closes the connection, so
that client errors are reported.

{diagram(TRANSITIONS["server"])}
{cells(TRANSITIONS["server"])}"""


def pages() -> dict[pathlib.Path, str]:
    """Return each generated page with its text."""
    dialects_ = list(DIALECTS.values())
    written = {FOLDER / "README.md": _index()}
    for before, dialect in zip([None, *dialects_], dialects_, strict=False):
        written[FOLDER / f"{dialect.version}.md"] = _page(dialect, before)
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
