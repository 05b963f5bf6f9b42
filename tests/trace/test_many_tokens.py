"""Redaction of many tokens in one text: all are hidden."""

from __future__ import annotations

import pytest

from gateway_proto.trace.redactor import Redactor

FORMS = {
    "JSON": '"token":"%s",',
    "spaced JSON": '"token" : "%s",',
    "header": "Authorization: Bot %s\r\n",
    "ETF": "\x05tokenm\0\0\0\x10%s",
}


def _tokens(count: int) -> list[str]:
    return [f"tok-{number:08}.abc" for number in range(count)]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_many_tokens_in_one_text_are_replaced(form: str) -> None:
    text = "".join(form % token for token in _tokens(4000))

    clean = Redactor().redact_text(text)

    assert "tok-" not in clean
    assert len(clean) == len(text)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_each_of_many_tokens_is_replaced_elsewhere_too(form: str) -> None:
    redactor = Redactor()
    tokens = _tokens(100)

    clean = redactor.redact_text("".join(form % token for token in tokens))
    later = redactor.redact_text("".join(f'"https://h/{token}/x?y={token}"' for token in tokens))

    assert "tok-" not in later
    assert len({*later.split('"')} - {""}) == 100  # a placeholder for each token
    assert all(text.split("/")[3] in clean for text in later.split('"') if text)


def test_very_long_token_is_replaced_without_a_pattern() -> None:
    redactor = Redactor()
    token = "abc-" * 50_000

    clean = redactor.redact_text(f'{{"token":"{token}","again":"{token}"}}')

    assert "abc-abc" not in clean


def test_escapes_of_a_token_where_tokens_are_expected_stay() -> None:
    clean = Redactor().redact_text(r'{"token":"\u0061bcdef/g\/h"}')

    assert clean == r'{"token":"\u0078xxxxxxxx1"}'


def test_token_with_its_own_backslashes_is_replaced() -> None:
    clean = Redactor().redact_text(r'{"token":"ab\\\\cdefgh"}')

    assert clean == r'{"token":"xxxxxxxxx1"}'


def test_short_token_is_replaced_only_where_tokens_are_expected() -> None:
    redactor = Redactor()
    redactor.add("four")
    text = '{"token":"four","a":"four"}\r\nAuthorization: Bot four\r\n'

    assert redactor.redact_text(text) == text.replace('"token":"four', '"token":"xxx1').replace(
        "Bot four", "Bot xxx1"
    )
