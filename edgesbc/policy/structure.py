"""Converts TOML values to attrs values, strictly: every mistake is found and named by its dotted key."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_origin

import attrs
import cattrs
from cattrs import AttributeValidationNote, BaseValidationError, ForbiddenExtraKeysError, IterableValidationNote
from cattrs.gen import make_dict_structure_fn, override

from edgesbc.base.errors import PolicyError
from edgesbc.base.validation import described

__all__ = ["STRUCTURE", "converter", "mistakes", "unknown_key"]

STRUCTURE = "structure"
"""Key of a field's metadata: a function from the TOML value to the field's value, which raises ``ValueError``."""


def converter(folder: Path) -> cattrs.Converter:
    """A converter whose ``structure`` takes values of ``tomllib``; paths are relative to ``folder``.

    It raises ``ValueError`` or ``BaseValidationError``, which :func:`mistakes` turns into errors of a policy.
    """
    made = cattrs.Converter(detailed_validation=True, forbid_extra_keys=True)
    made.register_structure_hook(bool, _exactly("true or false"))
    made.register_structure_hook(int, _exactly("a whole number"))
    made.register_structure_hook(str, _exactly("a text"))
    made.register_structure_hook(float, _number)
    made.register_structure_hook(Path, lambda value, _: folder / _path(value))
    made.register_structure_hook(StrEnum, _word)
    made.register_structure_hook_func(_is_tuple, lambda value, type_: _list(made, value, type_))
    made.register_structure_hook_func(_is_mapping, lambda value, type_: _mapping(made, value, type_))
    made.register_structure_hook_factory(attrs.has, lambda cls: _table(made, cls))
    return made


def mistakes(error: BaseException, file: str, key: str) -> Iterator[PolicyError]:
    """Every mistake in an error of the converter, with its dotted key below ``key``."""
    if isinstance(error, BaseValidationError):
        for part in error.exceptions:
            yield from mistakes(part, file, key + _step(part))
    elif isinstance(error, ForbiddenExtraKeysError):
        known = [_toml_name(name) for name in attrs.fields_dict(error.cl)] if error.cl else []
        for extra in sorted(error.extra_fields):
            yield PolicyError(file, f"{key}.{extra}".lstrip("."), unknown_key(extra, known))
    elif isinstance(error, KeyError):
        yield PolicyError(file, key, "is missing")
    else:
        message = str(error)
        last = key.rpartition(".")[2]
        for name in (last, f"{last}_"):  # a validator names the field too
            message = message.removeprefix(f"{name}: ")
        yield PolicyError(file, key, message)


def unknown_key(key: str, known: list[str]) -> str:
    """The message for an unknown key."""
    near = get_close_matches(key, known, n=1)
    guess = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
    return f"unknown key; {guess}"


def _step(error: BaseException) -> str:
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return f".{_toml_name(note.name)}"
        if isinstance(note, IterableValidationNote):
            return f"[{note.index}]" if isinstance(note.index, int) else f".{note.index}"
    return ""


def _toml_name(name: str) -> str:
    """The key of a field: ``from_`` is written ``from``."""
    return name.rstrip("_")


def _exactly(expected: str) -> Callable[[object, type], object]:
    """A hook that accepts values of exactly one type: TOML values have types, so none is converted."""

    def structure(value: object, type_: type) -> object:
        if type(value) is not type_:
            raise ValueError(f"expected {expected}, found {described(value)}")
        return value

    return structure


def _path(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"expected a path, found {described(value)}")
    return value


def _number(value: object, _type: type) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        with suppress(OverflowError):  # TOML's whole numbers have no bound
            if math.isfinite(number := float(value)):
                return number
    raise ValueError(f"expected a number, found {described(value)}")


def _word(value: object, type_: type[StrEnum]) -> StrEnum:
    if value not in list(type_):
        raise ValueError(f"expected one of {', '.join(type_)}; found {described(value)}")
    return type_(str(value))


def _is_tuple(type_: Any) -> bool:
    return get_origin(type_) is tuple and get_args(type_)[1:] == (Ellipsis,)


def _list(made: cattrs.Converter, value: object, type_: Any) -> Any:
    if not isinstance(value, list):
        raise ValueError(f"expected a list, found {described(value)}")
    type_of_items: Any = list.__class_getitem__(get_args(type_)[0])
    return tuple(made.structure(value, type_of_items))


def _is_mapping(type_: Any) -> bool:
    return get_origin(type_) is Mapping


def _mapping(made: cattrs.Converter, value: object, type_: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"expected a table, found {described(value)}")
    type_of_values: Any = dict.__class_getitem__(get_args(type_))
    return made.structure(value, type_of_values)


def _table(made: cattrs.Converter, cls: type[Any]) -> Any:
    attrs.resolve_types(cls)
    structure = make_dict_structure_fn(
        cls,
        made,
        _cattrs_forbid_extra_keys=True,
        _cattrs_detailed_validation=True,
        **{  # type: ignore[arg-type]
            field.name: override(rename=_toml_name(field.name), struct_hook=_field(made, field))
            for field in attrs.fields(cls)
        },
    )

    def table(value: object, _type: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"expected a table, found {described(value)}")
        return structure(value, cls)

    return table


def _field(made: cattrs.Converter, field: attrs.Attribute[Any]) -> Any:
    """Converts and validates one field at once, so that one mistake does not hide those of other fields.

    Validators of fields see the value alone; relations of fields are checked in ``checks``.
    """
    own = field.metadata.get(STRUCTURE)

    def structure(value: object, type_: Any) -> Any:
        result = made.structure(value, type_) if own is None else own(value)
        if field.validator is not None:
            field.validator(None, field, result)
        return result

    return structure
