"""Errors that several packages share."""

from __future__ import annotations

from edgesbc.base.errors import PolicyError, PolicyErrors, WireError


def test_a_wire_error_carries_the_status_to_answer() -> None:
    assert WireError("no blank line").status_hint == 400
    error = WireError("too many header fields", 513)
    assert (error.reason, error.status_hint, str(error)) == ("too many header fields", 513, "too many header fields")


def test_a_policy_error_names_file_and_key() -> None:
    assert str(PolicyError("edge.toml", "listen[0].bind", "expected HOST:PORT")) == (
        "edge.toml: listen[0].bind: expected HOST:PORT"
    )
    assert str(PolicyError("edge.toml", "", "not TOML")) == "edge.toml: not TOML"


def test_policy_errors_keep_their_order() -> None:
    errors = PolicyErrors([PolicyError("a", "x", "1"), PolicyError("a", "y", "2")])
    assert str(errors) == "a: x: 1\na: y: 2"
    assert [error.key for error in errors.errors] == ["x", "y"]
