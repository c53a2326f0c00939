"""A real Kamailio with a dispatcher.list: what it reads in it, and which destination it selects for a call."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from support.running import end, free_port, until

__all__ = ["kamailio", "selected", "shown_list"]

_CONFIG = """\
#!KAMAILIO
log_stderror=yes
fork=yes
children=1
listen=udp:127.0.0.1:{port}
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "ctl.so"
loadmodule "dispatcher.so"
modparam("ctl", "binrpc", "unix:{folder}/ctl")
modparam("dispatcher", "list_file", "{folder}/dispatcher.list")
modparam("dispatcher", "flags", 2)
modparam("dispatcher", "xavp_dst", "_dsdst_")
modparam("dispatcher", "xavp_ctx", "_dsctx_")
modparam("dispatcher", "ds_hash_size", 8)
request_route {{
    if (ds_select_dst("$(rU{{s.select,0,-}}{{s.int}})", "$(rU{{s.select,1,-}}{{s.int}})")) {{
        sl_send_reply("302", "$du");
    }} else {{
        sl_send_reply("404", "none");
    }}
    exit;
}}
"""
"""A call to SET-ALGORITHM gets the URI that ``ds_select_dst`` selects as its reason phrase."""


@asynccontextmanager
async def kamailio(folder: Path, destinations: str) -> AsyncIterator[int]:
    """A Kamailio that has read the list ``destinations``; yields its port on 127.0.0.1."""
    (folder / "dispatcher.list").write_text(destinations)
    config, port = folder / "kamailio.cfg", free_port()
    config.write_text(_CONFIG.format(folder=folder, port=port))
    with (folder / "kamailio.log").open("wb") as log:
        command = ["kamailio", "-f", str(config), "-DD", "-E", "-w", str(folder), "-Y", str(folder)]
        process = await trio.lowlevel.open_process(command, stdout=log, stderr=log)
    try:
        await until(lambda: (folder / "ctl").exists() or process.poll() is not None)
        assert process.poll() is None, (folder / "kamailio.log").read_text()
        yield port
    finally:
        await end(process)


async def shown_list(folder: Path) -> str:
    """What ``kamcmd dispatcher.list`` shows."""
    shown = ""

    async def read() -> bool:
        nonlocal shown
        command = ["kamcmd", "-s", f"unix:{folder}/ctl", "dispatcher.list"]
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
        shown = done.stdout.decode()
        return done.returncode == 0 and "URI" in shown

    await until(read)
    return shown


async def selected(port: int, user: str, calls: int) -> Counter[str]:
    """How many of ``calls`` INVITE to ``user`` each destination gets, by its URI."""
    counts: Counter[str] = Counter()
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
        await sock.bind(("127.0.0.1", 0))
        local = sock.getsockname()[1]
        for number in range(calls):
            lines = (
                f"INVITE sip:{user}@127.0.0.1:{port} SIP/2.0",
                f"Via: SIP/2.0/UDP 127.0.0.1:{local};branch=z9hG4bK{user}-{number}",
                f"From: <sip:a{number}@caller.example>;tag=1",
                "To: <sip:b@called.example>",
                f"Call-ID: {user}-{number}-{number * 7919}@caller.example",
                "CSeq: 1 INVITE",
                "Max-Forwards: 70",
                "Content-Length: 0",
            )
            data = "\r\n".join([*lines, "", ""]).encode()
            answer = b""
            while not answer:  # Kamailio may not listen yet
                await sock.sendto(data, ("127.0.0.1", port))
                with trio.move_on_after(1):
                    answer = await sock.recv(4096)
            counts[answer.partition(b"\r\n")[0].decode().split(" ", 2)[2]] += 1
    return counts
