"""The page about transactions is drawn from the tables, and changes with them."""

from __future__ import annotations

import pytest

from docs import draw
from edgesbc.sip.machines import INVITE_CLIENT, SERVER, TransactionAction, TransactionEvent, TransactionState


def test_the_page_is_drawn_from_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert draw.main([]) == 0, capsys.readouterr().out


def test_a_changed_step_changes_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        SERVER,
        (TransactionState.TRYING, TransactionEvent.REQUEST),
        (TransactionState.TRYING, (TransactionAction.RESEND,)),
    )
    assert draw.main([]) == 1


def test_a_changed_action_changes_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    step = TransactionState.ACCEPTED, (TransactionAction.STOP_TIMERS, TransactionAction.LINGER)
    monkeypatch.setitem(INVITE_CLIENT, (TransactionState.CALLING, TransactionEvent.SUCCESS), step)
    assert draw.main([]) == 1


def test_a_changed_timer_changes_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    step = TransactionState.COMPLETED, (TransactionAction.STOP_TIMERS, TransactionAction.ACK, TransactionAction.PASS)
    monkeypatch.setitem(INVITE_CLIENT, (TransactionState.CALLING, TransactionEvent.FAILURE), step)
    assert draw.main([]) == 1
    assert "| Calling | 300-699 | Completed | stop all timers, send ACK, pass to the user | - | - |" in "".join(
        draw.drawn().values()
    )


def test_a_page_without_a_place_for_a_machine_is_an_error() -> None:
    text = draw.PAGE.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="INVITE server"):
        draw.renewed(text.replace("<!-- drawn: INVITE server -->", ""))


def test_every_machine_has_its_diagram_and_each_step_a_row() -> None:
    for drawing in draw.MACHINES:
        text = draw.drawn()[drawing.name]
        assert text.startswith("```mermaid\nstateDiagram-v2\n")
        assert text.count("\n| ") == 2 + len(drawing.machine)
        for state in {state for pair in drawing.machine.items() for state in (pair[0][0], pair[1][0])}:
            assert f" --> {state.value}: " in text


def test_write_renews_the_page_and_nothing_else(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = draw.PAGE.read_text(encoding="utf-8")
    monkeypatch.setattr(draw, "PAGE", tmp_path / "page.md")
    draw.PAGE.write_text(text.replace("Timer M: 32 s", "Timer M: 33 s"), encoding="utf-8")
    assert draw.main([]) == 1
    assert draw.main(["--write"]) == 0
    assert draw.PAGE.read_text(encoding="utf-8") == text
