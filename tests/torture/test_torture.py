"""Every message of the table has its expected outcome, and the table is complete."""

from __future__ import annotations

from collections import Counter

import pytest

from edgesbc.sip.framing import StreamFramer
from edgesbc.sip.message import Request, Response
from edgesbc.sip.parse import parse_message
from torture import __main__, case, malformed, table
from torture.table import CASES


@pytest.mark.parametrize("torture_case", [pytest.param(torture_case, id=torture_case.title) for torture_case in CASES])
def test_each_case_has_its_expected_outcome(torture_case: case.Case) -> None:
    result = torture_case.run()
    assert result.outcome == torture_case.expected
    assert not torture_case.checks or result.forwarded
    for message in result.forwarded:
        for check in torture_case.checks:
            check(message)


PASSING = [torture_case for torture_case in CASES if torture_case.expected == "forwarded"]


@pytest.mark.parametrize(
    "torture_case", [pytest.param(torture_case, id=torture_case.title) for torture_case in PASSING]
)
def test_a_forwarded_message_is_the_serialised_parse_and_nothing_else(torture_case: case.Case) -> None:
    (message,) = torture_case.run().forwarded  # no second message is forwarded
    sent = torture_case.data
    if torture_case.over == "stream":
        (sent, *_) = StreamFramer().receive(sent.lstrip(b"\r\n"))
    assert not any("\r" in value or "\n" in value for _, value in message.fields)
    if torture_case.over != case.ANSWER:
        read = parse_message(sent)
        assert passing_fields(message) == passing_fields(read)
        assert message.body == read.body


# The edge's own, one hop less, or left out: docs/reference/deviations.md.
OF_A_SIDE = {"Via", "Route", "Record-Route", "Contact", "Path", "Max-Forwards"}


def passing_fields(message: Request | Response) -> list[tuple[str, str]]:
    """The header fields that cross the edge, in order."""
    return [(name, value) for name, value in message.fields if name not in OF_A_SIDE and value != "path"]


def test_every_message_of_the_rfcs_has_a_case() -> None:
    """RFC 4475 has 49 messages, RFC 5118 twelve; one of the former stands twice, as a request outside of dialogs."""
    sections = Counter(torture_case.section for torture_case in CASES)
    valid = [f"3.1.1.{n}" for n in range(1, 14)]
    invalid = [f"3.1.2.{n}" for n in range(1, 20)]
    others = ["3.2.1", *(f"3.3.{n}" for n in range(1, 16)), "3.4.1"]
    assert len(valid + invalid + others) == 49
    assert [section for section in valid + invalid + others if section not in sections] == []
    assert sum(count for section, count in sections.items() if section.startswith("5118")) == 12


def test_the_table_lists_the_differences(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = case.case("0", "a message that is expected to be refused", "parse", "400", malformed.CASES[0].data)
    right = malformed.CASES[1]
    other = case.Case("0", "a message that is expected to pass", "parse", "forwarded", right.data)
    monkeypatch.setattr(__main__, "CASES", (wrong, right, other))
    assert __main__.main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.endswith("WRONG") for line in lines] == [False, False, False, True, False]
    assert lines[-1] == "3 messages, 1 not as expected"
    assert table.CASES == CASES
