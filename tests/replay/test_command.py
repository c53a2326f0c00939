"""The command `edgesbc replay`: output, exit codes, and error messages."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.captures import frame, pcap, pcapng, udp
from support.replaying import EDGE, LISTENERS, OPEN, PHONE, message

from edgesbc.cli import main
from edgesbc.replay import command

POLICY = LISTENERS + 'destinations = [{ set = "pbx", members = [{ uri = "sip:10.0.0.11:5060" }] }]\n' + OPEN
FRAMES = [(n * 0.1, frame(udp(PHONE, EDGE, message(call_id=f"c{n}", branch=f"c{n}")))) for n in range(3)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "edge.toml").write_text(POLICY)
    (tmp_path / "new.toml").write_text(POLICY + '[screen.method]\npublic = ["OPTIONS"]\n')
    (tmp_path / "three.pcap").write_bytes(pcap(FRAMES))
    (tmp_path / "three.pcapng").write_bytes(pcapng(FRAMES))
    return tmp_path


def run(folder: Path, *words: str) -> Result:
    named = [str(folder / word) if (folder / word).is_file() else word for word in words]
    return CliRunner().invoke(main, ["replay", *named], catch_exceptions=False)


@pytest.mark.parametrize("capture", ["three.pcap", "three.pcapng"])
def test_a_report_is_printed_and_the_same_the_next_time(folder: Path, capture: str) -> None:
    first, second = run(folder, capture, "edge.toml"), run(folder, capture, "edge.toml")
    assert first.exit_code == 0
    assert first.output == second.output
    assert "calls: 3 answered, 3 alive at the end, 3 at once at most" in first.output


def test_the_json_report_has_the_verdicts_of_the_second_policy(folder: Path) -> None:
    result = run(folder, "three.pcap", "edge.toml", "--against", "new.toml", "--json", "--top", "0")
    report = json.loads(result.output)
    assert report["verdicts"] == {"pass": 3}
    assert [
        (difference["live"], difference["other"], difference["count"])
        for difference in report["otherwise"]["differences"]
    ] == [("pass", "method", 3)]
    assert [source["address"] for source in report["sources"]] == [""]


def test_a_truncated_capture_is_reported_with_an_error(folder: Path) -> None:
    (folder / "cut.pcap").write_bytes(pcap(FRAMES)[:-1])
    result = run(folder, "cut.pcap", "edge.toml")
    assert result.exit_code == command.BROKEN
    assert "calls: 2 answered" in result.stdout
    assert "packet 3: the file ends inside a packet" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.pcap", "edge.toml"], "none.pcap: cannot be read: No such file or directory"),
        (["empty.pcap", "edge.toml"], "the file is empty"),
        (["edge.toml", "edge.toml"], "expected a pcap or pcapng file, found one that begins with 0a6c6973"),
        (["three.pcap", "none.toml"], "none.toml: cannot be read"),
        (["three.pcap", "three.pcap"], "expected text in UTF-8"),
        (["three.pcap", "edge.toml", "--against", "none.toml"], "none.toml: cannot be read"),
        (
            ["three.pcap", "edge.toml", "--to", "1.2.3.4=public-udp"],
            "--to 1.2.3.4=public-udp: expected ADDRESS:PORT=LISTENER",
        ),
        (["three.pcap", "edge.toml", "--to", "name:5060=public-udp"], "expected ADDRESS:PORT=LISTENER"),
        (["three.pcap", "edge.toml", "--to", "1.2.3.4:5060"], "expected a listener of the policy"),
    ],
)
def test_an_error_is_printed_as_one_line(folder: Path, words: list[str], message: str) -> None:
    (folder / "empty.pcap").write_bytes(b"")
    result = run(folder, *words)
    assert result.exit_code == command.NOTHING
    assert message in result.stderr
    assert result.stdout == ""


def test_a_report_without_messages_is_followed_by_advice(folder: Path) -> None:
    (folder / "old.pcap").write_bytes(pcap([(0.0, frame(udp(PHONE, ("203.0.113.9", 6000), message())))]))
    result = run(folder, "old.pcap", "edge.toml")
    assert result.exit_code == command.NOTHING
    assert "to and from other addresses" in result.stdout
    assert f"public-udp udp {EDGE[0]}:{EDGE[1]}" in result.stderr
    assert "--to ADDRESS:PORT=LISTENER" in result.stderr


def test_addresses_of_another_edge_can_be_mapped(folder: Path) -> None:
    (folder / "old.pcap").write_bytes(pcap([(0.0, frame(udp(PHONE, ("203.0.113.9", 6000), message())))]))
    words = ["old.pcap", "edge.toml", "--to", "203.0.113.9:6000=public-udp", "--inside", "silent", "--seed", "7"]
    result = run(folder, *words)
    assert result.exit_code == 0
    assert "sent inward, to an inside that is silent:" in result.output


def test_a_terminal_gets_a_progress_bar_that_reaches_its_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    many = [(n / 1000, frame(udp(PHONE, EDGE, b"\r\n\r\n"))) for n in range(3000)]
    (folder / "many.pcap").write_bytes(pcap(many))
    with command._progress(folder / "many.pcap") as progress:
        assert progress is not None
        progress(1000)
        progress((folder / "many.pcap").stat().st_size)
    assert "judging" in terminal.getvalue()
    assert "100%" in terminal.getvalue()
