"""`edgesbc import` reads a dispatcher.list as Kamailio itself does."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from support.peers import needs
from support.running import end, free_port, until

from edgesbc.inventory.dispatcher_list import import_list

pytestmark = needs("kamailio")

LIST = """\
1 sip:127.0.0.1:7001
1 sip:127.0.0.1:7002 0 5 weight=50
1 sip:127.0.0.1:7003 4
1 sip:127.0.0.1:7004;transport=tcp 0 5 duid=a;maxload=20 # a comment
2 sip:127.0.0.1:7005#comment
2 sip:127.0.0.1:7006 duid=b
# 3 sip:127.0.0.1:7007
"""
CONFIG = """\
#!KAMAILIO
log_stderror=yes
fork=yes
children=1
listen=udp:127.0.0.1:{port}
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "ctl.so"
loadmodule "dispatcher.so"
modparam("ctl", "binrpc", "unix:{folder}/ctl")
modparam("dispatcher", "list_file", "{folder}/dispatcher.list")
request_route {{ exit; }}
"""


@asynccontextmanager
async def kamailio(folder: Path) -> AsyncIterator[Path]:
    """A Kamailio that has read the list in ``folder``; yields its control socket."""
    config = folder / "kamailio.cfg"
    config.write_text(CONFIG.format(folder=folder, port=free_port()))
    with (folder / "kamailio.log").open("wb") as log:
        command = ["kamailio", "-f", str(config), "-DD", "-E", "-w", str(folder), "-Y", str(folder)]
        process = await trio.lowlevel.open_process(command, stdout=log, stderr=log)
    try:
        await until(lambda: (folder / "ctl").exists() or process.poll() is not None)
        assert process.poll() is None, (folder / "kamailio.log").read_text()
        yield folder / "ctl"
    finally:
        await end(process)


async def test_destinations_are_in_the_order_in_which_kamailio_tries_them(tmp_path: Path) -> None:
    (tmp_path / "dispatcher.list").write_text(LIST)
    shown = ""

    async def read() -> bool:
        nonlocal shown
        command = ["kamcmd", "-s", f"unix:{control}", "dispatcher.list"]
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
        shown = done.stdout.decode()
        return done.returncode == 0 and "URI" in shown

    async with kamailio(tmp_path) as control:
        await until(read)
    theirs: dict[str, list[tuple[str, bool]]] = {}
    for part in re.split(r"^\s*ID: ", shown, flags=re.MULTILINE)[1:]:
        rows = re.findall(r"URI: (\S+)\s+FLAGS: (\w)", part)
        theirs[f"set-{part.split()[0]}"] = [(uri, flag == "D") for uri, flag in rows]
    ours = {
        destinations.set: [(member.uri, member.disabled) for member in destinations.members]
        for destinations in import_list(LIST, "dispatcher.list", {}, 8).sets
    }
    assert ours == theirs
