"""DIALECTS, TRANSITIONS → docs/dialects/: a page for each version, and one that compares them.

python docs/generate.py          # write them
python docs/generate.py --check  # exit with 1 where one is not what would be written
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
    3: "Described by the unofficial document of 2016-02-20; in use from autumn 2015. What that "
    "document leaves open is taken from clients of the time.",
    4: "From 2016-03-31 on: version and encoding are in the query of the URL, and a session that "
    "cannot be resumed is answered with INVALID_SESSION.",
    5: "From 2016-06-06 on: the server greets with HELLO, and acknowledges heartbeats.",
    6: "From July 2016 on, and still answered. What was added while it was current is here too: "
    "streams of compression, intents, the resume URL.",
    7: "Never documented. Clients that named it meant version 6.",
    8: "From 2020-09-24 on: intents are required, activities take the place of the game.",
    9: "From 2021-04-28 on: threads.",
    10: "From 2022-02-14 on: the content of messages is an intent of its own.",
}
_SHORT = {Input.OPENED: "open", Input.END: "the end", Input.INVALID_SESSION_STAY: "op 9, stays"}
"""Words for the arrows; the tables have the whole ones."""
_OMITTED = {"version", "closes", "commands"}  # they have sections of their own
_THEN = {
    Then.RESUME: "resumes",
    Then.IDENTIFY: "identifies anew",
    Then.STOP: "gives up",
}


def _docs() -> dict[str, str]:
    """Field of `Dialect` → what its docstring says; a field without one is explained here."""
    docs = {
        "api_url": "The base under which `/gateway` lies.",
        "compressions": "How the server's messages may be compressed.",
        "lookup_cacheable": "Whether the lookup's answer may be kept for the next connection.",
        "acks": "Whether the server acknowledges heartbeats.",
        "heartbeat_form": "What a heartbeat carries.",
        "property_prefix": "Before each name of Identify's properties.",
        "property_names": "The properties of Identify.",
        "large_threshold_range": "Members of a guild, from and to.",
        "intents_required": "Whether Identify must carry `intents`.",
        "presence_form": "How a presence is written.",
        "presence_in_identify": "Whether Identify may carry a presence.",
        "resume_with_token": "Whether Resume carries the token.",
        "resume_url_in_ready": "Whether READY names the URL to resume at.",
    }
    (class_,) = ast.parse(textwrap.dedent(inspect.getsource(Dialect))).body
    assert isinstance(class_, ast.ClassDef)
    for field, after in zip(class_.body, [*class_.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr):
            assert isinstance(field.target, ast.Name) and isinstance(after.value, ast.Constant)
            docs[field.target.id] = " ".join(str(after.value.value).split())
    return docs


def _said(value: Any) -> str:
    """A value of a dialect, for people."""
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
    """A table of transitions as mermaid draws it, without those that lead nowhere else.

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
    """A table of transitions, whole: a row for each input, a column for each state."""
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
        does += f"; where it answers a Resume, {_THEN[after.resuming]}"
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
    asks = " What is new against the version before is set in bold." if before else ""
    return f"""{_NOTE}
# Version {version}

{_filled(_SINCE[version])}

`Config(dialect={version}, ...)` speaks it, and so does `--dialect {version}`. All of it is one
value, `DIALECTS[{version}]`. [The dialects](README.md) has the versions side by side.

## What it is

Times are seconds, sizes are bytes.{asks}

{_table(["field", "value", "what it says"], rows)}
## What a client may send

{_table(["op", "name"], ([str(int(op)), op.name] for op in ops))}
## What comes after a close

A close code that is not here, and a connection that ends without one: the client resumes.
`Config.closes` sets others.

{_table(["code", "means", "the client"], (_close(*row) for row in sorted(dialect.closes.items())))}
## The states of a client

The arrows are what moves a connection; the table below has every input. One that has no cell (-)
is ignored: a client gets along with every server.

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
# The dialects

Each version of the protocol is a value of data, a `Dialect`; nothing else in the package compares
versions. `DIALECTS` has them by number.

{since}
## What differs

Fields of `Dialect` that are the same in all versions are left out; each version's page has them.

{_table(["field", *links, "what it says"], rows)}
## What a client may send

{_table(["op", *links], ops)}
## What a client does after a close code

`resume`, `identify` or `stop`, as `Then` has them; - is a code that the version does not know,
after which it resumes.

{_table(["code", *links], closes)}
## The states of a server

The same for every version. An input that has no cell (-) ends the connection: a server tells
clients their mistakes.

{diagram(TRANSITIONS["server"])}
{cells(TRANSITIONS["server"])}"""


def pages() -> dict[pathlib.Path, str]:
    """Each page that is generated, and its text."""
    dialects_ = list(DIALECTS.values())
    written = {FOLDER / "README.md": _index()}
    for before, dialect in zip([None, *dialects_], dialects_, strict=False):
        written[FOLDER / f"{dialect.version}.md"] = _page(dialect, before)
    return written


def main() -> int:
    """Write the pages, or check them; returns the exit status."""
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
