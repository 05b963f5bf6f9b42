"""JSON text that msgspec rejects → op, s, t and the undecoded `d`.

msgspec rejects a whole message because of one value inside `d`: a lone surrogate, NaN, a control
character, a nesting of more than a thousand levels. This module finds the envelope around such a
`d` and leaves `d` as it is. It looks at the members before `d` and at those after it; `d` itself is
never parsed, so its size and its nesting cost nothing but linear scans.
"""

from __future__ import annotations

import re

import msgspec

__all__ = ["is_beginning", "members"]

_MAX_MEMBERS = 1000
"""Maximum members before `d`, and after it. Usually there are three in all."""
_MAX_AFTER = 4096
"""Maximum bytes of the members after `d`."""
_MAX_PARSED = 4 * 2**20
"""Maximum bytes of a text whose values are made: they take up to 45 times its memory."""
_SLICE = 65536

# `|(?!)` ends a group that repeats possessively: CPython before 3.11.5 continues behind a part of a
# repetition that does not match. <https://github.com/python/cpython/issues/106052>
_TEXT = rb'"(?:[^"\\]++|\\.|(?!))*+"'
_SPACE = rb"[ \t\r\n]*+"
_MEMBER = rb"%s%s:%s(?:%s|[-+.\w]++)%s" % (_TEXT, _SPACE, _SPACE, _TEXT, _SPACE)
_BEFORE = rb'%s\{%s(?:(?!"d"%s:)%s,%s|(?!)){0,%d}+"d"%s:%s' % (
    *(_SPACE, _SPACE, _SPACE),
    *(_MEMBER, _SPACE, _MAX_MEMBERS, _SPACE, _SPACE),
)
"""From the start of the text to the start of `d`."""
_AFTER = rb'%s\}%s(?:(?:"[^"]*+"|[-+.\w]++)%s:%s"[^"]*+"%s,%s|(?!)){0,%d}+' % (
    *(_SPACE, _SPACE, _SPACE, _SPACE, _SPACE, _SPACE),
    _MAX_MEMBERS,
)
"""From the end of the text to the end of `d`, in the text that is reversed and has no escapes."""
_ALONE = rb"%s\{%s(?:%s(?:,%s%s|(?!)){0,%d}+|(?!))?+\}%s\Z" % (
    *(_SPACE, _SPACE, _MEMBER),
    *(_SPACE, _MEMBER, _MAX_MEMBERS, _SPACE),
)
"""A text without `d`."""
_FIELD = rb"(%s)%s:%s(%s|[-+.\w]++)" % (_TEXT, _SPACE, _SPACE, _TEXT)
_PART_OF_A_TOKEN = r"[-+.\w]{0,9}\s*\Z"

# Decoding to `Raw` checks the syntax, and makes no values.
_skip = msgspec.json.Decoder(msgspec.Raw).decode


def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    # Compiled on first use, and kept by `re`: that takes a twentieth of the import of the package,
    # and most programs never need it.
    return re.compile(pattern, re.DOTALL)


def _without_escapes(text: bytes) -> bytes:
    """Return a text of the same length in which each quote begins or ends a string."""
    return text.replace(rb"\\", b"\0\0").replace(rb"\"", b"\0\0")


def members(text: bytes) -> dict[str, bytes] | None:
    """Return the members of the outermost object, each as its JSON text; `d` is not checked.

    Return None if the text is not an object whose members besides `d` are scalars.
    """
    before = _compiled(_BEFORE).match(text)
    if before is None:
        return _fields(text) if _compiled(_ALONE).match(text) else None
    start = max(before.end(), len(text) - _MAX_AFTER)
    # At the beginning of a run of backslashes, so that no escape is cut.
    start = max(before.end(), len(text[:start].rstrip(b"\\")))
    # Backwards, since the end of `d` is unknown: to try each position would take a time that is
    # quadratic in the size of this part.
    after = _compiled(_AFTER).match(_without_escapes(text[start:])[::-1])
    if after is None:
        return None
    end = len(text) - after.end()
    return _fields(before.group()) | {"d": text[before.end() : end]} | _fields(text[end:])


def _fields(text: bytes) -> dict[str, bytes]:
    found = _compiled(_FIELD).findall(text)
    return {name[1:-1].decode("utf-8", "replace"): value for name, value in found}


def is_beginning(text: bytes) -> bool:
    """Whether the text could be the beginning of a valid one: the error is at its end.

    A text in which every bracket is closed is complete, whatever the error is.
    """
    if _is_closed(text):
        return False
    if len(text) > _MAX_PARSED:
        return _is_truncated(text) or members(text) is None
    import json  # on first use, as few programs need it

    try:
        json.loads(text.decode("utf-8", "replace"), strict=False)
    except json.JSONDecodeError as error:
        at_end = re.compile(_PART_OF_A_TOKEN).match(error.doc, error.pos) is not None
        return at_end or error.msg.startswith("Unterminated string")
    except RecursionError:
        return members(text) is None
    except ValueError:  # a number of more digits than Python converts
        pass
    return True  # incomplete, and its end is unknown


def _is_closed(text: bytes) -> bool:
    """Whether each string and bracket is closed, and any text is outside of strings."""
    plain = _without_escapes(text)
    counts = [0, 0, 0, 0]
    inside, is_blank = 0, True
    # In slices: parts of a large text would take many times its memory.
    for at in range(0, len(plain), _SLICE):
        parts = plain[at : at + _SLICE].split(b'"')
        outside = b"".join(parts[inside::2])
        inside = (inside + len(parts) - 1) % 2  # each quote begins or ends a string
        is_blank = is_blank and not outside.strip()
        for index, bracket in enumerate((b"{", b"}", b"[", b"]")):
            counts[index] += outside.count(bracket)
    opened, closed, opened_lists, closed_lists = counts
    return not inside and not is_blank and opened <= closed and opened_lists <= closed_lists


def _is_truncated(text: bytes) -> bool:
    """Whether the strict decoder finds no other error; it makes no values."""
    try:
        _skip(text)
    except msgspec.DecodeError as error:
        return "truncated" in str(error)
    except RecursionError:
        return False
    return False
