"""Rates on real stores: requests and tokens of any 60 seconds, requests at once, and how long to wait."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from access_stores import KINDS, Clock, address, request, rules
from cheapfirst.access import Access, Lease
from cheapfirst.errors import RateLimited

RATE = '[[rates]]\ntenant = "acme"\n'


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return address(request.param, tmp_path)


async def test_no_sixty_seconds_see_more_requests_than_allowed(store: str) -> None:
    clock = Clock()
    async with Access(rules(RATE + "requests = 3\n"), store, clock=clock) as access:
        for _ in range(3):
            lease = await access.admit(request(), None, None, 1)
            assert lease.max_cost is None
            clock.now += 10
        with pytest.raises(RateLimited, match="3 requests a minute") as caught:
            await access.admit(request(), None, None, 1)
        assert caught.value.retry_after == 31
        clock.now += caught.value.retry_after - 0.01
        with pytest.raises(RateLimited):
            await access.admit(request(), None, None, 1)
        clock.now += 0.01
        await access.admit(request(), None, None, 1)
        with pytest.raises(RateLimited):
            await access.admit(request(), None, None, 1)


async def test_tokens_count_as_estimated_until_they_are_known(store: str) -> None:
    async with Access(rules(RATE + "tokens = 1000\n"), store, clock=Clock()) as access:
        lease = await access.admit(request(), None, None, 900)
        with pytest.raises(RateLimited, match="1,000 tokens a minute"):
            await access.admit(request(), None, None, 900)
        await lease.settle(None, 100)
        await access.admit(request(), None, None, 900)


async def test_a_request_larger_than_the_rate_is_let_in_alone(store: str) -> None:
    clock = Clock()
    async with Access(rules(RATE + "tokens = 1000\n"), store, clock=clock) as access:
        await access.admit(request(), None, None, 5000)
        with pytest.raises(RateLimited) as caught:
            await access.admit(request(), None, None, 5000)
        clock.now += caught.value.retry_after or 0
        await access.admit(request(), None, None, 5000)


async def test_requests_at_once_are_counted_over_all_gateways(store: str) -> None:
    policy = rules(RATE + "concurrent = 5\n")
    async with Access(policy, store, clock=Clock()) as here, Access(policy, store, clock=Clock()) as there:
        came = await asyncio.gather(
            *((here, there)[n % 2].admit(request(n), None, None, 1) for n in range(20)), return_exceptions=True
        )
        leases = [one for one in came if isinstance(one, Lease)]
        assert len(leases) == 5
        assert {type(one) for one in came} == {Lease, RateLimited}
        await leases[0].settle(Decimal(0))
        await here.admit(request(), None, None, 1)
        with pytest.raises(RateLimited):
            await there.admit(request(), None, None, 1)


async def test_others_are_not_held_to_anothers_rate(store: str) -> None:
    async with Access(rules(RATE + "requests = 1\n"), store, clock=Clock()) as access:
        assert access.needed(request(), None)
        assert not access.needed(request(tenant="other"), None)
        await access.admit(request(), None, None, 1)
        await access.admit(request(tenant="other"), None, None, 1)


async def test_what_a_budget_refuses_counts_in_no_rate(store: str) -> None:
    from access_stores import price

    text = RATE + 'requests = 1\n[[budgets]]\ntenant = "acme"\nper = "total"\nlimit = 1\n'
    async with Access(rules(text), store, clock=Clock()) as access:
        with pytest.raises(Exception, match="may spend"):
            await access.admit(request(), None, price("2"), 1)
        await access.admit(request(), None, price("1"), 1)
