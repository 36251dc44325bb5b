"""Slow work of a page: its progress is told, Cancel ends it, and it is forgotten afterwards."""

import threading

import pytest

from studio.ui.errands import Cancelled, Errands, Progress


def test_an_errand_tells_how_far_it_is_and_ends_with_its_result() -> None:
    errands, half, go_on = Errands(), threading.Event(), threading.Event()

    def work(progress: Progress) -> int:
        progress(0.5, "half")
        half.set()
        assert go_on.wait(5)
        return 7

    errand = errands.begin("ada")
    moments = errands.run(errand, work)
    first = next(moments)
    assert (first.share, first.words, first.done) == (0.5, "half", False)
    go_on.set()
    assert [(moment.done, moment.result) for moment in moments] == [(True, 7)]
    assert not errands.cancel(errand.id, "ada")


def test_only_its_owner_ends_an_errand_and_it_ends_at_its_next_report() -> None:
    errands, stopped = Errands(), threading.Event()
    errand = errands.begin("ada")

    def work(progress: Progress) -> None:
        progress(0.1, "begun")
        assert stopped.wait(5)
        progress(0.2, "never told")

    moments = errands.run(errand, work)
    assert next(moments).words == "begun"
    assert not errands.cancel(errand.id, "eve")
    assert not errands.cancel("no such id", "ada")
    assert errands.cancel(errand.id, "ada")
    stopped.set()
    with pytest.raises(Cancelled):
        list(moments)


def test_what_the_work_raises_comes_out_and_a_tab_that_goes_away_ends_it() -> None:
    errands = Errands()

    def broken(progress: Progress) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        list(errands.run(errands.begin("ada"), broken))
    errand, going = errands.begin("ada"), threading.Event()

    def work(progress: Progress) -> None:
        progress(0.1, "begun")
        assert going.wait(5)

    moments = errands.run(errand, work)
    next(moments)
    moments.close()  # type: ignore[attr-defined]
    assert errand.stop.is_set()
    going.set()
