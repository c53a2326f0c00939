"""The media plane as a process with an NG socket on loopback, so that one client can control it and rtpengine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

import trio

from bench import ng
from edgesbc.base.address import Zone
from edgesbc.base.errors import WireError
from edgesbc.kernel_relay.attached import attach_relay
from edgesbc.kernel_relay.mode import KernelMode
from edgesbc.media.commands import MediaError
from edgesbc.media.plane import MediaPlane
from edgesbc.media.relay import EXPEDITED
from edgesbc.ng.messages import frame, parse_frame
from edgesbc.tasks.containment import Containment
from edgesbc.transport.interfaces import devices_of

__all__ = ["main"]


async def serve(plane: MediaPlane, host: str, port: int, task_status: trio.TaskStatus[None]) -> None:
    """Carry out the commands that arrive, and send each reply to the source of its command."""
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
        await sock.bind((host, port))
        task_status.started()
        while True:
            data, peer = await sock.recvfrom(65_535)
            try:
                cookie, command = parse_frame(data)
            except WireError:
                continue
            await sock.sendto(frame(cookie, carry_out(plane, command)), peer)


def carry_out(plane: MediaPlane, command: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out an NG command and return the NG reply."""
    if command.get("command") == "ping":
        return {"result": "pong"}
    try:
        reply = plane.carry_out(ng.read_command(command))
    except WireError as error:
        reply = MediaError(error.status_hint, error.reason)
    assert reply is not None  # None is the reply to Delete only
    return ng.write_reply(reply)


async def run(plane: MediaPlane, host: str, port: int) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(plane.run)
        await nursery.start(serve, plane, host, port)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ng", required=True, metavar="HOST:PORT")
    parser.add_argument("--interface", action="append", required=True, metavar="NAME/ADDRESS")
    parser.add_argument("--ports", required=True, metavar="FIRST-LAST")
    parser.add_argument("--relays", type=int, default=1, help="relay processes (1); 0: a thread")
    parser.add_argument("--kernel", action="store_true", help="have the kernel relay known flows")
    options = parser.parse_args()
    host, _, port = options.ng.partition(":")
    first, _, last = options.ports.partition("-")
    named = [interface.split("/", 1) for interface in options.interface]
    addresses = {Zone(name): address for name, address in named}
    containment = Containment(lambda kind, error: print(kind, repr(error), file=sys.stderr))
    capacity = len(set(addresses.values())) * (int(last) - int(first) + 1)
    mode = KernelMode.REQUIRE if options.kernel else KernelMode.OFF
    kernel, _ = attach_relay(mode, devices_of(addresses.values()), capacity, EXPEDITED)
    plane = MediaPlane(
        addresses,
        (int(first), int(last)),
        containment=containment,
        relays=options.relays,
        kernel=None if kernel is None else kernel.maps,
    )
    trio.run(run, plane, host, int(port))


if __name__ == "__main__":
    main()
