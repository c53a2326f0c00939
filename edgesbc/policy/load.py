"""Loads a policy file as a :class:`Policy`, or reports every mistake in it at once."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
from cattrs import BaseValidationError

from edgesbc.base import limits
from edgesbc.base.errors import PolicyError, PolicyErrors
from edgesbc.base.files import FileTooLarge, read_file
from edgesbc.base.validation import described
from edgesbc.dispatch.settings import SetSettings
from edgesbc.inventory.databases import DatabaseSettings
from edgesbc.policy.checks import cross_check, media_address
from edgesbc.policy.draft import Draft
from edgesbc.policy.model import (
    BodySettings,
    ChangeSettings,
    CoreSettings,
    EdgeSettings,
    HeaderSettings,
    ListenSettings,
    MediaSettings,
    ObserveSettings,
    Policy,
    RegistrationSettings,
)
from edgesbc.policy.scanners import read_scanners, shipped_scanners
from edgesbc.policy.structure import converter, mistakes, unknown_key
from edgesbc.routing.domains import DomainSettings
from edgesbc.routing.table import Route
from edgesbc.screen.pipeline import ScreenSettings
from edgesbc.screen.stages.scanner import ScannerList
from edgesbc.screen.trunk import Trunk

__all__ = ["load_policy", "parse_policy", "state_dir_of"]

TABLES: dict[str, type[Any]] = {
    "edge": EdgeSettings,
    "screen": ScreenSettings,
    "media": MediaSettings,
    "observe": ObserveSettings,
    "change": ChangeSettings,
    "registrations": RegistrationSettings,
    "core": CoreSettings,
    "domains": DomainSettings,
    "headers": HeaderSettings,
    "bodies": BodySettings,
}
LISTS: dict[str, type[Any]] = {
    "listen": ListenSettings,
    "trunk": Trunk,
    "database": DatabaseSettings,
    "destinations": SetSettings,
    "route": Route,
}


def load_policy(path: str | Path) -> Policy:
    """The policy in ``path``; paths in it are relative to its folder.

    Raises :class:`PolicyErrors` with every mistake in it, also if the file cannot be read. Whether this machine can
    run it is checked by :func:`~edgesbc.policy.preflight.preflight`.
    """
    return parse_policy(_text_of(path), str(path))


def state_dir_of(path: str | Path) -> Path:
    """The state directory of the policy in ``path``, whatever mistakes its other sections have.

    A running edge must be reachable also when its policy file has mistakes. Raises :class:`PolicyErrors` for a file
    that cannot be read or is no TOML, and for every mistake in ``[edge]``: with a misspelt key, the command would go to
    another edge.
    """
    file = str(path)
    edge = _tables(_text_of(path), file).get("edge", {})
    try:
        settings: EdgeSettings = converter(Path(path).parent).structure(edge, EdgeSettings)
    except (ValueError, BaseValidationError) as error:
        raise PolicyErrors(list(mistakes(error, file, "edge"))) from None
    return settings.state_dir


def _text_of(path: str | Path) -> str:
    file = str(path)
    try:
        data = read_file(Path(path), limits.POLICY_BYTES)
    except OSError as error:
        raise PolicyErrors([PolicyError(file, "", f"cannot be read: {error.strerror}")]) from None
    except FileTooLarge as error:
        raise PolicyErrors([PolicyError(file, "", error.expectation)]) from None
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        message = f"expected text in UTF-8, found the byte {data[error.start]:#04x} at {error.start}"
        raise PolicyErrors([PolicyError(file, "", message)]) from None


def parse_policy(text: str, file: str) -> Policy:
    """The policy in ``text``; messages name ``file``, and paths are relative to its folder.

    Raises :class:`PolicyErrors` with every mistake in it.
    """
    draft = Draft(file)
    draft.errors.extend(_structured(draft, _tables(text, file)))
    draft.errors.extend(cross_check(draft))
    if draft.errors:
        raise PolicyErrors(draft.errors)
    return Policy(
        edge=draft.tables["edge"],
        listen=draft.all("listen"),
        trunk=draft.all("trunk"),
        screen=_with_scanners(draft.tables["screen"], file),
        database=draft.all("database"),
        destinations=draft.all("destinations"),
        route=draft.all("route"),
        media=attrs.evolve(draft.tables["media"], address=media_address(draft)),
        observe=draft.tables["observe"],
        change=draft.tables["change"],
        registrations=draft.tables["registrations"],
        core=draft.tables["core"],
        domains=draft.tables["domains"],
        headers=draft.tables["headers"],
        bodies=draft.tables["bodies"],
        file=file,
        text=text,
    )


def _tables(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, or a number of thousands of digits
        raise PolicyErrors([PolicyError(file, "", f"expected TOML: {error}")]) from None
    except RecursionError:
        raise PolicyErrors([PolicyError(file, "", "expected TOML: it is nested too deeply")]) from None


def _with_scanners(screen: ScreenSettings, file: str) -> ScreenSettings:
    """``screen`` with the shipped list of scanners, if it names no other. Raises :class:`PolicyErrors`."""
    if screen.scanner.list is not None:
        return screen
    try:
        scanners = shipped_scanners()
    except ValueError as error:  # it is missing, or the process has no descriptor for it
        raise PolicyErrors([PolicyError(file, "screen.scanner.list", str(error))]) from None
    return attrs.evolve(screen, scanner=attrs.evolve(screen.scanner, list=scanners))


def _structured(draft: Draft, data: dict[str, Any]) -> Iterator[PolicyError]:
    """Put every valid section into ``draft``; yield the mistakes of the others."""
    file = draft.file
    made = converter(Path(file).parent)
    made.register_structure_hook(ScannerList, lambda value, _: read_scanners(made.structure(value, Path)))
    known = [*TABLES, *LISTS]
    for key in data:
        if key not in known:
            yield PolicyError(file, key, unknown_key(key, known))
    for key, cls in TABLES.items():
        try:
            draft.tables[key] = made.structure(data.get(key, {}), cls)
        except (ValueError, BaseValidationError) as error:
            yield from mistakes(error, file, key)
    for key, cls in LISTS.items():
        items = data.get(key, [])
        if not isinstance(items, list):
            draft.broken.add(key)
            yield PolicyError(file, key, f"expected a list, as in [[{key}]], found {described(items)}")
            continue
        for index, item in enumerate(items):
            try:
                draft.lists[key].append((index, made.structure(item, cls)))
            except (ValueError, BaseValidationError) as error:
                draft.broken.add(key)
                draft.remember_name(key, item)
                yield from mistakes(error, file, f"{key}[{index}]")
