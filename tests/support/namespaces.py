"""Network namespaces with hosts in them, and what this process does inside: a thread can be in another namespace."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)

needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None, reason="a network namespace takes root and iproute2"
)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=30)


def run_in(namespace: str) -> tuple[str, ...]:
    """What stands before a command that runs in that namespace; nothing where there is none."""
    return ("ip", "netns", "exec", namespace) if namespace else ()


def inside(namespace: str, function: Callable[[], T]) -> T:
    """What ``function`` returns, called by a thread in that namespace ("": the test's own): its sockets stay there.

    ``function`` must not use ``trio.to_thread``: trio keeps a thread for later callers, also for tests in other
    namespaces, and that thread stays in this one.
    """
    if not namespace:
        return function()
    results: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            with open(f"/run/netns/{namespace}") as of:
                if LIBC.setns(of.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - it is raised again by the caller
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


@contextmanager
def namespaces(*names: str) -> Iterator[dict[str, str]]:
    """New namespaces, by the names that they have here; ``lo`` is up in each. Skips the test where there are none."""
    made: dict[str, str] = {}
    try:
        for name in names:
            own = f"edgesbc-{os.getpid()}-{name}"
            try:
                ip("netns", "add", own)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
            made[name] = own
            ip("-n", own, "link", "set", "lo", "up")
        yield made
    finally:
        for own in made.values():
            ip("netns", "delete", own)


def veth(one: str, device: str, other: str, other_device: str) -> None:
    """A cable between two namespaces."""
    ip("-n", one, "link", "add", device, "type", "veth", "peer", "name", other_device, "netns", other)
    for namespace, end in ((one, device), (other, other_device)):
        ip("-n", namespace, "link", "set", end, "up")


def address(namespace: str, device: str, *addresses: str) -> None:
    """Give a device addresses with prefix lengths; those of IPv6 can be used at once."""
    for each in addresses:
        extra = ["nodad"] if ":" in each else []
        ip("-n", namespace, "address", "add", each, "dev", device, *extra)
