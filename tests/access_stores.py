"""What tests of keys, budgets and rates share: a policy, requests, a clock that stands still, an empty store."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import postgres_server
from cheapfirst import policy
from cheapfirst.access import Access, Price
from cheapfirst.messages import Request
from cheapfirst.policy import Policy

NOON = 1_795_435_200.0
"""2026-11-23, 12:00 UTC."""

KINDS = ("sqlite", "postgres")


class Clock:
    """A clock that goes only when told."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def address(kind: str, folder: Path) -> str:
    """The address of a new, empty store."""
    return str(folder / "access.db") if kind == "sqlite" else postgres_server.database()


def rules(text: str) -> Policy:
    return policy.loads(text, source="my.toml")


def request(number: int = 0, *, tenant: str | None = "acme", feature: str | None = "inbox") -> Request:
    return Request(id=f"req_{number}", task="extract", body={}, tenant=tenant, feature=feature)


def price(full: str, least: str | None = None) -> Price:
    return Price(Decimal(full), Decimal(least or full))


async def race(desks: list[Access], clients: int, worst: Price, cost: Decimal, *, wait: float = 30.0) -> list[object]:
    """Let that many clients ask at once, each on the next desk; each request takes a moment and costs `cost`."""

    async def client(number: int) -> object:
        desk = desks[number % len(desks)]
        try:
            lease = await desk.admit(request(number), None, worst, 10, wait=wait)
        except Exception as error:  # noqa: BLE001 - it is what the test looks at
            return error
        await asyncio.sleep(0.001 * (number % 7))
        await lease.settle(cost)
        return lease

    return list(await asyncio.gather(*(client(number) for number in range(clients))))
