"""JSON text that msgspec rejects → op, s, t and the undecoded `d`.

msgspec rejects a whole message because of one value inside `d`: a lone surrogate, NaN, a control
character, a nesting of more than a thousand levels. This module finds the envelope around such a
`d` and leaves `d` as it is. It looks at the members before `d` and at those after it; `d` itself is
never parsed, so its size and its nesting cost nothing but linear scans.
"""

from __future__ import annotations

import re

__all__ = ["is_beginning", "members"]

_TEXT = rb'"(?:[^"\\]++|\\.)*+"'
_SPACE = rb"[ \t\r\n]*+"
_MEMBER = rb"%s%s:%s(?:%s|[-+.\w]++)%s" % (_TEXT, _SPACE, _SPACE, _TEXT, _SPACE)
_BEFORE = rb'%s\{%s(?:(?!"d"%s:)%s,%s)*+"d"%s:%s' % (
    *(_SPACE, _SPACE, _SPACE),
    *(_MEMBER, _SPACE, _SPACE, _SPACE),
)
"""From the start of the text to the start of `d`."""
_AFTER = rb"%s(?:,%s%s)*+\}%s\Z" % (_SPACE, _SPACE, _MEMBER, _SPACE)
"""From the end of `d` to the end of the text."""
_ALONE = rb"%s\{%s(?:%s(?:,%s%s)*+)?+\}%s\Z" % (
    *(_SPACE, _SPACE, _MEMBER),
    *(_SPACE, _MEMBER, _SPACE),
)
"""A text without `d`."""
_FIELD = rb"(%s)%s:%s(%s|[-+.\w]++)" % (_TEXT, _SPACE, _SPACE, _TEXT)
_CLOSED = rb'(?:[^"]++|%s)*+' % _TEXT
_PART_OF_A_TOKEN = r"[-+.\w]{0,9}\s*\Z"
_MAX_AFTER = 4096
"""Maximum bytes of the members after `d`."""


def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    # Compiled on first use, and kept by `re`: that takes a twentieth of the import of the package,
    # and most programs never need it.
    return re.compile(pattern, re.DOTALL)


def members(text: bytes) -> dict[str, bytes] | None:
    """Return the members of the outermost object, each as its JSON text; `d` is not checked.

    Return None if the text is not an object whose members besides `d` are scalars.
    """
    before = _compiled(_BEFORE).match(text)
    if before is None:
        return _fields(text) if _compiled(_ALONE).match(text) else None
    # RFC 8259, section 7: quotes inside strings are escaped. So a match that begins inside a string
    # of `d` would pair the quotes after `d` wrongly, and could not end with the last brace.
    after = _compiled(_AFTER).search(text, max(before.end(), len(text) - _MAX_AFTER))
    if after is None:
        return None
    d = text[before.end() : after.start()]
    return _fields(before.group()) | {"d": d} | _fields(after.group())


def _fields(text: bytes) -> dict[str, bytes]:
    found = _compiled(_FIELD).findall(text)
    return {name[1:-1].decode("utf-8", "replace"): value for name, value in found}


def is_beginning(text: bytes) -> bool:
    """Whether the text could be the beginning of a valid one: the error is at its end.

    A text in which every bracket is closed is complete, whatever the error is.
    """
    if _compiled(_CLOSED).match(text).end() == len(text):  # type: ignore[union-attr]  # it matches anything
        outside = _compiled(_TEXT).sub(b"", text)
        counts = (outside.count(bracket) for bracket in (b"{", b"}", b"[", b"]"))
        opened, closed, opened_lists, closed_lists = counts
        if opened <= closed and opened_lists <= closed_lists and outside.strip():
            return False
    import json  # on first use, as few programs need it

    try:
        json.loads(text.decode("utf-8", "replace"), strict=False)
    except json.JSONDecodeError as error:
        at_end = re.compile(_PART_OF_A_TOKEN).match(error.doc, error.pos) is not None
        return at_end or error.msg.startswith("Unterminated string")
    except (RecursionError, ValueError):  # or a number of more digits than Python converts
        pass
    return True  # incomplete, and its end is unknown
