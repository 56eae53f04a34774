"""Budgets on real stores: never overshot, never closed to a request that fits, whatever runs at once or dies."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest

from access_stores import KINDS, NOON, Clock, address, price, race, request, rules
from cheapfirst.access import Access, Lease
from cheapfirst.errors import BudgetExhausted, BudgetReserved, StoreUnavailable

DAY = '[[budgets]]\ntenant = "acme"\nper = "day"\nlimit = {}\n'


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return address(request.param, tmp_path)


async def only(access: Access) -> tuple[object, object, object]:
    """What the policy's one budget has spent, reserved and left."""
    (found,) = await access.balances()
    return found.spent, found.reserved, found.left


async def test_a_request_reserves_its_worst_case_and_settles_what_it_cost(store: str) -> None:
    async with Access(rules(DAY.format(1)), store, clock=Clock()) as access:
        lease = await access.admit(request(), None, price("0.4"), 10)
        assert lease.max_cost == Decimal("0.4")
        assert await only(access) == (0, Decimal("0.4"), Decimal("0.6"))
        await lease.settle(Decimal("0.000000000001"))
        assert await only(access) == (Decimal("0.000000000001"), 0, Decimal("0.999999999999"))
        await lease.settle(Decimal("0.3"))
        assert (await only(access))[0] == Decimal("0.000000000001"), "settled once, settled for good"


async def test_an_unknown_cost_counts_as_all_that_was_reserved(store: str) -> None:
    async with Access(rules(DAY.format(1)), store, clock=Clock()) as access:
        await (await access.admit(request(), None, price("0.4"), 10)).settle(None)
        assert await only(access) == (Decimal("0.4"), 0, Decimal("0.6"))


async def test_a_spent_budget_refuses_with_the_time_when_it_begins_anew(store: str) -> None:
    clock = Clock()
    async with Access(rules(DAY.format("0.5")), store, clock=clock) as access:
        await (await access.admit(request(), None, price("0.4"), 10)).settle(Decimal("0.4"))
        with pytest.raises(BudgetExhausted, match="2026-11-24T00:00:00Z") as caught:
            await access.admit(request(), None, price("0.4", "0.2"), 10, wait=60)
        assert caught.value.resets == NOON + 12 * 3600
        assert caught.value.retry_after == 12 * 3600
        clock.now = caught.value.resets
        assert (await access.admit(request(), None, price("0.4"), 10)).max_cost == Decimal("0.4")


async def test_near_its_end_a_budget_lends_what_is_left_if_the_first_attempt_fits(store: str) -> None:
    async with Access(rules(DAY.format("0.5")), store, clock=Clock()) as access:
        await (await access.admit(request(), None, price("0.4"), 10)).settle(Decimal("0.4"))
        lease = await access.admit(request(), None, price("0.4", "0.05"), 10)
        assert lease.max_cost == Decimal("0.1")
        assert not lease.step_down


@pytest.mark.parametrize("share", ["0.5", "0.9"])
async def test_a_budget_that_says_so_steps_requests_down_from_that_share_on_or_when_nothing_else_fits(
    store: str, share: str
) -> None:
    async with Access(rules(DAY.format(1) + f"step_down = {share}\n"), store, clock=Clock()) as access:
        first = await access.admit(request(), None, price("0.8"), 10, stepped=price("0.1"))
        assert (first.max_cost, first.step_down) == (Decimal("0.8"), False)
        await first.settle(Decimal("0.8"))
        second = await access.admit(request(), None, price("0.8", "0.5"), 10, stepped=price("0.1"))
        assert (second.max_cost, second.step_down) == (Decimal("0.1"), True)
        with pytest.raises(BudgetExhausted):
            await access.admit(request(), None, price("0.8", "0.5"), 10)


async def test_only_reservations_in_the_way_are_waited_for_and_then_said(store: str) -> None:
    async with Access(rules(DAY.format(1)), store, clock=Clock()) as access:
        lease = await access.admit(request(1), None, price("0.7"), 10)
        with pytest.raises(BudgetReserved):
            await access.admit(request(2), None, price("0.7"), 10, wait=0.01)
        waiting = asyncio.create_task(access.admit(request(3), None, price("0.7"), 10, wait=30))
        small = await access.admit(request(4), None, price("0.3"), 10)
        assert small.max_cost == Decimal("0.3"), "a request that fits is not held up by one that waits"
        await asyncio.gather(small.settle(Decimal(0)), lease.settle(Decimal("0.1")))
        assert (await waiting).max_cost == Decimal("0.7")


async def test_who_stops_waiting_leaves_nothing_reserved(store: str) -> None:
    async with Access(rules(DAY.format(1)), store, clock=Clock()) as access:
        lease = await access.admit(request(1), None, price("0.7"), 10)
        waiting = asyncio.create_task(access.admit(request(2), None, price("0.7"), 10, wait=30))
        await asyncio.sleep(0.05)
        waiting.cancel()
        await lease.settle(Decimal(0))
        assert await only(access) == (0, 0, 1)


@pytest.mark.parametrize("replicas", [1, 2])
async def test_two_hundred_clients_get_exactly_what_the_budget_allows(store: str, replicas: int) -> None:
    cost, worst = Decimal("0.01"), Decimal("0.17")
    allowed = 120
    policy = rules(DAY.format(cost * (allowed - 1) + worst))
    desks = [Access(policy, store, clock=Clock()) for _ in range(replicas)]
    for desk in desks:
        await desk.open()
    came = await race(desks, 200, price(str(worst)), cost)
    spent, reserved, _ = await only(desks[0])
    for desk in desks:
        await desk.close()
    assert sum(isinstance(one, Lease) for one in came) == allowed
    assert {type(one) for one in came} == {Lease, BudgetExhausted}
    assert (spent, reserved) == (cost * allowed, 0)


