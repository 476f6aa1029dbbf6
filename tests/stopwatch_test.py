"""Where the time of a run goes: every second is counted once, for the innermost part."""

import pytest

from lcma_tf import stopwatch as module
from lcma_tf.stopwatch import stopwatch, time_by_part, timed


@pytest.fixture
def clock(monkeypatch):
    """Seconds pass as the test says: `clock.now += 1`."""

    class Clock:
        now = 100.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_a_part_inside_another_has_its_own_seconds(clock):
    with stopwatch() as seconds:
        clock.now += 1
        with timed("training"):
            clock.now += 2
            with timed("validation"):
                clock.now += 4
            clock.now += 8
            with timed("validation"):
                clock.now += 16
        clock.now += 32
    clock.now += 64
    assert seconds == {"other": 33, "training": 10, "validation": 20}


def test_a_part_that_fails_ends_there(clock):
    with stopwatch() as seconds:
        with pytest.raises(KeyError), timed("training"):
            clock.now += 2
            raise KeyError
        clock.now += 4
    assert seconds == {"other": 4, "training": 2}


def test_a_stopwatch_inside_another_keeps_its_parts_to_itself(clock):
    with stopwatch() as outer, timed("study"):
        with stopwatch() as inner, timed("training"):
            clock.now += 2
        clock.now += 4
    assert (inner["training"], outer["study"]) == (2, 6)
    assert "training" not in outer


def test_without_a_stopwatch_nothing_is_counted(clock):
    with timed("training"):
        clock.now += 2
    with stopwatch() as seconds:
        pass
    assert seconds == {"other": 0}


def test_what_is_told():
    told = time_by_part({"other": 1.0, "steps": 10.0, "first step": 2.5})
    assert told == "13.5 s, 10.0 of them training steps; first step 2.5, other 1.0"
    assert time_by_part({"other": 1.0}) == "1.0 s, 0.0 of them training steps; other 1.0"
