"""A result is made while the caller has the one before, by one thread, in order."""

import threading

import pytest

from lcma_tf.batch.batches import one_ahead


def test_results_are_in_order():
    assert list(one_ahead(lambda item: item * item, range(7))) == [0, 1, 4, 9, 16, 25, 36]
    assert list(one_ahead(lambda item: item, [])) == []


def test_the_next_is_made_while_the_caller_has_one():
    begun = [threading.Event() for _ in range(3)]
    results = one_ahead(lambda item: begun[item].set(), range(3))
    next(results)
    assert begun[1].wait(timeout=30)


def test_never_two_at_the_same_time():
    # Of one graph, several runs at once are not safe.
    at_work = threading.Lock()

    def alone(item):
        assert at_work.acquire(blocking=False)
        threading.Event().wait(0.001)
        at_work.release()
        return threading.get_ident()

    assert len(set(one_ahead(alone, range(50)))) == 1


def test_what_goes_wrong_reaches_the_caller_behind_what_went_well():
    def divided(item):
        return 6 // item

    results = one_ahead(divided, [3, 2, 0, 1])
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_caller_that_leaves_ends_the_thread():
    before = threading.active_count()
    results = one_ahead(lambda item: item, range(9))
    next(results)
    results.close()
    assert threading.active_count() == before
