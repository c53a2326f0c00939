"""The build hook: what it compiles, and when it leaves that out. The whole build is made by ``make slow``."""

from __future__ import annotations

import sys
import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.peers import needs_compiler

ROOT = Path(__file__).parents[1]


class _App:
    """What the hook tells people by."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def display_info(self, text: str) -> None:
        self.told.append(text)


class _Hook:
    """The base class of hatchling, which is no part of the developers' environment."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.root = str(ROOT)
        self.config = config
        self.app = _App()


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> Any:
    interface = ModuleType("interface")
    interface.BuildHookInterface = _Hook  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hatchling.builders.hooks.plugin.interface", interface)
    monkeypatch.delenv("EDGESBC_COMPILE", raising=False)
    spec = spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def configuration() -> dict[str, Any]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    config: dict[str, Any] = project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]
    return config


@needs_compiler()
def test_with_a_compiler_machine_code_is_made(build: Any) -> None:
    assert build.reason_to_interpret() == ""
    assert build.MachineCodeHook(configuration()).dependencies() == build.NEEDED


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [("EDGESBC_COMPILE", "no", "EDGESBC_COMPILE=no"), ("CC", "no-such-compiler", "no C compiler")],
)
def test_without_one_or_on_request_the_wheel_is_interpreted(
    build: Any, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(variable, value)
    hook, data = build.MachineCodeHook(configuration()), {"force_include": {}}
    assert hook.dependencies() == []
    hook.initialize("standard", data)
    assert data == {"force_include": {}}
    assert hook.app.told[0].startswith(f"interpreted: {reason}")


def test_what_was_asked_for_and_cannot_be_made_is_an_error(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESBC_COMPILE", "yes")
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(RuntimeError, match="machine code was asked for: no C compiler"):
        build.MachineCodeHook(configuration()).initialize("standard", {})
    monkeypatch.setenv("EDGESBC_COMPILE", "maybe")
    with pytest.raises(ValueError, match="expected auto, yes or no, found maybe"):
        build.reason_to_interpret()


def test_an_editable_installation_is_interpreted(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESBC_COMPILE", "yes")
    hook = build.MachineCodeHook(configuration())
    hook.initialize("editable", {})
    assert hook.app.told == ["interpreted: an editable installation"]


def test_the_compiler_has_the_version_of_the_tests(build: Any) -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert f"\n{build.MYPY} \\\n" in lock


def test_what_is_excluded_is_not_compiled(build: Any) -> None:
    config = configuration()
    chosen = build.chosen_modules(ROOT, config["include"], config["exclude"])
    assert {"edgesbc/relay/loop.py", "edgesbc/media/session_table.py", "edgesbc/sip/parse.py"} <= set(chosen)
    assert not [path for path in chosen if path.endswith(("__init__.py", "__main__.py", "media/commands.py"))]


@needs_compiler()
def test_libraries_come_from_a_copy(build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("setuptools", reason="later Pythons come without it")
    package = tmp_path / "project" / "edgesbc"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "one.py").write_text("def double(number: int) -> int:\n    return 2 * number\n")
    (tmp_path / "copy").mkdir()
    monkeypatch.setenv("MYPYC_OPT_LEVEL", "0")
    made = build.compile_modules(tmp_path / "project", ["edgesbc/*.py"], ["*/__init__.py"], tmp_path / "copy")
    assert sorted(target.partition(".")[0] for target in made.values()) == ["edgesbc/one", "edgesbc/one__mypyc"]
    assert sorted(path.name for path in package.iterdir()) == ["__init__.py", "one.py"]
    (package / "one.py").write_text("def double(number: int) -> str:\n    return 2 * number\n")
    (tmp_path / "wrong").mkdir()
    with pytest.raises(RuntimeError, match="EDGESBC_COMPILE=no leaves it out"):
        build.compile_modules(tmp_path / "project", ["edgesbc/*.py"], ["*/__init__.py"], tmp_path / "wrong")
