"""Reasons why this machine cannot run a policy: ports in use, certificates, folders."""

import errno
import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support.bpf import can_attach

from edgesbc.base import limits
from edgesbc.inventory.databases import DRIVERS, Driver
from edgesbc.kernel_relay import bpf_calls
from edgesbc.policy.certificates import make_development_certificates
from edgesbc.policy.load import parse_policy
from edgesbc.policy.model import Policy
from edgesbc.policy.preflight import preflight


def policy(
    tmp_path: Path, public: str = "", http: str = "", transport: str = "udp", more: str = "", media: str = ""
) -> Policy:
    return parse_policy(
        f"""
        [edge]
        state_dir = "{tmp_path}/state"
        [[listen]]
        zone = "public"
        transport = "{transport}"
        bind = "{public or "127.0.0.1:0"}"
        {more}
        [[listen]]
        zone = "core"
        transport = "udp"
        bind = "127.0.0.2:0"
        [[destinations]]
        set = "pbx"
        members = [{{ uri = "sip:127.0.0.11" }}]
        [observe]
        http = "{http}"
        [media]
        {media}
        """,
        str(tmp_path / "policy.toml"),
    )


def messages(of: Policy) -> dict[str, str]:
    return {error.key: error.message for error in preflight(of)}


def make_leaf(folder: Path, begins: float, ends: float) -> None:
    """A certificate that is valid from ``begins`` to ``ends``, in days from now."""
    now, key = datetime.now(UTC), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    leaf = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now + timedelta(days=begins))
        .not_valid_after(now + timedelta(days=ends))
        .sign(key, hashes.SHA256())
    )
    folder.mkdir()
    (folder / "fullchain.pem").write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    (folder / "privkey.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def test_a_good_policy_leaves_nothing_behind(tmp_path: Path) -> None:
    assert messages(policy(tmp_path, http="127.0.0.1:0")) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_port_in_use(tmp_path: Path, transport: str) -> None:
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as another edge sets it
        taken.bind(("127.0.0.1", 0))
        if transport == "tcp":
            taken.listen()
        port = taken.getsockname()[1]
        mistakes = messages(policy(tmp_path, f"127.0.0.1:{port}", transport=transport))
    assert list(mistakes) == ["listen[0].bind"]
    assert f"found 127.0.0.1:{port}: Address already in use" in mistakes["listen[0].bind"]


def test_the_http_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        mistakes = messages(policy(tmp_path, http=f"127.0.0.1:{taken.getsockname()[1]}"))
    assert list(mistakes) == ["observe.http"]


def test_a_running_edge_does_not_disturb_a_check_beside_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket(socket.AF_UNIX) as control:
        of = policy(tmp_path, "192.0.2.1:0", http=f"127.0.0.1:{taken.getsockname()[1]}")
        others = {error.key for error in preflight(of, beside=True)}
        (tmp_path / "state").mkdir()
        control.bind(str(tmp_path / "state" / "control.sock"))
        control.listen()
        alone, with_edge = messages(of), {error.key for error in preflight(of, beside=True)}
    assert others == {
        "listen[0].bind",
        "media.address.public",
        "observe.http",
    }  # the program at this port is no edge, so the port is in use
    assert set(alone) == {*others, "edge.state_dir"}
    assert with_edge == {"listen[0].bind", "media.address.public"}


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    mistakes = messages(policy(tmp_path, "192.0.2.1:0"))
    assert list(mistakes) == ["listen[0].bind", "media.address.public"]
    assert "Cannot assign requested address" in mistakes["media.address.public"]


def certified(tmp_path: Path, more: str = 'certificate = "certs"') -> dict[str, str]:
    return messages(policy(tmp_path, transport="tls", more=more))


def test_a_good_certificate(tmp_path: Path) -> None:
    make_development_certificates(tmp_path / "certs")
    assert certified(tmp_path, 'certificate = "certs"\nclient_ca = "certs/ca.pem"') == {}
    assert certified(tmp_path, "") == {}


def test_a_certificate_that_cannot_be_read(tmp_path: Path) -> None:
    assert "No such file" in certified(tmp_path)["listen[0].certificate"]
    make_development_certificates(tmp_path / "certs")
    (tmp_path / "certs" / "fullchain.pem").write_text("not PEM")
    assert "expected certificates in PEM" in certified(tmp_path)["listen[0].certificate"]
    (tmp_path / "certs" / "privkey.pem").write_text("not PEM")
    assert len(preflight(policy(tmp_path, transport="tls", more='certificate = "certs"'))) == 2
    assert "No such file" in certified(tmp_path, 'client_ca = "ca.pem"')["listen[0].client_ca"]


def test_a_certificate_over_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_development_certificates(tmp_path / "certs")
    size = (tmp_path / "certs" / "fullchain.pem").stat().st_size
    monkeypatch.setattr(limits, "PEM_BYTES", size - 1)
    expected = f"fullchain.pem: expected at most {size - 1} bytes, found {size}"
    assert expected in certified(tmp_path)["listen[0].certificate"]


def test_a_key_with_a_pass_phrase(tmp_path: Path) -> None:
    make_development_certificates(tmp_path / "certs")
    path = tmp_path / "certs" / "privkey.pem"
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        )
    )
    assert "expected an unencrypted private key" in certified(tmp_path)["listen[0].certificate"]


