"""JSON documents that anybody may have written: limits count values, and not what strings hold."""

from __future__ import annotations

import json

import pytest

from vecstore.container.document import DEEPEST, parse
from vecstore.errors import CorruptError


@pytest.mark.parametrize("more", ["", "[{" * 100, "," * 200, "9" * 400, '\\"[' * 100])
@pytest.mark.parametrize("lists", [1, DEEPEST // 2, 2 * DEEPEST])
def test_what_strings_hold_does_not_count(more, lists):
    document = {"text": more, "lists": [[]] * lists}
    assert parse(json.dumps(document).encode(), "a.vecs", most_values=300) == document


@pytest.mark.parametrize("text", ["", "[" * 100, "9" * 400])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[" * DEEPEST + "]" * DEEPEST, "too many or too deep"),
        (json.dumps([0] * 301), "too many or too deep"),
        ("9" * 309, "not JSON"),
        ("1e999", "not JSON"),
        ("NaN", "not JSON"),
        ('{"a": 1, "a": 1}', "not JSON"),
        ('"\\ud800"', "not JSON"),
        ("[", "not JSON"),
    ],
)
def test_what_is_refused(text, value, message):
    body = f'{{"text": "{text}", "value": {value}}}'.encode()
    with pytest.raises(CorruptError, match=message):
        parse(body, "a.vecs", most_values=300)
