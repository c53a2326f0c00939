"""A peer's text, escaped for display."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesbc.observe.text import shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sip:alice@example.com", "sip:alice@example.com"),
        ("Ünïcode 電話", "Ünïcode 電話"),
        ("a\r\nb", "a\\r\\nb"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x00\x7f\x9b", "\\x00\\x7f\\x9b"),
        ("a\u2028b\u202ec", "a\\u2028b\\u202ec"),
        ("\udc80", "\\udc80"),
        ("\\n", "\\\\n"),
    ],
)
def test_shown(text: str, expected: str) -> None:
    assert shown(text, 100) == expected


@given(st.text(alphabet=st.characters(), max_size=60))
def test_the_result_is_printable_for_any_text(text: str) -> None:
    assert shown(text, 100).isprintable()
    assert len(shown(text, 10)) <= 10 * len("\\U0010ffff")


def test_a_long_text_keeps_both_ends() -> None:
    text = shown("head" + "x" * 1000 + "tail", 40)
    assert len(text) == 40
    assert text.startswith("head")
    assert text.endswith("tail")
    assert "…" in text


def test_different_texts_look_different() -> None:
    assert shown("\n", 10) != shown("\\n", 10)


def test_escapes_are_those_of_python_literals() -> None:
    unsafe = [c for c in map(chr, range(0x110000)) if not c.isprintable() or c == "\\"]
    expected = "".join(c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in unsafe)
    assert shown("".join(unsafe), len(unsafe)) == expected
