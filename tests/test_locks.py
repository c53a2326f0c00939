"""The lock files: every package has its hashes, no index is named, and the tests use the same versions as the edge.

So is the lock file of the npm packages that the tests run in a browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALL, RUNTIME = "requirements.lock", "requirements-runtime.lock"
_PACKAGE = re.compile(r"^([a-z0-9][a-z0-9._-]*)(?:\[[a-z,]+\])?==([^\s;\\]+)(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)


def locked(name: str) -> dict[tuple[str, str], set[str]]:
    """The hashes of each package and version."""
    text = (ROOT / name).read_text()
    return {
        (package, version): set(re.findall(r"--hash=sha256:([0-9a-f]{64})", rest))
        for package, version, rest in _PACKAGE.findall(text)
    }


@pytest.mark.parametrize("name", [ALL, RUNTIME])
def test_every_package_has_its_hashes(name: str) -> None:
    packages = locked(name)
    assert len(packages) == len(re.findall(r"^[^\s#]", (ROOT / name).read_text(), re.MULTILINE)) > 30
    assert all(packages.values()), [package for package, hashes in packages.items() if not hashes]


@pytest.mark.parametrize("name", [ALL, RUNTIME])
def test_no_index_and_no_folder_is_named(name: str) -> None:
    assert not re.search(r"://|^-|^\s+--(?!hash)|file:", (ROOT / name).read_text(), re.MULTILINE)


def test_runtime_packages_have_the_same_versions_in_the_tests() -> None:
    all_packages, runtime = locked(ALL), locked(RUNTIME)
    assert runtime.items() <= all_packages.items()
    names = {package for package, _ in runtime}
    assert {"trio", "cryptography", "psycopg-binary", "pymysql"} <= names
    assert not {"pytest", "mypy", "ruff", "hypothesis", "atheris", "trustme"} & names


def test_phones_of_the_tests_have_their_hashes_and_no_index_is_named() -> None:
    name = "tests/interop/phones/requirements.lock"
    assert [package for package, _ in locked(name)] == ["pjsua2-python"]
    assert all(locked(name).values())
    assert not re.search(r"://|^-|^\s+--(?!hash)|file:", (ROOT / name).read_text(), re.MULTILINE)


def test_npm_packages_have_their_hashes_and_no_registry_is_named() -> None:
    text = (ROOT / "tests" / "browser" / "package-lock.json").read_text()
    packages = {name: package for name, package in json.loads(text)["packages"].items() if name}
    assert {"node_modules/jssip", "node_modules/sip.js", "node_modules/esbuild"} <= packages.keys()
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert not re.search(r"://|resolved|file:", text)
