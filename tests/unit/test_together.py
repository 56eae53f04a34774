"""What several processes counted, added up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cheapfirst.gateway import together
from cheapfirst.gateway.exposition import Buckets, Family, Values, page

ENDED = Family("ended", "counter", "Ended.", ("task",))
TOOK = Family("took_seconds", "histogram", "Took.", ("task",), (1.0, 2.0))
BUSY = Family("busy", "gauge", "Busy.")
BUILD = Family("build", "info", "Build.", ("version",), over="max")
SINCE = Family("since", "gauge", "Since.", over="each")
FAMILIES = (ENDED, TOOK, BUSY, BUILD, SINCE)


def took(*seconds: float) -> Buckets:
    buckets = Buckets((1.0, 2.0))
    for one in seconds:
        buckets.add(one)
    return buckets


def counted(number: int, ended: dict[str, int], seconds: tuple[float, ...], busy: int) -> together.Snapshot:
    values: dict[Family, Values] = {
        ENDED: {(task,): count for task, count in ended.items()},
        TOOK: {("a",): took(*seconds)},
        BUSY: {(): busy},
        BUILD: {("1",): 1},
        SINCE: {(): 100.0 + number},
    }
    return together.snapshot(number, number + 1000, values.items())


def test_counts_and_buckets_add_up_and_what_is_each_process_s_own_is_labelled() -> None:
    both = [counted(1, {"a": 2, "b": 1}, (0.5, 9.0), 3), counted(2, {"a": 5}, (1.5,), 4)]
    told = page(together.add(both, FAMILIES)).decode().splitlines()
    assert {line for line in told if not line.startswith("#")} == {
        'ended_total{task="a"} 7.0',
        'ended_total{task="b"} 1.0',
        'took_seconds_bucket{task="a",le="1.0"} 1',
        'took_seconds_bucket{task="a",le="2.0"} 2',
        'took_seconds_bucket{task="a",le="+Inf"} 3',
        'took_seconds_count{task="a"} 3',
        'took_seconds_sum{task="a"} 11.0',
        "busy 7.0",
        'build_info{version="1"} 1.0',
        'since{worker="1"} 101.0',
        'since{worker="2"} 102.0',
    }


def test_of_a_process_that_is_gone_only_what_must_not_fall_is_kept() -> None:
    gone = together.kept(counted(1, {"a": 2}, (0.5,), 3), FAMILIES)
    assert gone.pid == 0
    assert set(gone.samples) == {"ended", "took_seconds"}


@given(st.dictionaries(st.text(), st.integers(0, 2**53)), st.lists(st.floats(0, 1e9)), st.integers(0, 2**53))
def test_a_snapshot_is_the_same_after_its_way_to_another_process(
    ended: dict[str, int], seconds: list[float], busy: int
) -> None:
    sent = counted(1, ended, tuple(seconds), busy)
    assert together.unpacked(together.packed(sent)) == sent


@given(st.binary())
def test_what_is_no_snapshot_is_none(content: bytes) -> None:
    assert together.unpacked(content) is None


def test_adding_changes_nothing_of_what_is_added() -> None:
    one = counted(1, {"a": 1}, (0.5,), 1)
    before = together.packed(one)
    for _ in range(2):
        together.add([one, one], FAMILIES)
    assert together.packed(one) == before


def test_half_a_character_in_a_label_can_be_sent() -> None:
    sent = together.unpacked(together.packed(counted(1, {"a\ud83d": 3}, (), 0)))
    assert sent is not None
    assert sent.total(ENDED) == 3
