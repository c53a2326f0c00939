"""A token opens only if it is unchanged and on the side for which it was sealed."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesbc.base.address import Source, Zone
from edgesbc.signalling.tokens import (
    SHORTEST_TOKEN,
    RemoteTarget,
    Sealer,
    TokenKind,
    dialog_digest,
    holder_digest,
)

KEY, OTHER = b"a" * 32, b"b" * 32
TARGET = RemoteTarget(
    "inside", Source("10.0.0.11", 5060), 7, "e", "sip:bob@10.0.0.11", ["<sip:10.0.0.2;lr>", "<sip:x;lr>"]
)

BOUND = RemoteTarget(
    "inside", Source("10.0.0.11", 5060), 7, "e", "sip:bob@10.0.0.11", (), TokenKind.CALL,
    dialog_digest("c1", "bob"), (holder_digest("address", "192.0.2.1"), holder_digest("trunk", "carrier")),
)  # fmt: skip

NAMES = ("listener", "peer", "serial", "epoch", "uri", "routes", "kind", "dialog", "holders")


@pytest.mark.parametrize("target", [TARGET, BOUND])
def test_a_token_opens_for_its_side_only(target: RemoteTarget) -> None:
    sealer = Sealer([KEY], os.urandom)
    token = sealer.seal(target, Zone.PUBLIC)
    opened = sealer.open(token, Zone.PUBLIC)
    assert opened is not None
    assert all(getattr(opened, name) == getattr(target, name) for name in NAMES)
    assert sealer.open(token, Zone.CORE) is None
    assert Sealer([OTHER], os.urandom).open(token, Zone.PUBLIC) is None
    assert b"10.0.0.11" not in token.encode()


def test_a_previous_key_still_opens() -> None:
    token = Sealer([OTHER], os.urandom).seal(TARGET, Zone.CORE)
    assert Sealer([KEY, OTHER], os.urandom).open(token, Zone.CORE) is not None


def test_no_token_is_shorter_than_the_constant() -> None:
    shortest = RemoteTarget("a", Source("::", 1), 0, "e", "", ())
    assert len(Sealer([KEY], os.urandom).seal(shortest, Zone.CORE)) >= SHORTEST_TOKEN


def test_a_token_with_one_changed_bit_does_not_open() -> None:
    sealer = Sealer([KEY], os.urandom)
    token = sealer.seal(TARGET, Zone.PUBLIC)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for at, letter in enumerate(token[:-1]):
        changed = alphabet[alphabet.index(letter) ^ 1]
        assert sealer.open(token[:at] + changed + token[at + 1 :], Zone.PUBLIC) is None, at


def test_digests_of_other_texts_differ() -> None:
    """Also of texts that are the same when they are joined."""
    texts = [("c1", "bob"), ("c1b", "ob"), ("bob", "c1"), ("c1", ""), ("", "c1"), ("c1", "Bob"), ("\udcff", "bob")]
    assert len({dialog_digest(*pair) for pair in texts}) == len(texts)
    assert len({holder_digest(*pair) for pair in texts}) == len(texts)


def test_no_token_of_the_first_form_is_made() -> None:
    target = RemoteTarget("inside", Source("10.0.0.11", 5060), 7, "e", "", (), TokenKind.FIRST_FORM)
    with pytest.raises(ValueError, match="first form"):
        Sealer([KEY], os.urandom).seal(target, Zone.CORE)


@given(st.text())
@settings(max_examples=200)
def test_any_text_is_read_without_a_fault(text: str) -> None:
    assert Sealer([KEY], os.urandom).open(text, Zone.PUBLIC) is None
