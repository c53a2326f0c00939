"""Child processes of the demo: their output is read, and they always end."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgesbc.demo.callers import CallGroup, read_jobs, write_jobs
from edgesbc.demo.children import Child, loopback
from edgesbc.demo.environment import DemoEnvironment
from edgesbc.demo.scenario import ScenarioPlan


async def test_a_childs_output_is_read_and_it_is_stopped() -> None:
    child = Child("edgesbc.demo.pbx", ["--host", "127.0.0.1"])
    line = await child.line()
    assert line is not None
    assert json.loads(line)["port"] > 0
    assert await child.stop() == -signal.SIGTERM
    assert await child.line() is None


def test_a_child_dies_with_its_parent() -> None:
    program = (
        "import time; from edgesbc.demo.children import Child; "
        "print(Child('edgesbc.demo.pbx').pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        try:
            parent.kill()
            ended, _, _ = select.select([child], [], [], 20)
            assert ended, "the child outlived its parent"
        finally:
            os.close(child)


@pytest.mark.parametrize("host", ["192.0.2.1", "0.0.0.0", "::1", "localhost", ""])
def test_only_loopback_addresses(host: str) -> None:
    with pytest.raises(ValueError):
        loopback(host)
    with pytest.raises(ValueError):
        CallGroup("x", "udp", "127.0.0.1:5060", host, "", 1, 1)
    with pytest.raises(ValueError):
        CallGroup("x", "udp", f"{host}:5060", "127.0.0.1", "", 1, 1)


@pytest.mark.parametrize(
    "changes", [{"count": 0}, {"count": 10**6}, {"rate": 0}, {"rate": 1e6}, {"packets": 0}, {"transport": "sctp"}]
)
def test_jobs_are_bounded(changes: dict[str, object]) -> None:
    sound = {"name": "x", "transport": "udp", "edge": "127.0.0.1:5060", "host": "127.0.0.1", "ca": "", "count": 1}
    with pytest.raises(ValueError):
        CallGroup(**{**sound, "rate": 1, **changes})  # type: ignore[arg-type]


def test_jobs_are_read_back_unchanged() -> None:
    groups = [CallGroup("x", "wss", "127.0.0.1:443", "127.0.0.24", "ca.pem", 10, 4.0)]  # type: ignore[arg-type]
    assert read_jobs(write_jobs(groups).decode()) == groups


@pytest.mark.parametrize("changes", [{"rate": 0}, {"rate": 50_001}, {"seconds": 0}, {"seconds": 61}, {"calls": 0}])
def test_the_plan_is_bounded(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected"):
        ScenarioPlan(**changes)


def test_the_log_of_the_edge_is_read(tmp_path: Path) -> None:
    environment = DemoEnvironment(tmp_path)
    for line in ("no json", '{"event": "metrics", "address": "127.0.0.1:8080"}'):
        environment._note(line)
    assert str(environment.metrics) == "127.0.0.1:8080"
    assert environment.warnings[0] == "no json"
