"""Timers A to M of RFC 3261 section 17 and RFC 6026, with their values, on a mock clock."""

from __future__ import annotations

import pytest
from support.transactions import Layer, a_request, flow

from edgesbc.sip.machines import TransactionState


@pytest.fixture
def layer() -> Layer:
    return Layer()


# --- timers of the INVITE client: A, B, D and M ----------------------------------------------------------


def test_timer_a_doubles_until_timer_b_ends_it(layer: Layer) -> None:
    layer.client()
    layer.wait(31.99)
    assert layer.times(b"request") == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert layer.outcomes == []
    layer.wait(100)
    assert layer.outcomes == [(32, "timeout")]
    assert len(layer.times(b"request")) == 7
    assert layer.empty
    assert layer.table.retransmissions == 6


def test_a_reliable_transport_has_timer_b_only(layer: Layer) -> None:
    layer.client(reliable=True)
    layer.wait(100)
    assert layer.times(b"request") == [0]
    assert layer.outcomes == [(32, "timeout")]
    assert layer.empty


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
def test_the_time_out_can_be_shorter(layer: Layer, method: str) -> None:
    layer.client(method, timeout=2.0)
    layer.wait(100)
    assert layer.times(b"request") == [0, 0.5, 1.5]
    assert layer.outcomes == [(2, "timeout")]
    assert layer.empty


def test_a_provisional_answer_ends_timers_a_and_b(layer: Layer) -> None:
    client = layer.client()
    layer.wait(0.4)
    layer.receive(100)
    layer.wait(500)
    assert layer.times(b"request") == [0]
    assert layer.outcomes == [(0.4, "100")]
    assert client.state is TransactionState.PROCEEDING
    layer.receive(180)
    assert layer.outcomes[-1] == (500, "180")


@pytest.mark.parametrize(("reliable", "over"), [(False, 33.0), (True, 1.0)])
def test_timer_d_acknowledges_each_repeated_refusal(layer: Layer, reliable: bool, over: float) -> None:
    layer.client(reliable=reliable)
    layer.now = 1.0
    layer.receive(486, reliable=reliable)
    assert len(layer.table) == (0 if reliable else 1)
    layer.wait(over - 0.01 if not reliable else 1.0)
    layer.receive(486, reliable=reliable)
    layer.wait(100)
    assert layer.times(b"ACK 486") == ([1.0] if reliable else [1.0, 32.99])
    assert layer.outcomes == [(1.0, "486")]
    assert layer.empty


@pytest.mark.parametrize("reliable", [False, True])
def test_timer_m_passes_each_success_for_64_t1(layer: Layer, reliable: bool) -> None:
    layer.client(reliable=reliable)
    layer.wait(1.0)
    layer.receive(180, reliable=reliable)
    layer.receive(200, reliable=reliable)
    layer.wait(32.9)
    layer.receive(200, reliable=reliable)
    layer.receive(486, reliable=reliable)  # a second final answer of another kind: nothing
    layer.wait(33.0)
    assert layer.receive(200, reliable=reliable) is None
    assert layer.outcomes == [(1.0, "180"), (1.0, "200"), (32.9, "200")]
    assert not [data for _, data in layer.sent if data.startswith(b"ACK")]
    assert layer.empty


def test_after_cancel_the_wait_for_a_final_response_is_bounded(layer: Layer) -> None:
    client = layer.client()
    layer.receive(180)
    layer.wait(100)
    layer.table.limit_wait(client, 32.0, layer.now)
    layer.wait(131.9)
    layer.receive(180)  # does not extend the wait
    layer.wait(200)
    assert layer.outcomes[-1] == (132.0, "timeout")
    assert layer.empty


@pytest.mark.parametrize("status", [200, 486])
def test_after_a_final_response_no_time_out_is_set(layer: Layer, status: int) -> None:
    client = layer.client()
    layer.receive(status)
    layer.table.limit_wait(client, 1.0, layer.now)
    layer.wait(100)
    assert layer.outcomes == [(0, str(status))]
    assert layer.empty


# --- timers of the other client: E, F and K --------------------------------------------------------------


def test_timer_e_doubles_up_to_t2_until_timer_f_ends_it(layer: Layer) -> None:
    layer.client("OPTIONS")
    layer.wait(100)
    assert layer.times(b"request") == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert layer.outcomes == [(32, "timeout")]
    assert layer.empty


