"""Defaults that depend on the user and on other values."""

import os
from pathlib import Path

import pytest

from edgesbc.base.address import Source, Transport, Zone
from edgesbc.policy.model import ListenSettings, MediaAddress, default_state_dir


def test_the_state_dir_of_root_and_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_state_dir() == Path("/var/lib/edgesbc")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/a/state")
    assert default_state_dir() == Path("/home/a/state/edgesbc")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/a")
    assert default_state_dir() == Path("/home/a/.local/state/edgesbc")


def test_the_name_of_a_listener() -> None:
    listener = ListenSettings(Zone.CORE, Transport.UDP, Source("10.0.0.1", 5060))
    assert listener.name == "core-udp-5060"


def test_the_media_address_of_a_zone() -> None:
    address = MediaAddress("203.0.113.10", "10.0.0.1")
    assert [address.of(zone) for zone in Zone] == [("203.0.113.10",), ("10.0.0.1",)]
    both = MediaAddress(["203.0.113.10", "2001:db8::10"])
    assert [both.of(zone) for zone in Zone] == [("203.0.113.10", "2001:db8::10"), ()]