def test_another_certificates_key(tmp_path: Path) -> None:
    make_development_certificates(tmp_path / "certs")
    make_development_certificates(tmp_path / "other")
    (tmp_path / "other" / "privkey.pem").replace(tmp_path / "certs" / "privkey.pem")
    assert "found another one's" in certified(tmp_path)["listen[0].certificate"]


@pytest.mark.parametrize(("begins", "ends", "message"), [(-9, -1, "one that ended on"), (1, 9, "one that begins")])
def test_a_certificate_of_another_time(tmp_path: Path, begins: float, ends: float, message: str) -> None:
    make_leaf(tmp_path / "certs", begins, ends)
    assert message in certified(tmp_path)["listen[0].certificate"]


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o703])
def test_a_state_dir_that_every_user_can_change(tmp_path: Path, mode: int) -> None:
    """Who writes there has a key of the edge's tokens and its control socket."""
    state = tmp_path / "state"
    state.mkdir()
    assert "edge.state_dir" not in messages(policy(tmp_path))
    state.chmod(mode)
    assert f"with mode {mode:o}" in messages(policy(tmp_path))["edge.state_dir"]


def test_a_state_dir_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    assert "found the file" in messages(policy(tmp_path))["edge.state_dir"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes where it likes")
def test_a_state_dir_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "this user can write" in messages(policy(tmp_path))["edge.state_dir"]
    tmp_path.chmod(0o700)


@pytest.mark.parametrize(("kernel", "expected"), [("off", {}), ("auto", {}), ("require", {"media.kernel"})])
def test_a_kernel_that_cannot_relay_packets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: str, expected: set[str]
) -> None:
    monkeypatch.setattr(bpf_calls, "bpf", lambda command, attributes: (-1, errno.EPERM))
    found = messages(policy(tmp_path, media=f'kernel = "{kernel}"'))
    assert found.keys() == set(expected)
    for message in found.values():
        assert message.startswith("expected a kernel that relays packets: the kernel refuses a map of 1 entries")
        assert "CAP_BPF and CAP_NET_ADMIN" in message


@pytest.mark.skipif(bool(can_attach()), reason="takes root, and a kernel with eBPF")
def test_a_kernel_that_can(tmp_path: Path) -> None:
    assert messages(policy(tmp_path, media='kernel = "require"')) == {}


def test_a_driver_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = '[[database]]\nname = "main"\nurl = "mysql://edge@127.0.0.1/sip"'
    assert messages(policy(tmp_path, more=database)) == {}
    monkeypatch.setitem(DRIVERS, "mysql", Driver("mysql+pymysql", "no_such_module", "some-package"))  # type: ignore[index]
    message = messages(policy(tmp_path, more=database))["database[0].url"]
    assert message == "expected the driver no_such_module, found none: pip install 'some-package'"


def test_a_password_file_without_a_password(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    database = f'[[database]]\nname = "main"\npassword_file = "{secret}"'
    assert "a password in the first line" in messages(policy(tmp_path, more=database))["database[0].password_file"]
    secret.write_text("sesame\nand more\n")
    assert messages(policy(tmp_path, more=database)) == {}


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    found = messages(policy(tmp_path, more='device = "nosuchdevice0"'))
    assert found["listen[0].device"].startswith("expected a network device (lo")
    assert messages(policy(tmp_path, more='device = "any"')) == {}
