"""The changes from one policy to another, section by section, as values and as sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

import attrs

from edgesbc.base import limits
from edgesbc.policy.model import RESTART_SECTIONS, Policy, PortRange
from edgesbc.policy.traffic_shares import share_words, traffic_shares

__all__ = ["PolicyChange", "differences", "needs_restart", "summary"]

_NAMED_BY = ("name", "set", "uri")
"""Keys that name a table in a list."""
_NOUNS = {"listen": "listener", "destinations": "set"}
"""Names of a list's tables in sentences; the default is the section's name."""
_SUMMARY_CHARS = 160


@attrs.frozen
class PolicyChange:
    """One change. ``kind`` is ``added``, ``removed``, ``changed``, ``moved`` or ``traffic``."""

    section: str
    """The table's name in the file, as in ``destinations``."""
    name: str
    """The name of the table in a list; "" in a single table."""
    key: str
    """The changed key below the table, dotted; "" for the whole table."""
    kind: str
    old: Any = None
    new: Any = None

    @property
    def restart(self) -> bool:
        """Whether it waits for a restart."""
        return self.section in RESTART_SECTIONS

    @property
    def sentence(self) -> str:
        return _sentence(self) + (" (needs a restart)" if self.restart else "")

    def as_json(self) -> dict[str, Any]:
        return {**attrs.asdict(self), "restart": self.restart, "sentence": self.sentence}


def differences(old: Policy, new: Policy) -> list[PolicyChange]:
    """Every change from ``old`` to ``new``, in the order of the sections; empty if both mean the same."""
    changes: list[PolicyChange] = []
    for field in attrs.fields(Policy):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if before == after or field.name in ("file", "text"):
            continue
        if isinstance(before, tuple):
            changes.extend(_lists(field.name, before, after))
        else:
            changes.extend(PolicyChange(field.name, "", *change) for change in _values(before, after))
    changes.extend(_traffic(old, new))
    return changes


def needs_restart(changes: Iterable[PolicyChange]) -> list[str]:
    """The sections among ``changes`` that only a restart changes."""
    sections = {change.section for change in changes if change.restart}
    return [name for name in RESTART_SECTIONS if name in sections]


def summary(changes: list[PolicyChange]) -> str:
    """``changes`` in one line, for a log."""
    if not changes:
        return "no change of what it means"
    text = "; ".join(change.sentence for change in changes if change.kind != "traffic")
    return text if len(text) <= _SUMMARY_CHARS else f"{text[:_SUMMARY_CHARS]}..."


# --- comparing -------------------------------------------------------------------------------------------

_ValueChange = tuple[str, str, Any, Any]
"""Key, kind, old and new."""


def _lists(section: str, old: tuple[Any, ...], new: tuple[Any, ...]) -> Iterator[PolicyChange]:
    before, after = _by_name(old), _by_name(new)
    for name in before:
        if name not in after:
            yield PolicyChange(section, name, "", "removed", _plain(before[name]))
    for name in after:
        if name not in before:
            yield PolicyChange(section, name, "", "added", None, _plain(after[name]))
        else:
            yield from (PolicyChange(section, name, *change) for change in _values(before[name], after[name]))
    old_order, new_order = [name for name in before if name in after], [name for name in after if name in before]
    if old_order != new_order and section == "route":  # the first that matches wins; elsewhere, order means nothing
        yield PolicyChange(section, "", "", "moved", old_order, new_order)


def _by_name(items: tuple[Any, ...]) -> dict[str, Any]:
    """Tables of a list by name; a second table of a name has its number behind it."""
    named: dict[str, Any] = {}
    for item in items:
        name = str(next((getattr(item, key) for key in _NAMED_BY if hasattr(item, key)), ""))
        free = name
        number = 2
        while free in named:
            free, number = f"{name} ({number})", number + 1
        named[free] = item
    return named


def _values(old: Any, new: Any, key: str = "") -> Iterator[_ValueChange]:
    """The keys whose values differ in two tables."""
    if old == new:
        return
    if _is_table(old) and type(old) is type(new):
        for field in _keys(old):
            name = field.name.rstrip("_")
            yield from _values(getattr(old, field.name), getattr(new, field.name), f"{key}.{name}" if key else name)
    elif isinstance(old, tuple) and isinstance(new, tuple) and _of_named(old) and _of_named(new):
        yield from _inner_lists(old, new, key)
    else:
        yield key, "changed", _plain(old), _plain(new)


def _inner_lists(old: tuple[Any, ...], new: tuple[Any, ...], key: str) -> Iterator[_ValueChange]:
    before, after = _by_name(old), _by_name(new)
    for name in before:
        if name not in after:
            yield f"{key}.{name}", "removed", _plain(before[name]), None
    for name in after:
        if name not in before:
            yield f"{key}.{name}", "added", None, _plain(after[name])
        else:
            yield from _values(before[name], after[name], f"{key}.{name}")


