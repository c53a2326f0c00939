"""Certificates of an authority that lives as long as the test run."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme


class Certificates:
    """The folder with a server's certificate and key, and the TLS context of a client that trusts its authority."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.folder = folder
        self.ca_file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(self.ca_file)
        self.issue(folder, "localhost", "127.0.0.1", "::1")
        self.client = ssl.create_default_context(cafile=str(self.ca_file))

    def issue(self, folder: Path, *names: str) -> Path:
        folder.mkdir(exist_ok=True)
        leaf = self.ca.issue_cert(*names)
        leaf.private_key_pem.write_to_path(folder / "privkey.pem")
        (folder / "fullchain.pem").write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        return folder


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))
