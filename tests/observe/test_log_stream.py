"""A log that cannot be written costs its records: a full disk, a reader that is gone or asleep, a closed descriptor."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import select
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest
import structlog

from edgesbc.base import limits
from edgesbc.observe.log_stream import LogStream
from edgesbc.observe.logs import configure, lifecycle, logger, records_lost


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    handlers = list(logging.getLogger().handlers)
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    reader, writer = os.pipe()
    stream = os.fdopen(writer, "w")
    yield reader, stream
    with suppress(OSError):
        os.close(reader)
    with suppress(OSError):
        stream.close()


def say(count: int) -> None:
    for number in range(count):
        logger("edge").warning("odd", number=number)
        lifecycle("edge").info("listening", number=number)
        logging.getLogger(f"library{number}").error("failed")


@pytest.mark.parametrize("size", [10, 1_000, limits.LOG_VALUE_CHARS])
def test_a_terminal_that_shows_nothing_never_makes_the_edge_wait(size: int) -> None:
    """As behind a connection that stalls: it counts as writable while it has room for less than a line."""
    master, slave = os.openpty()
    with os.fdopen(slave, "w") as terminal:
        configure(terminal, "json")
        for _ in range(3_000):
            logger("edge").warning("odd", text="x" * size)
        lost = records_lost()
        assert 0 < lost < 3_000
        while select.select([master], [], [], 0)[0]:
            os.read(master, 65_536)
        logger("edge").warning("again")
        assert records_lost() == lost
        assert os.get_blocking(slave), "other programs of the terminal expect that"
    os.close(master)


def test_a_full_disk_loses_records() -> None:
    with open("/dev/full", "w") as full:
        configure(full)
        say(2)
    assert records_lost() == 5  # the library's second record is left out, as one of the same place


def test_a_reader_that_is_gone_loses_records(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    os.close(reader)
    configure(stream)
    say(1)
    assert records_lost() == 3


def test_a_reader_that_does_not_read_never_makes_the_edge_wait(pipe: tuple[int, TextIO]) -> None:
    """When it reads again, the record after the lost ones says how many, and begins a line."""
    reader, stream = pipe
    configure(stream, "json")
    for _ in range(200):
        logger("edge").warning("odd", text="x" * limits.LOG_VALUE_CHARS)
    lost = records_lost()
    assert 100 < lost < 200
    read = os.read(reader, 1_000_000)
    logger("edge").warning("again")
    logger("edge").warning("and again")
    lines = (read + os.read(reader, 1_000_000)).decode().splitlines()
    whole = [json.loads(line) for line in lines if line.endswith("}")]
    assert len(whole) == 200 - lost + 2
    assert [(record["event"], record.get("records_lost")) for record in whole[-2:]] == [
        ("again", lost), ("and again", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "number",
    [errno.EPIPE, errno.ENOSPC, errno.EBADF, errno.EMFILE, errno.EIO, errno.EAGAIN, errno.EDQUOT, errno.EFBIG],
    ids=errno.errorcode.get,
)
@pytest.mark.parametrize("with_descriptor", [True, False])
def test_no_error_of_a_write_is_raised(
    number: int, with_descriptor: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(number, os.strerror(number))

    def write(descriptor: int, data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    with (tmp_path / "log").open("w") as file:
        configure(file if with_descriptor else Failing())
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", write)
            say(1)
    assert records_lost() == 3


@pytest.mark.parametrize("error", [MemoryError, LookupError, RecursionError])
def test_no_error_of_making_a_record_is_raised(error: type[Exception]) -> None:
    class Unprintable:
        def __repr__(self) -> str:
            raise error("a codec that cannot be loaded")

    stream = io.StringIO()
    configure(stream)
    logger("edge").error("odd", value=Unprintable())
    lifecycle("edge").error("odd", value=Unprintable())
    assert (records_lost(), stream.getvalue()) == (2, "")


def test_a_library_is_logged_once_a_second_and_place() -> None:
    stream = io.StringIO()
    configure(stream, "json")
    root = logging.getLogger()
    root.handlers[:] = root.handlers[-1:]  # pytest's own would raise for wrong arguments
    for _ in range(1_000):
        logging.getLogger("trio").error("accept: %s", "no descriptor")
    logging.getLogger("trio").error("wrong arguments: %s %s", 1)
    events = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert events == ["accept: no descriptor", "wrong arguments: %s %s"]


def test_a_closed_stream_and_none_lose_lines(tmp_path: Path) -> None:
    for stream in (None, (tmp_path / "log").open("w"), io.StringIO()):
        lines = LogStream(stream)
        if stream is not None:
            stream.close()
        lines.msg("a line")
        assert lines.lost == 1


def test_what_the_stream_has_buffered_comes_first(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        file.write("first\n")
        LogStream(file).msg("second \udc80")
    assert (tmp_path / "log").read_text() == "first\nsecond \\udc80\n"