def _of_named(items: tuple[Any, ...]) -> bool:
    return all(attrs.has(type(item)) and any(hasattr(item, key) for key in _NAMED_BY) for item in items)


def _is_table(value: object) -> bool:
    return attrs.has(type(value)) and not isinstance(value, PortRange)


def _keys(value: Any) -> list[attrs.Attribute[Any]]:
    """The fields of a table that a file may have; other fields are derived from them."""
    return [field for field in attrs.fields(type(value)) if field.init]


def _plain(value: Any) -> Any:
    """``value`` as a JSON value; of a table, the fields that differ from their defaults."""
    if isinstance(value, PortRange):
        return f"{value.first}-{value.last}"
    if attrs.has(type(value)):
        return {
            field.name.rstrip("_"): _plain(getattr(value, field.name))
            for field in _keys(value)
            if getattr(value, field.name) != _default(field)
        }
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return str(value)  # an address
    if isinstance(value, tuple | list | frozenset | set):
        return [_plain(item) for item in (value if isinstance(value, tuple | list) else sorted(value))]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _default(field: attrs.Attribute[Any]) -> Any:
    default = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        return attrs.NOTHING if default.takes_self else default.factory()  # type: ignore[union-attr]
    return default


def _traffic(old: Policy, new: Policy) -> Iterator[PolicyChange]:
    """How the shares of the members of each set change."""
    before = {settings_of_old.set: settings_of_old for settings_of_old in old.destinations}
    for settings in new.destinations:
        previous = before.get(settings.set)
        if previous is None or previous == settings:
            continue
        was, will_be = traffic_shares(previous), traffic_shares(settings)
        if was is None or will_be is None:
            if (was, previous.algorithm) != (will_be, settings.algorithm):
                yield PolicyChange("destinations", settings.set, "", "traffic", _rounded(was), _rounded(will_be))
            continue
        for uri in dict.fromkeys([*was, *will_be]):
            old_share, new_share = round(was.get(uri, 0.0), 1), round(will_be.get(uri, 0.0), 1)
            if old_share != new_share:
                yield PolicyChange("destinations", settings.set, uri, "traffic", old_share, new_share)


def _rounded(shares: dict[str, float] | None) -> dict[str, float] | None:
    return None if shares is None else {uri: round(share, 1) for uri, share in shares.items()}


# --- sentences -------------------------------------------------------------------------------------------


def _sentence(change: PolicyChange) -> str:
    if change.kind == "moved":
        return f"routes are asked in another order: {', '.join(change.new)}"
    where = f"{_NOUNS.get(change.section, change.section)} {change.name}" if change.name else f"[{change.section}]"
    if change.kind == "traffic":
        if not change.key:
            return f"{where}: how much of the calls each member gets cannot be said beforehand"
        return f"{where}: {change.key} gets {share_words(change.new)} of the calls, {share_words(change.old)} so far"
    if change.kind in ("added", "removed"):
        return _added_or_removed(change, where)
    if isinstance(change.old, list) and isinstance(change.new, list):
        return f"{where}: {change.key}: {_of_lists(change.old, change.new)}"
    return f"{where}: {_key(change.key)} {_word(change.old)} -> {_word(change.new)}"


def _key(key: str) -> str:
    """A dotted key in words: ``member sip:10.0.0.1:5060: weight`` for ``members.sip:10.0.0.1:5060.weight``."""
    if not key.startswith("members."):
        return key
    uri, _, rest = key.removeprefix("members.").rpartition(".")
    return f"member {uri}: {rest}"


def _added_or_removed(change: PolicyChange, where: str) -> str:
    table = change.new if change.kind == "added" else change.old
    if change.key.startswith("members."):
        where = f"{where}: member {change.key.removeprefix('members.')}"
    elif change.key:
        where = f"{where}: {change.key}"
    values = [f"{key} {_word(value)}" for key, value in table.items() if key not in _NAMED_BY and key != "members"]
    if change.kind == "added" and "members" in table:
        values.append(f"members {', '.join(member['uri'] for member in table['members'])}")
    return f"{where} is {change.kind}" + (f" ({', '.join(values)})" if values and change.kind == "added" else "")


def _of_lists(old: list[Any], new: list[Any]) -> str:
    added = [_word(item) for item in new if item not in old]
    removed = [_word(item) for item in old if item not in new]
    if not added and not removed:
        return f"in another order: {', '.join(map(_word, new))}"
    parts = [f"{', '.join(items[:8])}{f' and {len(items) - 8} more' if len(items) > 8 else ''} {verb}"
             for items, verb in ((added, "added"), (removed, "removed")) if items]  # fmt: skip
    return "; ".join(parts)


def _word(value: Any) -> str:
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list) and len(value) == 1:
        return _word(value[0])
    if isinstance(value, list):
        return f"[{', '.join(map(_word, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} {_word(item)}" for key, item in value.items()) + "}"
    text = str(value)
    return text if len(text) <= limits.DIFF_VALUE_CHARS else f"{text[: limits.DIFF_VALUE_CHARS]}..."
