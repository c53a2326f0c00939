"""The demo's policy: ``policies/demo.toml`` with the addresses and folders of this run."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgesbc.base.address import Source
from edgesbc.base.files import write_file
from edgesbc.base.version import PACKAGE_FOLDER

__all__ = ["shipped_policy", "to_toml", "write_policy"]

MEDIA_TIMEOUT = 10
"""Seconds without media after which the edge ends a call, such as one whose PBX was killed."""


def shipped_policy() -> Path:
    """The path of ``policies/demo.toml``: beside the package in a checkout, inside it in an installation.

    Raises ``FileNotFoundError`` if it is in neither.
    """
    package = PACKAGE_FOLDER
    for folder in (package.parent / "policies", package / "policies"):
        if (folder / "demo.toml").is_file():
            return folder / "demo.toml"
    raise FileNotFoundError("policies/demo.toml is neither beside the package nor in it")


def write_policy(path: Path, pbxs: Sequence[Source], state_dir: Path, certificate: Path, probe: bool = True) -> None:
    """Write the policy of this run to ``path``. Without ``probe``, destinations are not probed.

    Members keep their settings of the shipped file except their addresses; there are as many as ``pbxs``.
    """
    policy: dict[str, Any] = tomllib.loads(shipped_policy().read_text(encoding="utf-8"))
    policy["edge"]["state_dir"] = str(state_dir)
    for listen in policy["listen"]:
        if listen["transport"] in ("tls", "wss"):
            listen["certificate"] = str(certificate)
    destinations = policy["destinations"][0]
    for member, address in zip(destinations["members"], pbxs, strict=True):
        member["uri"] = f"sip:{address}"
    if not probe:
        destinations["health"]["interval"] = 0
    policy["media"]["timeout"] = MEDIA_TIMEOUT
    write_file(path, to_toml(policy).encode())


def to_toml(table: Mapping[str, Any]) -> str:
    """``table`` as TOML, one line a key; its values are strings, numbers, booleans, and lists and tables of them."""
    return "".join(f"{json.dumps(key)} = {_value(value)}\n" for key, value in table.items())


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, str | bool | int | float):
        return json.dumps(value, ensure_ascii=False)
    raise TypeError(f"no TOML for {type(value).__name__}")
