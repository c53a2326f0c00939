"""Loads the list of known scanners from its file as a :class:`ScannerList`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

from cattrs import BaseValidationError

from edgesbc.base import limits
from edgesbc.base.errors import PolicyError
from edgesbc.base.files import read_file
from edgesbc.base.patterns import check_pattern
from edgesbc.base.version import PACKAGE_FOLDER
from edgesbc.policy.structure import converter, mistakes
from edgesbc.screen.stages.scanner import ScannerList
from edgesbc.sip.grammar import CANONICAL

__all__ = ["read_scanners", "shipped_scanners"]


def shipped_scanners() -> ScannerList:
    """The shipped list, ``policies/scanners.toml``: beside the package in a checkout, inside it when installed. Raises
    ``ValueError`` if there is none."""
    package = PACKAGE_FOLDER
    beside, within = (folder / "policies" / "scanners.toml" for folder in (package.parent, package))
    return read_scanners(beside if beside.is_file() else within)


def read_scanners(path: Path) -> ScannerList:
    """The list in the file at ``path``. Raises ``ValueError`` that says what is wrong with it."""
    try:
        data = read_file(path, limits.POLICY_BYTES)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    try:
        scanners = converter(path.parent).structure(tomllib.loads(data.decode()), ScannerList)
    except RecursionError:
        raise ValueError(f"{path}: expected TOML: it is nested too deeply") from None
    except BaseValidationError as error:
        mistakes_found = [(mistake.key.lstrip("."), mistake.message) for mistake in mistakes(error, str(path), "")]
        raise ValueError("; ".join(str(PolicyError(str(path), *mistake)) for mistake in mistakes_found)) from None
    except ValueError as error:  # UnicodeDecodeError and TOMLDecodeError among them
        raise ValueError(f"{path}: expected TOML: {error}") from None
    mistakes_left = [str(PolicyError(str(path), key, message)) for key, message in _checked(scanners)]
    if mistakes_left:
        raise ValueError("; ".join(mistakes_left))
    return scanners


def _checked(scanners: ScannerList) -> Iterator[tuple[str, str]]:
    bound = limits.SCANNER_TEXTS
    for key, texts in (("user_agents", scanners.user_agents), ("shape", scanners.shape)):
        if len(texts) > bound:
            yield key, f"expected at most {bound}, found {len(texts)}"
    for index, shape in enumerate(scanners.shape):
        key = f"shape[{index}].header"
        if not shape.header:
            yield key, "expected a pattern for a header field at least, found none: every message has that shape"
        for name, pattern in shape.header.items():
            if CANONICAL.get(name.lower(), name) != name:
                yield f"{key}.{name}", f"expected the name as it is usually written, {CANONICAL[name.lower()]}"
            try:
                check_pattern(pattern)
            except ValueError as error:
                yield f"{key}.{name}", str(error)
