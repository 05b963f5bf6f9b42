"""Parts of a token, escaped or encoded: truncated by a limit or split over events."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Callable

import pytest

from gateway_proto.trace.redactor import Redactor

TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcDe.abcdefghijklmnopqrstuvwxyz0123456789AB"


def _escaped(form: str) -> Callable[[str], str]:
    return lambda text: "".join(form % ord(letter) for letter in text)


def _some_escaped(text: str) -> str:
    return "".join(f"\\u{ord(one):04x}" if at % 4 == 0 else one for at, one in enumerate(text))


FORMS: dict[str, Callable[[str], str]] = {
    "JSON": _escaped(r"\u%04x"),
    "JSON in upper case": _escaped(r"\u%04X"),
    "JSON within JSON": lambda text: json.dumps(_escaped(r"\u%04x")(text))[1:-1],
    "every fourth character": _some_escaped,
    "URL": _escaped("%%%02x"),
    "codes": lambda text: ", ".join(str(ord(letter)) for letter in text),
    "terms": lambda text: "".join(f"a{letter}" for letter in text),
    "long terms": lambda text: "".join(f"b\0\0\0{letter}" for letter in text),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "shifted base64": lambda text: base64.b64encode(b"?" + text.encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_part_of_an_encoded_token_is_redacted(form: Callable[[str], str]) -> None:
    redactor = Redactor()
    redactor.add(TOKEN)
    whole = form(TOKEN)

    for begin, end in ((0, 2), (1, 3), (1, 2)):
        part = whole[len(whole) * begin // 3 : len(whole) * end // 3]
        text = f'{{"at":"{part}!","next":[1,22,333]}}'
        clean = redactor.redact_text(text)

        assert len(clean) == len(text)
        assert clean.startswith('{"at":"')
        assert clean.endswith(',"next":[1,22,333]}')
        kept = [part[at : at + len(part) // 2] for at in range(0, len(part) // 2, 5)]
        assert not [piece for piece in kept if piece in clean]


@pytest.mark.parametrize("code", [r"\u%04x", "%%%02x"])
def test_partly_escaped_token_cannot_be_read(code: str) -> None:
    redactor = Redactor()
    redactor.add(TOKEN)
    part = "".join(code % ord(c) if c.isdigit() else c for c in TOKEN[:60])

    clean = redactor.redact_text(f'"line\\n{part}"').replace("\\u00", "%")

    assert TOKEN[4:14] not in urllib.parse.unquote(clean)
    assert TOKEN[30:40] not in urllib.parse.unquote(clean)


def test_texts_like_parts_are_kept() -> None:
    redactor = Redactor()
    redactor.add(TOKEN)
    text = r'{"a":"\u00e9t\u00e9 %20 MTIzNDU2N","b":[77,84,73,122,78],"c":"dGhpcyBpcyBub3QgaXQ"}'

    assert redactor.redact_text(text) == text
