"""What the kernel refuses, and what is said of it."""

from __future__ import annotations

import errno
import platform

import pytest
from support.bpf import can_attach

from edgesbc.kernel_relay import bpf_calls
from edgesbc.kernel_relay.assembler import EbpfAssembler
from edgesbc.kernel_relay.attached import AttachedRelay, attach_relay
from edgesbc.kernel_relay.bpf_calls import KernelRefusal, attach_ingress, create_map, delete_element, load_program
from edgesbc.kernel_relay.mode import KernelMode

needs_ebpf = pytest.mark.skipif(bool(can_attach()), reason=f"no eBPF here: {can_attach()}")


def test_a_machine_whose_number_of_the_call_is_not_known_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "vax")
    with pytest.raises(KernelRefusal, match=r"8 entries: .*; expected the system call bpf\(\) on vax") as raised:
        AttachedRelay([1], 8, 0)
    assert raised.value.errno == errno.ENOSYS


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (errno.EPERM, "expected the capabilities CAP_BPF and CAP_NET_ADMIN"),
        (errno.EINVAL, rf"expected Linux 6\.6 or newer with TCX, found Linux {platform.release()}"),
        (errno.ENODEV, r"see bpf\(2\)"),
    ],
)
def test_a_refusal_says_what_it_takes(monkeypatch: pytest.MonkeyPatch, code: int, text: str) -> None:
    monkeypatch.setattr(bpf_calls, "bpf", lambda command, attributes: (-1, code))
    with pytest.raises(KernelRefusal, match=f"the ingress of the network device 3: .*; {text}") as raised:
        attach_ingress(5, 3)
    assert raised.value.errno == code


def test_a_mode_says_what_a_refusal_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpf_calls, "bpf", lambda command, attributes: (-1, errno.EPERM))
    assert attach_relay(KernelMode.OFF, [1], 8, 0) == (None, "media.kernel is off")
    relay, reason = attach_relay(KernelMode.AUTO, [1], 8, 0)
    assert relay is None
    assert "expected the capabilities CAP_BPF and CAP_NET_ADMIN" in reason
    with pytest.raises(KernelRefusal, match="CAP_BPF"):
        attach_relay(KernelMode.REQUIRE, [1], 8, 0)


@needs_ebpf
def test_a_program_that_the_kernel_does_not_find_safe_is_refused_with_its_reason() -> None:
    asm = EbpfAssembler()
    asm.compute_with("mov", 0, 3)
    asm.leave()
    with pytest.raises(KernelRefusal, match="R3 !read_ok"):
        load_program(asm.program(), "unsafe")


@needs_ebpf
def test_what_is_no_map_is_refused() -> None:
    with open("/dev/null", "rb") as other, pytest.raises(KernelRefusal, match="the removal of an entry"):
        delete_element(other.fileno(), bytes(4))
    with pytest.raises(KernelRefusal, match="a map of 0 entries"):
        create_map(bpf_calls.HASH, 4, 4, 0, "empty")
