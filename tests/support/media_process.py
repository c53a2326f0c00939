"""``edgesbc media`` in a process of its own, and a real Kamailio that controls a media plane."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from support.ng import NgPeer
from support.peers import taken
from support.running import end, free_port, until

from bench.ports import free_range
from edgesbc.base.address import Source

__all__ = ["MediaProcess", "kamailio_with_media", "media_process", "rtpengine"]

_KAMAILIO = """\
#!KAMAILIO
log_stderror=yes
debug=2
children=1
disable_tcp=yes
auto_aliases=no
dns=no
rev_dns=no
listen=udp:127.0.0.1:{port}
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "rtpengine.so"
modparam("rtpengine", "rtpengine_sock", "{media}")
modparam("rtpengine", "rtpengine_tout_ms", 2000)
modparam("rtpengine", "rtpengine_disable_tout", 2)
request_route {{
    if (is_method("CANCEL")) {{
        if (t_check_trans()) t_relay();
        exit;
    }}
    if (has_totag()) {{
        loose_route();
        if (is_method("BYE")) rtpengine_delete();
        if (is_method("INVITE")) {{
            rtpengine_offer("{flags}");
            t_on_reply("ANSWER");
        }}
        t_relay();
        exit;
    }}
    t_check_trans();
    if (!is_method("INVITE")) {{
        sl_send_reply("405", "No");
        exit;
    }}
    record_route();
    if (!rtpengine_offer("{flags} direction=pub direction=priv")) {{
        sl_send_reply("503", "No Media");
        exit;
    }}
    t_on_reply("ANSWER");
    t_on_failure("REFUSED");
    $du = "{callee}";
    t_relay();
}}
onreply_route[ANSWER] {{
    if (has_body("application/sdp") && status =~ "(18[0-9])|(2[0-9][0-9])") rtpengine_answer("{flags}");
}}
failure_route[REFUSED] {{
    rtpengine_delete();
}}
"""


class MediaProcess:
    """A process that an NG client controls: its address, and a client that asks it. ``public`` and ``private`` are the
    addresses of its interfaces."""

    def __init__(
        self, address: Source, process: trio.Process, log: Path, unix: Path | None, hosts: tuple[str, str]
    ) -> None:
        self.public, self.private = hosts
        self.address = address
        self.process = process
        self.log = log
        self.unix = unix
        self.peer = NgPeer(address)

    async def sessions(self) -> int:
        """The sessions that live."""
        calls: list[str] = (await self.peer.ask("list", limit=1_000))["calls"]
        return len(calls)

    async def is_empty(self) -> bool:
        """Whether no session lives."""
        return await self.sessions() == 0


@asynccontextmanager
async def media_process(
    folder: Path, *options: str, port: int = 0, private: str = "127.0.0.2"
) -> AsyncIterator[MediaProcess]:
    """``edgesbc media`` with the interfaces ``pub`` and ``priv`` on loopback addresses, at UDP and a Unix socket."""
    address = Source("127.0.0.1", port or free_port())
    unix = folder / f"ng-{address.port}.sock"
    command = [
        *(sys.executable, "-m", "edgesbc", "media", "--ng", str(address), "--unix", str(unix)),
        *("--interface", "pub/127.0.0.1", "--interface", f"priv/{private}", "--private", "priv"),
        *("--ports", "20000-29998", *options),
    ]
    hosts = ("127.0.0.1", private)
    async with _running(folder / f"media-{address.port}.log", command, address, unix, hosts) as media:
        yield media


@asynccontextmanager
async def rtpengine(
    folder: Path, *options: str, port: int = 0, ports: str = "12000-17998", private: str = ""
) -> AsyncIterator[MediaProcess]:
    """A real rtpengine in user space, with the interfaces ``pub`` and ``priv`` on loopback addresses of its own.

    Two of them on the same addresses could take the same port, and each other's audio: rtpengine sets SO_REUSEADDR.
    """
    address = Source("127.0.0.1", port or free_port())
    network = f"127.{address.port >> 8}.{address.port & 255}"
    hosts = (f"{network}.1", private or f"{network}.2")
    first, last = ports.split("-")
    if private:
        first = str(free_range(private, 40))
        last = str(int(first) + 39)
    command = [
        *(
            "rtpengine",
            "--config-file=none",
            "--foreground",
            "--log-stderr",
            "--log-level=6",
            "--table=-1",
            f"--listen-ng={address}",
        ),
        *(f"--interface=pub/{hosts[0]}", f"--interface=priv/{hosts[1]}", f"--port-min={first}", f"--port-max={last}"),
        *("--delete-delay=0", "--num-threads=2", f"--pidfile={folder}/rtpengine-{address.port}.pid", *options),
    ]
    async with _running(folder / f"rtpengine-{address.port}.log", command, address, None, hosts) as media:
        yield media


@asynccontextmanager
async def _running(
    log: Path, command: list[str], address: Source, unix: Path | None, hosts: tuple[str, str]
) -> AsyncIterator[MediaProcess]:
    with log.open("ab") as stream:
        process = await trio.lowlevel.open_process(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
    media = MediaProcess(address, process, log, unix, hosts)
    try:
        await until(lambda: taken(*address, True) or process.poll() is not None)
        assert process.poll() is None, await trio.Path(log).read_text()
        assert await media.peer.ask("ping") == {"result": "pong"}
        yield media
    finally:
        await end(process, 2.0)


@asynccontextmanager
async def kamailio_with_media(
    folder: Path, media: str, callee: str, flags: str = "replace-origin replace-session-connection ICE=remove"
) -> AsyncIterator[str]:
    """A Kamailio that sends calls to ``callee`` and has the media plane at ``media`` relay their media; yields its
    address. The caller is on the side ``pub``, the callee on ``priv``."""
    config, port = folder / "kamailio.cfg", free_port()
    config.write_text(_KAMAILIO.format(port=port, media=media, callee=callee, flags=flags))
    log = folder / "kamailio.log"
    with log.open("wb") as stream:
        command = ["kamailio", "-f", str(config), "-DD", "-E", "-w", str(folder), "-Y", str(folder)]
        process = await trio.lowlevel.open_process(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
    try:
        await until(lambda: taken("127.0.0.1", port, True) or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield f"127.0.0.1:{port}"
    finally:
        await end(process, 2.0)
