"""The four tables against the figures of RFC 3261 section 17 and RFC 6026, every pair of state and event."""

from __future__ import annotations

import itertools

import pytest

from edgesbc.sip.transaction import (
    CLIENT,
    INVITE_CLIENT,
    INVITE_SERVER,
    SERVER,
    T1,
    T2,
    T4,
    Action,
    Event,
    Machine,
    State,
)

MACHINES = {"INVITE client": INVITE_CLIENT, "client": CLIENT, "INVITE server": INVITE_SERVER, "server": SERVER}

# One row a state, one column an event: the state that follows, or "." where nothing happens at all.
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
    Event.REQUEST, Event.ACK, Event.PROVISIONAL, Event.SUCCESS, Event.FAILURE, Event.RETRANSMIT, Event.TIMEOUT,
    Event.LINGER, Event.TRANSPORT, Event.SILENCE,
]  # fmt: skip


def figure(name: str) -> dict[tuple[State, Event], State]:
    steps = {}
    for line in _FIGURES[name].strip().splitlines():
        state, *cells = line.split()
        assert len(cells) == len(_COLUMNS)
        for event, cell in zip(_COLUMNS, cells, strict=True):
            if cell != ".":
                steps[State(state), event] = State(cell)
    return steps


def test_the_figures_have_a_column_for_every_event() -> None:
    assert set(_COLUMNS) == set(Event)


@pytest.mark.parametrize(
    ("name", "state", "event"),
    [pytest.param(*case, id=f"{case[0]}-{case[1].value}-{case[2].value}") for case in itertools.product(MACHINES,
     State, Event)],
)  # fmt: skip
def test_the_step_is_that_of_the_figure(name: str, state: State, event: Event) -> None:
    step = MACHINES[name].get((state, event))
    assert (None if step is None else step[0]) == figure(name).get((state, event))


def actions(machine: Machine, state: State, event: Event) -> set[Action]:
    return set(machine[state, event][1])


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_every_state_can_be_left(machine: Machine) -> None:
    for state in {state for state, _ in machine}:
        reached, grown = {state}, True
        while grown:
            further = {after for (before, _), (after, _) in machine.items() if before in reached}
            grown = not further <= reached
            reached |= further
        assert State.TERMINATED in reached


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_a_state_that_only_a_timer_ends_is_entered_with_that_timer_set(machine: Machine) -> None:
    for (before, _), (after, acts) in machine.items():
        if after is before:
            continue
        if (after, Event.LINGER) in machine:
            assert Action.LINGER in acts
        if (after, Event.TIMEOUT) in machine and after is State.COMPLETED:
            assert Action.START_TIMEOUT in acts
        if after is State.TERMINATED:
            assert Action.STOP_TIMERS in acts


def test_the_client_acknowledges_each_refusal_and_no_success() -> None:
    with_ack = {pair for pair, (_, acts) in INVITE_CLIENT.items() if Action.ACK in acts}
    assert with_ack == {(state, Event.FAILURE) for state in (State.CALLING, State.PROCEEDING, State.COMPLETED)}
    assert not any(Action.ACK in acts for machine in (CLIENT, INVITE_SERVER, SERVER) for _, acts in machine.values())


@pytest.mark.parametrize("machine", [INVITE_CLIENT, CLIENT], ids=["INVITE", "other"])
def test_the_user_hears_each_answer_once_and_each_failure(machine: Machine) -> None:
    for (state, event), (_, acts) in machine.items():
        told = Action.PASS in acts or Action.INFORM in acts
        if event in (Event.PROVISIONAL, Event.SUCCESS):
            assert Action.PASS in acts
        elif event is Event.FAILURE:
            assert told == (state is not State.COMPLETED)
        else:
            assert told == (event in (Event.TIMEOUT, Event.TRANSPORT))


@pytest.mark.parametrize("machine", [INVITE_SERVER, SERVER], ids=["INVITE", "other"])
def test_the_server_sends_what_it_is_given_and_repeats_it_when_asked(machine: Machine) -> None:
    for (_, event), (_, acts) in machine.items():
        assert (Action.SEND in acts) == (event in (Event.PROVISIONAL, Event.SUCCESS, Event.FAILURE))
        assert (Action.RESEND in acts) == (event in (Event.REQUEST, Event.RETRANSMIT))


def test_accepted_absorbs_a_repeated_invite() -> None:
    assert (State.ACCEPTED, Event.REQUEST) not in INVITE_SERVER  # RFC 6026 section 7.1


def test_a_success_is_never_repeated_by_the_server() -> None:
    assert Action.START_RETRANSMIT not in actions(INVITE_SERVER, State.PROCEEDING, Event.SUCCESS)
    assert Action.START_RETRANSMIT in actions(INVITE_SERVER, State.PROCEEDING, Event.FAILURE)


def test_the_timers_have_the_values_of_the_rfc() -> None:
    assert (T1, T2, T4) == (0.5, 4.0, 5.0)
