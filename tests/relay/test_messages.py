import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.base.latch_mode import LatchMode
from edgesbc.media.latch import MediaTarget
from edgesbc.relay.messages import (
    CommandWriter,
    RelayMessageError,
    fault_event,
    latched_event,
    read_commands,
    read_events,
    reports_event,
)

NUMBERS = st.integers(0, 2**32 - 1)
HOSTS = st.sampled_from(["192.0.2.7", "10.0.0.1", "2001:db8::10", "fe80::1"])
SOURCES = st.builds(Source, HOSTS, st.integers(0, 65_535))
TARGETS = st.builds(
    MediaTarget,
    st.none() | SOURCES,
    st.none() | SOURCES,
    st.frozensets(HOSTS, max_size=2),
    st.booleans(),
    st.sampled_from(LatchMode),
    st.booleans(),
    st.booleans(),
)
COMMANDS = st.one_of(
    st.tuples(st.just("open_channel"), NUMBERS, st.booleans(), st.booleans(), st.booleans()),
    st.tuples(st.just("set_target"), NUMBERS, NUMBERS, TARGETS),
    st.tuples(st.just("restore_peer"), NUMBERS, NUMBERS, SOURCES, st.booleans()),
    st.tuples(st.just("reopen"), NUMBERS, NUMBERS),
    st.tuples(st.just("join"), NUMBERS, NUMBERS),
    st.tuples(st.just("close_channel"), NUMBERS),
    st.tuples(st.just("ping"), st.integers(0, 2**64 - 1)),
)
EVENTS = st.one_of(
    st.tuples(st.just("latched"), NUMBERS, NUMBERS, SOURCES, st.booleans()),
    st.tuples(st.just("fault"), st.text(max_size=200)),
    st.tuples(st.just("reports"), NUMBERS, st.floats(0, 1e9), st.binary(max_size=1500)),
)


class Recorder:
    """Notes each call of a method as its name and arguments, and of a target also whether it is limited."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *arguments: self.calls.append((name, *arguments))


def limited(calls):
    return [call[-1].limited for call in calls if call[0] == "set_target"]


@given(st.lists(COMMANDS, max_size=300))
def test_commands_are_read_as_they_were_written(commands):
    writer, recorder = CommandWriter(), Recorder()
    for name, *arguments in commands:
        getattr(writer, name)(*arguments)
    for batch in writer.take():
        assert len(batch.data) < 2 * limits.RELAY_BATCH_BYTES
        before = len(recorder.calls)
        read_commands(batch.data, recorder)
        opens = sum(call[0] == "open_channel" for call in recorder.calls[before:])
        assert opens == batch.opens <= limits.RELAY_BATCH_SOCKETS
    assert recorder.calls == commands
    assert limited(recorder.calls) == limited(commands)
    assert writer.take() == []


@given(st.lists(EVENTS, max_size=20))
def test_events_are_read_as_they_were_written(events):
    recorder = Recorder()
    make = {"latched": latched_event, "fault": fault_event, "reports": reports_event}
    read_events(b"".join(make[name](*arguments) for name, *arguments in events), recorder)
    assert recorder.calls == events


def test_a_long_fault_is_cut():
    recorder = Recorder()
    read_events(fault_event("é" * limits.RELAY_FAULT_BYTES), recorder)
    ((_, text),) = recorder.calls
    assert 0 < len(text) <= limits.RELAY_FAULT_BYTES


@pytest.mark.parametrize("read", [read_commands, read_events])
@given(data=st.binary(max_size=60))
def test_any_other_bytes_raise_one_error(read, data):
    try:
        read(data, Recorder())
    except RelayMessageError:
        pass


@given(COMMANDS, st.data())
def test_a_command_that_is_cut_off_is_an_error(command, data):
    writer = CommandWriter()
    name, *arguments = command
    getattr(writer, name)(*arguments)
    (batch,) = writer.take()
    size = data.draw(st.integers(1, len(batch.data) - 1))
    with pytest.raises(RelayMessageError):
        read_commands(batch.data[:size], Recorder())


def test_a_target_of_two_modes_is_refused():
    source = Source("192.0.2.7", 4000)
    writer = CommandWriter()
    writer.set_target(1, 1, MediaTarget(source, source, frozenset({source.host}), latch=LatchMode.ROAMING))
    (batch,) = writer.take()
    data = bytearray(batch.data)
    data[9] |= 16
    with pytest.raises(RelayMessageError, match="two modes"):
        read_commands(bytes(data), Recorder())
