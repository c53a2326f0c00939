"""Chromium and the pages that it loads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.browser import LIBRARIES, Web, chromium, pages
from support.certificates import Certificates, certificates

__all__ = ["certificates"]


@pytest.fixture(scope="session")
def web(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Web]:
    with (
        pages(tmp_path_factory.mktemp("pages")) as port,
        chromium(tmp_path_factory.mktemp("chromium"), certificates.folder / "fullchain.pem") as program,
    ):
        yield Web(program, port)


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    return str(request.param)
