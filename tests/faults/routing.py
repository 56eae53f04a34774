"""A program that routes requests and says each one's id once its answer is in hand. Run by test_books_reconcile.

python routing.py POLICY BASE_URL LEDGER LIFE ORDERLY NUMBER...    (ORDERLY: whether SIGTERM is handled, yes or no)
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cheapfirst import AsyncRouter, RequestFailed

CONCURRENCY = 32
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "kind": {"enum": ["a", "b"]}},
    "required": ["name", "kind"],
    "additionalProperties": False,
}
TASKS = ("extract", "draft", "chat", "write")


async def one(router: AsyncRouter, life: str, number: int) -> tuple[str, str]:
    """Route one request; return its id and how it ended."""
    text = f"Order {number}: my name is Ada Lovelace of desk {number % 97}, and the kind is b."
    session = f"{life}-{number}"
    task = TASKS[number % len(TASKS)]
    try:
        if task == "extract":
            return (await router.run(task, text, schema=SCHEMA, session=session)).request_id, "answered"
        if task == "draft":
            return (await router.run(task, text, session=session)).request_id, "answered"
        stream = router.stream(task, text, session=session)
        shown = "".join([piece async for piece in stream])
        assert stream.answer is not None
        assert stream.answer.text == shown
        return stream.answer.request_id, "answered"
    except RequestFailed as error:
        return error.request_id, "failed"


async def work(router: AsyncRouter, life: str, numbers: Iterator[int]) -> None:
    for number in numbers:
        id, end = await one(router, life, number)
        os.write(1, f"{life} {number} {id} {end}\n".encode())  # one write, as a server answers its caller


async def main(policy: str, base_url: str, ledger: str, life: str, orderly: bool, numbers: Iterator[int]) -> None:
    """Work through the numbers, 32 at a time. An orderly program leaves what it was doing when SIGTERM comes."""
    if orderly:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with (
        AsyncRouter(Path(policy), base_url=base_url, ledger=Path(ledger)) as router,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(CONCURRENCY):
            group.create_task(work(router, life, numbers))


if __name__ == "__main__":
    given = sys.argv[1:]
    try:
        asyncio.run(main(given[0], given[1], given[2], given[3], given[4] == "yes", map(int, given[5].split(","))))
    except asyncio.CancelledError:
        sys.exit(3)
