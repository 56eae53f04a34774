"""Slots for calls: never more than there are, in order, and none is lost whoever leaves when."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from cheapfirst.upstream.slots import Slots


async def turns() -> None:
    """Let everything happen that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_slots_are_taken_at_once_while_there_are_any() -> None:
    slots = Slots(2, 1)
    assert slots.take()
    assert slots.take()
    assert not slots.take()
    slots.give()
    assert slots.take()
    assert slots.taken == 2


async def test_who_waits_is_served_in_order_and_before_newcomers() -> None:
    slots = Slots(1, 10)
    assert slots.take()
    order: list[int] = []

    async def waiting(number: int) -> None:
        assert await slots.wait(100)
        order.append(number)

    tasks = [asyncio.create_task(waiting(number)) for number in range(5)]
    await turns()
    for _ in range(5):
        assert not slots.take()
        slots.give()
        await turns()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4]
    slots.give()
    assert slots.taken == 0


async def test_a_full_queue_and_no_time_are_said_at_once() -> None:
    slots = Slots(1, 1)
    assert slots.take()
    waiting = asyncio.create_task(slots.wait(100))
    await turns()
    assert not await slots.wait(100)
    assert not await Slots(1, 5).wait(0)
    slots.give()
    assert await waiting


async def test_time_that_is_over_leaves_the_queue() -> None:
    slots = Slots(1, 1)
    assert slots.take()
    assert not await slots.wait(0.001)
    slots.give()
    assert slots.taken == 0
    assert slots.take()


async def test_a_slot_that_comes_while_its_waiter_is_cancelled_goes_to_the_next() -> None:
    slots = Slots(1, 5)
    assert slots.take()
    first, second = asyncio.create_task(slots.wait(100)), asyncio.create_task(slots.wait(100))
    await turns()
    slots.give()  # the first has it, but does not know yet
    first.cancel()
    assert await second
    assert first.cancelled() or first.done()
    slots.give()
    assert slots.taken == 0


STEP = st.one_of(
    st.just(("come", 0)), st.tuples(st.just("leave"), st.integers(0, 20)), st.just(("end", 0)), st.just(("turn", 0))
)


@settings(max_examples=200)
@given(most=st.integers(1, 3), queue=st.integers(0, 4), steps=st.lists(STEP, max_size=60))
def test_whatever_happens_no_slot_is_lost_or_given_twice(most: int, queue: int, steps: list[tuple[str, int]]) -> None:
    async def run() -> None:
        slots = Slots(most, queue)
        holding = 0
        waiting: list[asyncio.Task[None]] = []

        async def come() -> None:
            nonlocal holding
            if slots.take() or await slots.wait(1000):
                holding += 1
                assert holding <= most

        for what, which in steps:
            if what == "come":
                waiting.append(asyncio.create_task(come()))
            elif what == "leave" and waiting:
                waiting[which % len(waiting)].cancel()
            elif what == "end" and holding:
                holding -= 1
                slots.give()
            else:
                await turns()
            assert slots.taken <= most
        await turns()
        while any(not task.done() for task in waiting):
            assert holding == most  # nobody waits for a slot that is free
            holding -= 1
            slots.give()
            await turns()
        assert slots.taken == holding
        while holding:
            holding -= 1
            slots.give()
        assert slots.taken == 0

    asyncio.run(run())
