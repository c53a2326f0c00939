"""The four tables against the figures of RFC 3261 section 17 and RFC 6026, every pair of state and event."""

from __future__ import annotations

import itertools

import pytest

from edgesbc.sip.machines import (
    CLIENT,
    INVITE_CLIENT,
    INVITE_SERVER,
    SERVER,
    T1,
    T2,
    T4,
    Machine,
    TransactionAction,
    TransactionEvent,
    TransactionState,
)

MACHINES = {"INVITE client": INVITE_CLIENT, "client": CLIENT, "INVITE server": INVITE_SERVER, "server": SERVER}

# One row for each state, one column for each event: the next state, or "." if the event is ignored.
# REQUEST ACK 1xx 2xx 3-699 RETRANSMIT TIMEOUT LINGER TRANSPORT SILENCE
_FIGURES = {
    "INVITE client": """
        Calling    . . Proceeding Accepted  Completed Calling    Terminated . Terminated .
        Proceeding . . Proceeding Accepted  Completed .          Terminated . Terminated .
        Accepted   . . .          Accepted  .         .          .          Terminated . .
        Completed  . . .          .         Completed .          .          Terminated . .
    """,
    "client": """
        Trying     . . Proceeding Completed Completed Trying     Terminated . Terminated .
        Proceeding . . Proceeding Completed Completed Proceeding Terminated . Terminated .
        Completed  . . .          .         .         .          .          Terminated . .
    """,
    "INVITE server": """
        Proceeding Proceeding . Proceeding Accepted Completed . . . Terminated Proceeding
        Accepted   . . . Accepted . . . Terminated . .
        Completed  Completed Confirmed . . . Completed Terminated . Terminated .
        Confirmed  . . . . . . . Terminated . .
    """,
    "server": """
        Trying     . . Proceeding Completed Completed . . . Terminated Proceeding
        Proceeding Proceeding . Proceeding Completed Completed . . . Terminated .
        Completed  Completed . . . . . . Terminated . .
    """,
}
_COLUMNS = [
    TransactionEvent[name]
    for name in "REQUEST ACK PROVISIONAL SUCCESS FAILURE RETRANSMIT TIMEOUT LINGER TRANSPORT SILENCE".split()
]


def figure(name: str) -> dict[tuple[TransactionState, TransactionEvent], TransactionState]:
    steps = {}
    for line in _FIGURES[name].strip().splitlines():
        state, *cells = line.split()
        assert len(cells) == len(_COLUMNS)
        for event, cell in zip(_COLUMNS, cells, strict=True):
            if cell != ".":
                steps[TransactionState(state), event] = TransactionState(cell)
    return steps


def test_the_figures_have_a_column_for_every_event() -> None:
    assert set(_COLUMNS) == set(TransactionEvent)


@pytest.mark.parametrize(
    ("name", "state", "event"),
    [pytest.param(*case, id=f"{case[0]}-{case[1].value}-{case[2].value}") for case in itertools.product(MACHINES,
     TransactionState, TransactionEvent)],
)  # fmt: skip
def test_the_step_is_that_of_the_figure(name: str, state: TransactionState, event: TransactionEvent) -> None:
    step = MACHINES[name].get((state, event))
    assert (None if step is None else step[0]) == figure(name).get((state, event))


def actions(machine: Machine, state: TransactionState, event: TransactionEvent) -> set[TransactionAction]:
    return set(machine[state, event][1])


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_every_state_can_be_left(machine: Machine) -> None:
    for state in {state for state, _ in machine}:
        reached, grown = {state}, True
        while grown:
            further = {after for (before, _), (after, _) in machine.items() if before in reached}
            grown = not further <= reached
            reached |= further
        assert TransactionState.TERMINATED in reached


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_a_state_that_only_a_timer_ends_is_entered_with_that_timer_set(machine: Machine) -> None:
    for (before, _), (after, acts) in machine.items():
        if after is before:
            continue
        if (after, TransactionEvent.LINGER) in machine:
            assert TransactionAction.LINGER in acts
        if (after, TransactionEvent.TIMEOUT) in machine and after is TransactionState.COMPLETED:
            assert TransactionAction.START_TIMEOUT in acts
        if after is TransactionState.TERMINATED:
            assert TransactionAction.STOP_TIMERS in acts


def test_the_client_acknowledges_each_refusal_and_no_success() -> None:
    with_ack = {pair for pair, (_, acts) in INVITE_CLIENT.items() if TransactionAction.ACK in acts}
    assert with_ack == {
        (state, TransactionEvent.FAILURE)
        for state in (TransactionState.CALLING, TransactionState.PROCEEDING, TransactionState.COMPLETED)
    }
    assert not any(
        TransactionAction.ACK in acts for machine in (CLIENT, INVITE_SERVER, SERVER) for _, acts in machine.values()
    )


@pytest.mark.parametrize("machine", [INVITE_CLIENT, CLIENT], ids=["INVITE", "other"])
def test_the_user_gets_each_response_once_and_each_failure(machine: Machine) -> None:
    for (state, event), (_, acts) in machine.items():
        informs_user = TransactionAction.PASS in acts or TransactionAction.INFORM in acts
        if event in (TransactionEvent.PROVISIONAL, TransactionEvent.SUCCESS):
            assert TransactionAction.PASS in acts
        elif event is TransactionEvent.FAILURE:
            assert informs_user == (state is not TransactionState.COMPLETED)
        else:
            assert informs_user == (event in (TransactionEvent.TIMEOUT, TransactionEvent.TRANSPORT))


@pytest.mark.parametrize("machine", [INVITE_SERVER, SERVER], ids=["INVITE", "other"])
def test_the_server_sends_responses_and_repeats_them_for_retransmissions(machine: Machine) -> None:
    for (_, event), (_, acts) in machine.items():
        assert (TransactionAction.SEND in acts) == (
            event in (TransactionEvent.PROVISIONAL, TransactionEvent.SUCCESS, TransactionEvent.FAILURE)
        )
        assert (TransactionAction.RESEND in acts) == (event in (TransactionEvent.REQUEST, TransactionEvent.RETRANSMIT))


def test_accepted_absorbs_a_repeated_invite() -> None:
    assert (TransactionState.ACCEPTED, TransactionEvent.REQUEST) not in INVITE_SERVER  # RFC 6026 section 7.1


def test_a_success_is_never_repeated_by_the_server() -> None:
    assert TransactionAction.START_RETRANSMIT not in actions(
        INVITE_SERVER, TransactionState.PROCEEDING, TransactionEvent.SUCCESS
    )
    assert TransactionAction.START_RETRANSMIT in actions(
        INVITE_SERVER, TransactionState.PROCEEDING, TransactionEvent.FAILURE
    )


def test_the_timers_have_the_values_of_the_rfc() -> None:
    assert (T1, T2, T4) == (0.5, 4.0, 5.0)
