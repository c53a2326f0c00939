"""What a confined process cannot do any more, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import json, os, resource, socket, subprocess, sys
from edgesbc.processes.confinement import confine

class Log:
    def info(self, event, **values):
        self.values = values
    error = info

def refused(action):
    try:
        action()
    except OSError as error:
        return error.strerror
    return ""

folder = sys.argv[1]
log = Log()
with open(os.path.join(folder, "open"), "w") as before:
    confine(log)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    before.write("still open")
    print(json.dumps({
        "left_out": log.values["left_out"],
        "kept": log.values["kept"],
        "status": open("/proc/self/status").read(),
        "write": refused(lambda: open(os.path.join(folder, "new"), "w")),
        "change": refused(lambda: open(os.path.join(folder, "old"), "r+")),
        "remove": refused(lambda: os.unlink(os.path.join(folder, "old"))),
        "read": refused(lambda: open(os.path.join(folder, "old")).close()),
        "tcp": refused(lambda: socket.socket().bind(("127.0.0.1", 0))),
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "child": subprocess.run(
            ["cat", "/proc/self/status"], stdin=subprocess.DEVNULL, check=True, capture_output=True, text=True
        ).stdout,
    }))
"""


def test_a_confined_process_reads_and_relays_and_does_little_else(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert found["core"] == 0
    assert found["read"] == ""
    for_relays = "0000000000800000" if found["kept"] == "sys_nice" else "0000000000000000"
    assert {line for line in found["child"].splitlines() if line.startswith("CapPrm")} == {f"CapPrm:\t{for_relays}"}
    assert "CapEff:\t0000000000000000" in found["status"]
    assert "NoNewPrivs:\t1" in found["child"]
    assert (tmp_path / "open").read_text() == "still open"
    if found["left_out"] != "nothing":
        return  # this kernel has no Landlock, and says so
    assert (found["write"], found["change"], found["remove"]) == ("Permission denied",) * 3
    assert (tmp_path / "old").read_text() == "old"
    assert found["tcp"] == "Permission denied"
