"""The rules of the architecture, checked in the syntax trees of the source: imports, tasks, clocks, files.

A rule is a function that gets the path of a file below ``edgesbc`` and its tree, and yields complaints. Every file of
``edgesbc`` is checked against every rule. Every rule is also given code that breaks it, to show that it can fail.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import edgesbc

PACKAGE_ROOT = Path(edgesbc.__file__).parent

# Low to high. A package imports from itself and from the floors below it, not from others on its own floor.
# A key is a package, or a module that stands on another floor than its package.
FLOORS: list[set[str]] = [
    {"base"},
    {"sip", "tasks", "kernel_relay.program"},
    {
        "kernel_relay",
        "dispatch",
        "inventory",
        "resolve",
        "routing",
        "screen",
        "media",
        "sdp",
        "streams",
        "transport.filter_programs",
    },
    {"signalling", "ng", "relay"},
    {"policy", "store", "observe"},
    {"transport", "media.plane", "observe.http", "resolve.resolver", "ng.listener"},
    {"control"},
    {"rollout"},
    {"demo", "replay"},
    {"app"},
    {"embedding"},
    {"processes"},
    {""},  # edgesbc/__init__.py: the public API
    {"cli"},
    {"__main__"},
]
FLOOR_OF = {package: number for number, packages in enumerate(FLOORS) for package in packages}
SAME_FLOOR = {  # modules that stand on another floor than their package, by the one that FLOORS names
    "kernel_relay.assembler": "kernel_relay.program",
    "kernel_relay.flows": "kernel_relay.program",
    "kernel_relay.mode": "kernel_relay.program",
    "media.kernel_path": "media.plane",
    "media.relay": "media.plane",
    "media.relay_client": "media.plane",
    "media.relay_process": "media.plane",
    "media.relay_thread": "media.plane",
    "media.plane_settings": "media.plane",
    "ng.engines": "ng.listener",
    "resolve.name_servers": "resolve.resolver",
    "transport.bpf": "transport.filter_programs",
}
SEES_SIBLING = {
    ("media", "sdp"): "offers and answers are SDP, which media parses and builds anew",
    ("dispatch", "routing"): "a member rewrites numbers as a route does",
    ("inventory", "dispatch"): "rows of a table become the settings of members",
}

SANS_IO_PACKAGES = {
    *("base", "sip", "sdp", "screen", "dispatch", "inventory", "resolve", "routing", "signalling"),
    *("streams", "media", "ng", "replay"),
    "transport.filter_programs",
    "kernel_relay.program",
}
IO_MODULES = {
    *("trio", "trio_websocket", "asyncio", "threading", "multiprocessing", "subprocess", "concurrent"),
    *("socket", "ssl", "select", "selectors", "signal", "time", "random", "secrets"),
}
"""What a sans-I/O package does not import: tasks, descriptors, clocks, entropy."""
IO_EXCEPTIONS = {("streams/tls.py", "ssl"): "OpenSSL between two buffers in memory, without a descriptor"}
IO_NAMES = {("os", "urandom"), ("os", "getrandom"), ("uuid", "uuid1"), ("uuid", "uuid4")} | {
    (owner, name) for owner in ("datetime", "date") for name in ("now", "utcnow", "today")
}

NURSERIES = {
    "app.py": "the root nursery, with the media and signalling nurseries in it",
    "embedding.py": "a nursery around the caller's block, where the caller hands in none",
    "cli/media_serving.py": "`edgesbc media`: the media plane, and the NG server that controls it",
    "ng/engines.py": "the client of rtpengines: a task for each socket, and the timer",
    "ng/listener.py": "the NG server: its sockets, the connections at the Unix socket, delayed deletes",
    "processes/until_drained.py": "`edgesbc run`: the edge, the task that obeys signals, and that of reloads",
    "processes/packet_link.py": "a link between processes: a task reads, another writes",
    "processes/media_link.py": "the link to the media plane, beside the start that waits for it",
    "processes/media_control.py": "the process of media control: the media plane, and the sockets that it answers on",
    "processes/observing.py": "the observing process: HTTP, and the link to the supervisor",
    "processes/signalling.py": "the signalling process: the edge, and the link to the supervisor",
    "processes/supervisor.py": "the supervisor: a task for each process that it keeps running",
    "rollout/active_policy.py": "databases that are read at the same time, before a policy is in force",
    "media/plane.py": "the media plane: control task and relay task",
    "transport/plane.py": "the signalling plane: listeners, connections, the timer task, the read budget",
    "transport/stream_listener.py": "a listener, for the tasks that accept from its sockets",
    "resolve/resolver.py": "a few workers, so that one name's silent servers do not hold up the other names",
}
NURSERY_PACKAGES = {"demo"}  # the demo's callers, attackers and PBXs
CONTAINED = {
    "observe/http.py": {"_serve"},
    "control/server.py": {"_serve"},
    "ng/listener.py": {"_serve"},
    "transport/stream_listener.py": {"_serve", "_serve_for_balancer"},
    "transport/plane.py": {"_connect", "run"},  # UdpListener.run
    "store/destination_source.py": {"_run_feed"},
    "processes/packet_link.py": {"_write"},
    "processes/media_server.py": {"_serve"},
    "rollout/active_policy.py": {"read"},  # before a policy is in force: what it raises refuses the change
}
"""Functions that are tasks and contain their own faults; any other task is run by ``keep_running``."""
UNCONTAINED_PACKAGES = {"demo", "cli"}  # programs that end with what is raised in them

BARRED_NAMES = {"utils", "util", "manager", "handler", "helper", "helpers", "common", "misc"}

CATCH_ALL = {
    "screen/pipeline.py": "a stage that raises rejects that message with reason `internal`",
    "transport/plane.py": "after a fault in the signalling core one message or effect is lost, and the edge runs on",
    "tasks/containment.py": "after a fault in a task it runs again; after one in a connection or command, that ends",
    "media/relay_thread.py": "after a fault the loop of the relay runs again",
    "relay/loop.py": "after a fault one packet or command is lost, and the relay goes on",
    "observe/logs.py": "a log record that cannot be made is lost, and its caller goes on",
    "resolve/resolver.py": "after a fault from the records of a name one look-up fails, and the edge runs on",
    "store/databases.py": "after a fault in a database driver one reading of a table fails, and the edge runs on",
    "control/server.py": "after a fault in a command its client gets an error, and the edge runs on",
}
"""The documented boundaries that may catch every Exception, and why."""


def package_of(module: str) -> str:
    """The floor key of a dotted module below ``edgesbc`` (``sip.parse`` is ``sip``)."""
    parts = module.split(".")
    two = ".".join(parts[:2])
    two = SAME_FLOOR.get(two, two)
    return two if two in FLOOR_OF else parts[0]


def module_of(path: str) -> str:
    """``sip/parse.py`` as ``sip.parse``, ``sip/__init__.py`` as ``sip``."""
    return path.removesuffix(".py").replace("/", ".").removesuffix("__init__").removesuffix(".")


def imports(path: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import, in functions and under TYPE_CHECKING too."""
    package = ["edgesbc", *path.split("/")[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{name}.{alias.name}") for alias in node.names)


def sans_io(path: str) -> bool:
    return package_of(module_of(path)) in SANS_IO_PACKAGES


def called(node: ast.AST) -> str:
    """The last name of what a call calls: ``open_nursery`` for ``trio.open_nursery()``."""
    if not isinstance(node, ast.Call):
        return ""
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def floors(path: str, tree: ast.AST) -> Iterator[str]:
    """A package imports only from floors below its own."""
    here = package_of(module_of(path))
    if here not in FLOOR_OF:
        yield f"1: package {here!r} stands on no floor: add it to FLOORS"
        return
    for line, name in imports(path, tree):
        top, _, inner = name.partition(".")
        if top != "edgesbc":
            continue
        imported = package_of(inner)
        if imported not in FLOOR_OF:
            imported = ""  # a name of edgesbc/__init__.py, such as serve
        if imported == here or (here, imported) in SEES_SIBLING:
            continue
        if FLOOR_OF[imported] >= FLOOR_OF[here]:
            yield f"{line}: {here} imports {imported} ({name})"


def no_io(path: str, tree: ast.AST) -> Iterator[str]:
    """A sans-I/O package has no clock, entropy, descriptor or task of its own: its callers pass in times and bytes."""
    if not sans_io(path):
        return
    for line, name in imports(path, tree):
        module, _, member = name.rpartition(".")
        if (path, name) in IO_EXCEPTIONS:
            continue
        if name.partition(".")[0] in IO_MODULES or (module, member) in IO_NAMES:
            yield f"{line}: a sans-I/O package imports {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value
            owned_by = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            if (owned_by, node.attr) in IO_NAMES:
                yield f"{node.lineno}: a sans-I/O package uses {owned_by}.{node.attr}"
        elif isinstance(node, ast.AsyncFunctionDef | ast.Await):
            yield f"{node.lineno}: a sans-I/O package awaits"


def no_import_by_name(path: str, tree: ast.AST) -> Iterator[str]:
    """An import by a computed name cannot be checked against the floors."""
    for node in ast.walk(tree):
        if called(node) in {"__import__", "import_module"}:
            yield f"{node.lineno}: {called(node)} hides an import"


def nurseries(path: str, tree: ast.AST) -> Iterator[str]:
    """Nurseries are opened in these files alone, so that the order in which tasks end can be read there."""
    if path in NURSERIES or path.split("/")[0] in NURSERY_PACKAGES:
        return
    for node in ast.walk(tree):
        name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
        if name in {"open_nursery", "spawn_system_task"}:
            yield f"{node.lineno}: {name} outside the files named in NURSERIES"
    for line, name in imports(path, tree):
        if name in {"trio.open_nursery", "trio.lowlevel.spawn_system_task"}:
            yield f"{line}: {name} outside the files named in NURSERIES"


def catch_all(path: str, tree: ast.AST) -> Iterator[str]:
    """Only a documented boundary catches ``Exception``; no code catches ``Cancelled`` and goes on."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        types = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        caught = {"bare" if one is None else getattr(one, "id", getattr(one, "attr", "")) for one in types}
        barred = {"bare", "BaseException", "Cancelled"} | (set() if path in CATCH_ALL else {"Exception"})
        reraises = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
        if caught & barred and not reraises:
            yield f"{node.lineno}: except {' '.join(sorted(caught & barred))}"


def contained_tasks(path: str, tree: ast.AST) -> Iterator[str]:
    """What is raised in a task ends no other: it is run by ``Containment.keep_running``, or contains its faults."""
    if path.split("/")[0] in UNCONTAINED_PACKAGES:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node) == "start_soon":
            task = node.args[0]
            name = task.attr if isinstance(task, ast.Attribute) else getattr(task, "id", "")
            if name != "keep_running" and name not in CONTAINED.get(path, ()):
                yield f"{node.lineno}: the task {name} is not contained"


def names(path: str, tree: ast.AST) -> Iterator[str]:
    """A file's name says what is in it."""
    yield from (f"1: {part!r} says nothing" for part in module_of(path).split(".") if part in BARRED_NAMES)


FILE_CALLS = {"write_text", "write_bytes", "read_bytes", "fdopen", "fsync", "mkstemp", "NamedTemporaryFile"}
"""Ways to write or read a file that would give other guarantees than ``base/files.py``."""


def files(path: str, tree: ast.AST) -> Iterator[str]:
    """Files are written and read whole by ``base/files.py`` alone, which sans-I/O packages do not import."""
    if path == "base/files.py":
        return
    for node in ast.walk(tree):
        if called(node) in FILE_CALLS:
            yield f"{node.lineno}: {called(node)} instead of a function of base/files.py"
    if sans_io(path):
        for line, name in imports(path, tree):
            if name.startswith("edgesbc.base.files"):
                yield f"{line}: a sans-I/O package imports {name}"


def has_docstring(path: str, tree: ast.AST) -> Iterator[str]:
    """Every file has a docstring, which says what the file is for."""
    if isinstance(tree, ast.Module) and not ast.get_docstring(tree):
        yield "1: no docstring"


Rule = Callable[[str, ast.AST], Iterator[str]]
RULES: list[Rule] = [
    floors,
    no_io,
    no_import_by_name,
    nurseries,
    contained_tasks,
    catch_all,
    names,
    files,
    has_docstring,
]
FILES = sorted(path.relative_to(PACKAGE_ROOT).as_posix() for path in PACKAGE_ROOT.rglob("*.py"))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_file_keeps_the_rule(rule: Rule) -> None:
    assert len(FILES) > 15, "the package was not found"
    complaints = [
        f"edgesbc/{path}:{complaint}"
        for path in FILES
        for complaint in rule(path, ast.parse((PACKAGE_ROOT / path).read_text(encoding="utf-8")))
    ]
    assert complaints == []


# --- rules over all files together -----------------------------------------------------------------------

Tree = dict[str, ast.Module]


def import_graph(tree: Tree) -> dict[str, set[str]]:
    """Which module imports which, at run time or under TYPE_CHECKING.

    The imports of ``edgesbc/__init__.py`` are left out: it imports :mod:`edgesbc.embedding` on first use.
    """
    modules = {module_of(path) for path in tree}
    graph: dict[str, set[str]] = {}
    for path, content in tree.items():
        here = module_of(path)
        imported = graph.setdefault(here, set())
        for _, name in imports(path, content) if here else ():
            inner = name.partition(".")[2]
            while inner and inner not in modules:
                inner = inner.rpartition(".")[0]
            if name.startswith("edgesbc.") and inner not in ("", here):
                imported.add(inner)
    return graph


def no_import_cycles(tree: Tree) -> Iterator[str]:
    """Modules that import each other cannot be understood one at a time."""
    graph = import_graph(tree)
    while leaves := [module for module, imported in graph.items() if not imported & graph.keys()]:
        for module in leaves:
            del graph[module]
    while unused := graph.keys() - set().union(*graph.values()):
        for module in unused:
            del graph[module]
    if graph:
        yield f"modules import each other: {', '.join(sorted(graph))}"


def unique_class_names(tree: Tree) -> Iterator[str]:
    """No two classes of edgesbc have the same name."""
    places: dict[str, list[str]] = {}
    for path, content in tree.items():
        for node in content.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(path)
    yield from (f"{name} is a class in {' and '.join(paths)}" for name, paths in places.items() if len(paths) > 1)


def edge_is_a_facade(tree: Tree) -> Iterator[str]:
    """Outside of signalling, only the public methods of ``Edge`` are used: neither its parts nor private names."""
    for path, content in tree.items():
        if path.startswith("signalling/"):
            continue
        for node in ast.walk(content):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("edgesbc.signalling"):
                for alias in node.names:
                    if alias.name.startswith("_") or (node.module or "").endswith(".wiring"):
                        yield f"{path}:{node.lineno}: imports {alias.name} of {node.module}"
            if isinstance(node, ast.Attribute):
                owner = node.value.func if isinstance(node.value, ast.Call) else node.value
                of_edge = getattr(owner, "attr", getattr(owner, "id", "")).strip("_") == "edge"
                if of_edge and (node.attr == "parts" or node.attr.startswith("_")):
                    yield f"{path}:{node.lineno}: reaches {node.attr} of an edge"


TreeRule = Callable[[Tree], Iterator[str]]
TREE_RULES: list[TreeRule] = [no_import_cycles, unique_class_names, edge_is_a_facade]


def parsed(files: dict[str, str]) -> Tree:
    return {path: ast.parse(text) for path, text in files.items()}


@pytest.mark.parametrize("rule", TREE_RULES, ids=lambda rule: rule.__name__)
def test_all_files_together_keep_the_rule(rule: TreeRule) -> None:
    assert list(rule(parsed({path: (PACKAGE_ROOT / path).read_text(encoding="utf-8") for path in FILES}))) == []


@pytest.mark.parametrize(
    ("rule", "files"),
    [
        (no_import_cycles, {"sip/a.py": "from edgesbc.sip import b", "sip/b.py": "import edgesbc.sip.a"}),
        (
            no_import_cycles,
            {
                "sip/a.py": "if TYPE_CHECKING:\n    from edgesbc.sip.b import B",
                "sip/b.py": "def f():\n    from edgesbc.sip.c import C",
                "sip/c.py": "from .a import A",
                "sip/d.py": "from edgesbc.sip import a",
            },
        ),
        (unique_class_names, {"sip/a.py": "class State: pass", "media/b.py": "class State: pass"}),
        (edge_is_a_facade, {"app.py": "def f(self): return self.edge.parts.calls"}),
        (edge_is_a_facade, {"app.py": "def f(self): return self._edge()._calls"}),
        (edge_is_a_facade, {"app.py": "from edgesbc.signalling.wiring import CoreParts"}),
        (edge_is_a_facade, {"app.py": "from edgesbc.signalling.branch import _Private"}),
    ],
)
def test_the_rule_over_all_files_sees_a_breach(rule: TreeRule, files: dict[str, str]) -> None:
    assert list(rule(parsed(files)))


@pytest.mark.parametrize(
    ("rule", "files"),
    [
        (
            no_import_cycles,
            {"sip/a.py": "from edgesbc.sip import b, c", "sip/b.py": "import edgesbc.sip.c", "sip/c.py": ""},
        ),
        (no_import_cycles, {"__init__.py": "from edgesbc.app import App", "app.py": "from edgesbc import __version__"}),
        (unique_class_names, {"sip/a.py": "class _State: pass", "media/b.py": "class _State: pass"}),
        (edge_is_a_facade, {"signalling/edge.py": "def f(self): return self.parts.calls"}),
        (edge_is_a_facade, {"app.py": "from edgesbc.signalling.edge import Edge\ndef f(self): return self.edge.calls"}),
    ],
)
def test_the_rule_over_all_files_lets_pass_what_is_allowed(rule: TreeRule, files: dict[str, str]) -> None:
    assert list(rule(parsed(files))) == []


def test_every_permission_is_used() -> None:
    """Every file that may open a nursery, or catch ``Exception``, does so; otherwise it is removed from the list."""
    for permitted, uses in ((NURSERIES, "open_nursery"), (CATCH_ALL, "except Exception")):
        for path in permitted:
            assert path in FILES, f"{path} is permitted {uses} and does not exist"
            assert uses in (PACKAGE_ROOT / path).read_text(encoding="utf-8"), f"{path} no longer needs {uses}"
    for path, tasks in CONTAINED.items():
        started = {
            getattr(node.args[0], "attr", getattr(node.args[0], "id", ""))
            for node in ast.walk(ast.parse((PACKAGE_ROOT / path).read_text(encoding="utf-8")))
            if isinstance(node, ast.Call) and called(node) == "start_soon"
        }
        assert tasks <= started, f"{path} no longer starts {tasks - started}"


BREACHES: list[tuple[Rule, str, str]] = [
    (floors, "base/deadlines.py", "from edgesbc.sip import parse"),
    (floors, "sip/parse.py", "import edgesbc.signalling.edge"),
    (floors, "sip/parse.py", "from edgesbc import signalling"),
    (floors, "sip/parse.py", "from ..screen import pipeline"),
    (floors, "sip/parse.py", "from .. import screen"),
    (floors, "sip/parse.py", "def f():\n    from edgesbc.sdp import session"),
    (floors, "sip/parse.py", "if TYPE_CHECKING:\n    from edgesbc.signalling.edge import Edge"),
    (floors, "screen/pipeline.py", "from edgesbc.dispatch import sets"),
    (floors, "transport/udp.py", "from edgesbc.media.plane import Plane"),
    (floors, "transport/udp.py", "from edgesbc.media.relay import Relay"),
    (floors, "transport/udp.py", "from edgesbc.observe.http import serve_http"),
    (floors, "media/session_table.py", "from edgesbc.media.plane import Plane"),
    (floors, "media/session_table.py", "from .relay import Relay"),
    (floors, "media/session_table.py", "from .relay_client import RelayClient"),
    (floors, "sdp/session.py", "from edgesbc.media.session_table import Sessions"),
    (floors, "screen/stage.py", "from edgesbc.sdp.session import Session"),
    (floors, "observe/ledger.py", "from edgesbc.observe.http import serve_http"),
    (floors, "observe/ledger.py", "from edgesbc.control.server import serve_control"),
    (floors, "transport/filter_programs.py", "from edgesbc.transport.kernel_filters import attach"),
    (floors, "app.py", "from edgesbc.cli import main"),
    (floors, "replay/replayer.py", "from edgesbc.demo.messages import describe"),
    (floors, "replay/replayer.py", "from edgesbc.app import App"),
    (no_io, "replay/replayer.py", "import random"),
    (no_io, "replay/capture.py", "import time"),
    (floors, "attic/box.py", ""),
    (no_io, "sip/parse.py", "import trio"),
    (no_io, "signalling/edge.py", "from time import monotonic"),
    (no_io, "screen/stages/pike.py", "def f():\n    import random"),
    (no_io, "media/latch.py", "import socket"),
    (no_io, "transport/filter_programs.py", "import ssl"),
    (no_io, "dispatch/settings.py", "from os import urandom"),
    (no_io, "dispatch/settings.py", "import os\nkey = os.urandom(16)"),
    (no_io, "sdp/session.py", "import datetime\nnow = datetime.datetime.now()"),
    (no_io, "base/deadlines.py", "async def f(): pass"),
    (no_import_by_name, "sip/parse.py", "import importlib\nimportlib.import_module('trio')"),
    (no_import_by_name, "sip/parse.py", "__import__('trio')"),
    (nurseries, "transport/udp.py", "async def f():\n    async with trio.open_nursery() as n: pass"),
    (nurseries, "media/relay.py", "from trio import open_nursery as o"),
    (nurseries, "observe/http.py", "trio.lowlevel.spawn_system_task(f)"),
    (contained_tasks, "app.py", "nursery.start_soon(state.run)"),
    (contained_tasks, "transport/plane.py", "nursery.start_soon(self._run_timer)"),
    (contained_tasks, "media/plane.py", "nursery.start_soon(lambda: None)"),
    (catch_all, "sip/parse.py", "try: pass\nexcept Exception: pass"),
    (catch_all, "sip/parse.py", "try: pass\nexcept (ValueError, Exception): pass"),
    (catch_all, "app.py", "try: pass\nexcept: pass"),
    (catch_all, "screen/pipeline.py", "try: pass\nexcept BaseException: pass"),
    (catch_all, "transport/udp.py", "try: pass\nexcept trio.Cancelled: pass"),
    (names, "sip/utils.py", ""),
    (names, "common/x.py", ""),
    (files, "store/bans.py", "path.write_bytes(data)"),
    (files, "app.py", "os.fdopen(descriptor)"),
    (files, "screen/pipeline.py", "from edgesbc.base.files import read_file"),
    (files, "sip/parse.py", "from edgesbc.base import files"),
    (has_docstring, "sip/parse.py", "x = 1"),
]


@pytest.mark.parametrize(("rule", "path", "breach"), BREACHES)
def test_the_rule_sees_a_breach(rule: Rule, path: str, breach: str) -> None:
    assert list(rule(path, ast.parse(breach)))


ALLOWED: list[tuple[Rule, str, str]] = [
    (floors, "sip/parse.py", "from edgesbc.base.errors import WireError\nfrom edgesbc.sip import grammar"),
    (floors, "media/plane.py", "from edgesbc.media.relay import Relay\nfrom .session import Session"),
    (floors, "observe/http.py", "from edgesbc.observe.metrics import Metrics"),
    (floors, "cli.py", "from edgesbc import __version__\nfrom edgesbc.app import run"),
    (floors, "media/session_table.py", "from edgesbc.sdp.session import Session"),
    (no_io, "media/plane.py", "import trio, time"),
    (no_io, "media/relay_client.py", "import socket"),
    (no_io, "media/relay.py", "import select"),
    (no_io, "transport/kernel_filters.py", "import socket"),
    (nurseries, "app.py", "trio.open_nursery()"),
    (contained_tasks, "app.py", "nursery.start_soon(self.containment.keep_running, 'a', state.run)"),
    (contained_tasks, "control/server.py", "nursery.start_soon(self._serve, sock)"),
    (contained_tasks, "cli/serving.py", "nursery.start_soon(f)"),
    (catch_all, "screen/pipeline.py", "try: pass\nexcept Exception: pass"),
    (catch_all, "app.py", "try: pass\nexcept BaseException:\n    close()\n    raise"),
    (files, "store/bans.py", "from edgesbc.base.files import read_file\nread_file(path, 4)"),
    (files, "base/files.py", "os.fsync(descriptor)"),
    (has_docstring, "sip/parse.py", '"""What it is."""'),
]


@pytest.mark.parametrize(("rule", "path", "allowed"), ALLOWED)
def test_the_rule_lets_pass_what_is_allowed(rule: Rule, path: str, allowed: str) -> None:
    assert list(rule(path, ast.parse(allowed))) == []


def test_no_compiled_module_is_older_than_its_source() -> None:
    """Python imports the compiled module, not the source: after a change, `make compiled` or `make interpreted`."""
    modules = {path: path.with_name(path.name.partition(".")[0] + ".py") for path in PACKAGE_ROOT.rglob("*.so")}
    assert [str(path) for path, source in modules.items() if path.stat().st_mtime < source.stat().st_mtime] == []


def compiled_sources() -> set[Path]:
    """The modules of which ``make compiled`` makes machine code."""
    root = PACKAGE_ROOT.parent
    hook = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]
    compiled = {path for pattern in hook["custom"]["include"] for path in root.glob(pattern)}
    return compiled - {path for path in compiled for pattern in hook["custom"]["exclude"] if path.match(pattern)}


def test_no_module_with_fields_of_attrs_is_compiled() -> None:
    """``attrs.field()`` returns no value of the field's type. Compiled code checks types: it could not be imported."""
    compiled = compiled_sources()
    assert compiled
    assert [str(path) for path in compiled if "= attrs.field(" in path.read_text()] == []


def test_a_name_in_compiled_code_has_exceptions_of_one_kind() -> None:
    """mypyc gives a variable the type of its first ``except ... as``: another one in its place would be a TypeError."""
    for path in compiled_sources():
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef):
                kinds: dict[str, set[str]] = {}
                for handler in ast.walk(function):
                    if isinstance(handler, ast.ExceptHandler) and handler.name and handler.type:
                        kinds.setdefault(handler.name, set()).add(ast.unparse(handler.type))
                mixed = [name for name, types in kinds.items() if len(types) > 1]
                assert not mixed, f"{path}: {function.name}: {', '.join(mixed)}"


def test_what_looks_up_the_source_of_each_message_is_compiled() -> None:
    names = {path.stem for path in compiled_sources() if path.parent.name == "screen"}
    assert names >= {"bans", "operator_bans", "penalties", "pipeline", "standing", "tracker"}
