from edgesbc.base import limits
from edgesbc.tasks.random_bytes import RandomBytes


def test_no_byte_is_given_out_twice_and_the_kernel_is_asked_once_for_many(monkeypatch):
    asked = []

    def urandom(size):
        asked.append(size)
        return bytes([len(asked)]) * size

    monkeypatch.setattr("os.urandom", urandom)
    draw = RandomBytes()
    sizes = [12, 8, limits.RANDOM_BYTES - 20]
    assert [draw(size) for size in sizes] == [b"\1" * size for size in sizes]
    assert asked == [limits.RANDOM_BYTES]
    assert draw(1) == b"\2"
    assert draw(limits.RANDOM_BYTES) == b"\3" * limits.RANDOM_BYTES
    assert draw(limits.RANDOM_BYTES + 1) == b"\4" * (limits.RANDOM_BYTES + 1)
    assert asked == [*[limits.RANDOM_BYTES] * 3, limits.RANDOM_BYTES + 1]


def test_random_bytes_differ():
    draw = RandomBytes()
    assert len({draw(16) for _ in range(1_000)}) == 1_000


def test_floats_are_below_one(monkeypatch):
    monkeypatch.setattr("os.urandom", lambda size: bytes(4) + b"\xff" * (size - 4))
    draw = RandomBytes()
    assert draw.random() == 0.0
    assert 0.999 < draw.random() < 1.0
