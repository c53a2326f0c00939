"""Any policy file gives a policy or PolicyErrors."""

import contextlib
import json
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesbc.base.errors import PolicyError, PolicyErrors
from edgesbc.policy.load import LISTS, TABLES, parse_policy

NUMBERS = st.integers() | st.integers(-1, 70_000) | st.floats()
TEXTS = st.text(st.characters(codec="ascii"), max_size=12) | st.sampled_from(
    ["public", "core", "udp", "wss", "127.0.0.1:0", "[::1]:0", "sip:127.0.0.1", "sip:[::1]", "pbx", "30000-39999", "("]
)
CLASSES = {**TABLES, **LISTS}
KEYS = st.sampled_from(sorted({name.rstrip("_") for cls in CLASSES.values() for name in attrs.fields_dict(cls)}))
VALUES = st.recursive(
    NUMBERS | TEXTS | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


def a_section(cls: type[Any]) -> st.SearchStrategy[dict[str, Any]]:
    keys = [name.rstrip("_") for name in attrs.fields_dict(cls)]
    return st.dictionaries(st.sampled_from(keys), VALUES, max_size=len(keys))


POLICIES = st.fixed_dictionaries(
    {},
    optional={
        **{key: a_section(cls) | VALUES for key, cls in TABLES.items()},
        **{key: st.lists(a_section(cls), max_size=3) | VALUES for key, cls in LISTS.items()},
    },
)


def toml(value: Any) -> str:
    """``value`` as TOML, in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value).replace("\x7f", "\\u007F")
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value)


@given(POLICIES)
@settings(max_examples=150, deadline=None)
def test_a_policy_or_its_mistakes(policy: dict[str, Any]) -> None:
    text = "\n".join(f"{key} = {toml(value)}" for key, value in policy.items())
    errors: tuple[PolicyError, ...] = ()
    try:
        assert parse_policy(text, "policy.toml").destinations
    except PolicyErrors as raised:
        errors = raised.errors
    assert all(error.message for error in errors)
    assert not any("expected TOML" in error.message for error in errors), text


@given(st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_text(text: str) -> None:
    with contextlib.suppress(PolicyErrors):
        parse_policy(text, "policy.toml")