def test_after_a_provisional_answer_timer_e_is_t2_and_timer_f_goes_on(layer: Layer) -> None:
    layer.client("OPTIONS")
    layer.wait(0.6)
    layer.receive(100, "OPTIONS")
    layer.wait(100)
    assert layer.times(b"request") == [0, 0.5, 1.5, 5.5, 9.5, 13.5, 17.5, 21.5, 25.5, 29.5]
    assert layer.outcomes == [(0.6, "100"), (32, "timeout")]


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize(("reliable", "linger"), [(False, 5.0), (True, 0.0)])
def test_timer_k_absorbs_repeated_responses(layer: Layer, status: int, reliable: bool, linger: float) -> None:
    layer.client("OPTIONS", reliable)
    layer.receive(status, "OPTIONS", reliable)
    assert len(layer.table) == (1 if linger else 0)
    layer.wait(4.9)
    assert (layer.receive(status, "OPTIONS", reliable) is not None) == (linger > 0)
    layer.wait(5.0)
    assert layer.empty
    assert layer.outcomes == [(0, str(status))]


# --- timers of the INVITE server: G, H, I and L ----------------------------------------------------------


def test_timer_g_repeats_a_refusal_until_timer_h(layer: Layer) -> None:
    layer.respond(layer.server(), 486)
    layer.wait(31.99)
    assert layer.times(b"answer 486") == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    layer.wait(32)
    assert layer.empty


def test_timer_h_alone_on_a_reliable_transport(layer: Layer) -> None:
    layer.respond(layer.server(reliable=True), 486)
    layer.wait(31.99)
    assert len(layer.table) == 1
    layer.wait(32)
    assert layer.times(b"answer 486") == [0]
    assert layer.empty


@pytest.mark.parametrize(("reliable", "linger"), [(False, 5.0), (True, 0.0)])
def test_timer_i_absorbs_repeated_acks(layer: Layer, reliable: bool, linger: float) -> None:
    layer.respond(layer.server(reliable=reliable), 486)
    layer.wait(1.0)
    assert layer.table.absorb(a_request("ACK"), flow(reliable), 1.0)
    assert len(layer.table) == (1 if linger else 0)
    layer.wait(5.9)
    assert layer.table.absorb(a_request("ACK"), flow(reliable), layer.now) == (linger > 0)
    assert len(layer.sent) == (1 if reliable else 2)
    layer.wait(6.0)
    assert layer.empty


@pytest.mark.parametrize("reliable", [False, True])
def test_timer_l_absorbs_repeated_invites_after_a_success(layer: Layer, reliable: bool) -> None:
    server = layer.server(reliable=reliable)
    layer.respond(server, 200)
    layer.wait(31.9)
    assert layer.table.absorb(a_request(), flow(reliable), layer.now)
    assert not layer.table.absorb(a_request("ACK"), flow(reliable), layer.now)  # the ACK belongs to the dialog
    assert layer.times(b"answer 200") == [0]
    layer.respond(server, 200)  # a retransmission by the user
    assert layer.times(b"answer 200") == [0, 31.9]
    layer.wait(32)
    assert layer.empty


def test_a_repeated_invite_gets_the_last_provisional_answer(layer: Layer) -> None:
    server = layer.server()
    assert layer.table.absorb(a_request(), flow(), 0)
    assert layer.sent == []  # there is no response yet
    layer.respond(server, 100)
    layer.respond(server, 180)
    assert layer.table.absorb(a_request(), flow(), 0)
    assert [data for _, data in layer.sent] == [b"answer 100", b"answer 180", b"answer 180"]


def test_after_a_final_answer_no_other_is_sent(layer: Layer) -> None:
    server = layer.server()
    layer.respond(server, 486)
    for status in (100, 200, 503):
        layer.respond(server, status)
    assert [data for _, data in layer.sent] == [b"answer 486"]
    assert server.answered


# --- timer of the other server: J ------------------------------------------------------------------------


@pytest.mark.parametrize(("reliable", "linger"), [(False, 32.0), (True, 0.0)])
def test_timer_j_repeats_the_answer_when_asked(layer: Layer, reliable: bool, linger: float) -> None:
    server = layer.server("BYE", reliable)
    assert layer.table.absorb(a_request("BYE"), flow(reliable), 0)
    assert layer.sent == []  # Trying: discarded
    layer.respond(server, 200)
    layer.respond(server, 404)
    layer.wait(31.9)
    assert layer.table.absorb(a_request("BYE"), flow(reliable), layer.now) == (linger > 0)
    assert layer.times(b"answer 200") == ([0, 31.9] if linger else [0])
    assert layer.times(b"answer 404") == []
    layer.wait(32)
    assert layer.empty


def test_a_transaction_can_end_without_an_answer(layer: Layer) -> None:
    server = layer.server("BYE", reliable=True)
    layer.table.forget(server)
    layer.respond(server, 408)  # RFC 4320: its sender has timed out as well
    assert layer.sent == []
    assert layer.empty