async def test_what_a_dead_process_reserved_counts_as_spent_when_its_time_is_over(store: str) -> None:
    script = """
import asyncio, os, sys
sys.path[:0] = sys.argv[2:]
from access_stores import Clock, price, request, rules
from cheapfirst.access import Access
async def main():
    access = Access(rules('[[budgets]]\\ntenant = "acme"\\nper = "day"\\nlimit = 1\\n'), sys.argv[1], clock=Clock())
    await access.admit(request(), None, price("0.4"), 10, lasts=60)
    os._exit(9)
asyncio.run(main())
"""
    run = [sys.executable, "-c", script, store, *sys.path]
    ran = await asyncio.to_thread(subprocess.run, run, capture_output=True)
    assert ran.returncode == 9, ran.stderr
    clock = Clock()
    async with Access(rules(DAY.format(1)), store, clock=clock) as access:
        assert await only(access) == (0, Decimal("0.4"), Decimal("0.6"))
        clock.now += 600
        await access.admit(request(), None, price("0.1"), 10)
        assert await only(access) == (Decimal("0.4"), Decimal("0.1"), Decimal("0.5"))


async def test_every_budget_a_request_falls_under_is_reserved_or_none(store: str) -> None:
    text = (
        DAY.format(1)
        + '[[budgets]]\ntask = "*"\nper = "month"\nlimit = 0.5\n'
        + '[[budgets]]\nfeature = "inbox"\nper = "total"\nlimit = 9\n'
    )
    async with Access(rules(text), store, clock=Clock()) as access:
        await (await access.admit(request(), None, price("0.3"), 10)).settle(Decimal("0.3"))
        with pytest.raises(BudgetExhausted, match="task 'extract' may spend") as caught:
            await access.admit(request(), None, price("0.3"), 10)
        assert caught.value.resets is not None
        found = {f"{one.scope} {one.name}": (one.spent, one.reserved) for one in await access.balances()}
        whole = (Decimal("0.3"), Decimal(0))
        assert found == {"tenant acme": whole, "task extract": whole, "feature inbox": whole}


async def test_a_row_of_ones_own_goes_before_the_row_for_each(store: str) -> None:
    text = '[[budgets]]\ntenant = "*"\nper = "day"\nlimit = 0.1\n' + DAY.format(5)
    async with Access(rules(text), store, clock=Clock()) as access:
        assert (await access.admit(request(), None, price("2"), 1)).max_cost == 2
        for name in ("other", "odd\x00\ud800"):
            assert (await access.admit(request(tenant=name), None, price("0.1"), 1)).max_cost == Decimal("0.1")
            with pytest.raises(BudgetReserved):
                await access.admit(request(tenant=name), None, price("0.1"), 1)
        assert not access.needed(request(tenant=None), None)
        assert [one.name for one in await access.balances()] == ["odd??", "other", "acme"]


async def test_amounts_stay_exact_and_within_range_at_the_largest_budget(store: str) -> None:
    async with Access(rules(DAY.format(1_000_000)), store, clock=Clock()) as access:
        lease = await access.admit(request(), None, price("999999.999999999999"), 1)
        await lease.settle(Decimal("999999.999999999998"))
        assert await only(access) == (Decimal("999999.999999999998"), 0, Decimal("0.000000000002"))
        again = await access.admit(request(), None, price("1e9", "0.000000000002"), 1)
        assert again.max_cost == Decimal("0.000000000002")
        await again.settle(Decimal("1e30"))
        assert (await only(access))[2] == 0


async def test_a_store_that_is_away_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "access.db").write_text("this is no database, and long enough to be looked at as one" * 20)
    for where in (str(tmp_path / "access.db"), "postgresql://nobody:secret@127.0.0.1:1/none"):
        access = Access(rules(DAY.format(1)), where, clock=Clock())
        with pytest.raises(StoreUnavailable) as caught:
            await access.admit(request(), None, price("0.1"), 1)
        assert "secret" not in str(caught.value)
        with pytest.raises(StoreUnavailable):
            await access.any_keys()
        await access.close()


async def test_old_periods_are_forgotten_and_totals_never(store: str) -> None:
    clock = Clock()
    policy = rules(DAY.format(1) + '[[budgets]]\nfeature = "inbox"\nper = "total"\nlimit = 1\n')
    async with Access(policy, store, clock=clock) as access:
        await (await access.admit(request(), None, price("0.1"), 1)).settle(Decimal("0.1"))
    clock.now += 500 * 86400
    async with Access(policy, store, clock=clock) as access:
        await (await access.admit(request(), None, price("0.1"), 1)).settle(Decimal("0.1"))
        assert {one.per: one.spent for one in await access.balances()} == {
            "day": Decimal("0.1"),
            "total": Decimal("0.2"),
        }
    clock.now -= 500 * 86400
    async with Access(policy, store, clock=clock) as access:
        assert {one.per: one.spent for one in await access.balances()}["day"] == 0


async def test_a_server_that_comes_back_finds_what_ended_meanwhile_settled() -> None:
    store = await asyncio.to_thread(address, "postgres", Path())
    name = store.partition("?")[0].rpartition("/")[2]
    admin = await asyncpg.connect(store.replace(f"/{name}?", "/postgres?"))
    async with Access(rules(DAY.format(1)), store, clock=Clock()) as access:
        lease = await access.admit(request(), None, price("0.4"), 1)
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        settled = lease.settle(Decimal("0.1"))
        with pytest.raises(StoreUnavailable):
            await access.admit(request(), None, price("0.4"), 1)
        assert not settled.done()
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await settled
        assert await only(access) == (Decimal("0.1"), 0, Decimal("0.9"))
    await admin.close()
