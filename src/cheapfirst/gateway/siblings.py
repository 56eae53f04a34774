"""Asks the other processes of one gateway what they counted, so that whichever is asked can answer for all.

Each listens on a socket in a folder that only this user may enter. Beside it lies what each was last seen to have
counted, so that no counter falls when its process dies or is slow.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import structs

from cheapfirst.gateway import metrics, together
from cheapfirst.gateway.exposition import Family, Values
from cheapfirst.gateway.together import Snapshot

PATIENCE = 0.5
"""Seconds that a sibling may take to answer."""


class Siblings:
    """One process's way to the others, and theirs to it. `count` gives what this one counted itself."""

    def __init__(
        self, folder: Path, number: int, many: int, count: Callable[[], Iterable[tuple[Family, Values]]]
    ) -> None:
        self.number = number
        self.many = many
        self._folder = folder
        self._count = count
        self._before = self._last(number)  # of the processes that had this number before
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Answer the others from now on."""
        path = self._socket(self.number)
        path.unlink(missing_ok=True)  # of the one that died
        self._server = await asyncio.start_unix_server(self._answer, path=path)

    def close(self) -> None:
        """Answer nobody any more, and leave what was counted to whoever takes the number next."""
        if self._server is not None:
            self._server.close()
        self._keep(self._own())
        self._socket(self.number).unlink(missing_ok=True)

    async def all(self) -> list[Snapshot]:
        """What every process counted, in the order of their numbers. Of those that do not answer in time what they had
        counted when they last did, if they ever did."""
        numbers = range(1, self.many + 1)
        found = await asyncio.gather(*(self._ask(number) for number in numbers))
        told = []
        for number, one in zip(numbers, found, strict=True):
            if one is None:
                one = self._last(number)
            else:
                self._keep(one)
            if one is not None:
                told.append(one)
        return told

    def _own(self) -> Snapshot:
        own = together.snapshot(self.number, os.getpid(), self._count())
        if self._before is None:
            return own
        counted = [family for family in metrics.FAMILIES if family.kind in together.KEPT]
        both = together.snapshot(self.number, own.pid, together.add([self._before, own], counted))
        return structs.replace(own, samples={**own.samples, **both.samples})

    async def _ask(self, number: int) -> Snapshot | None:
        if number == self.number:
            return self._own()
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_unix_connection(self._socket(number))
                try:
                    return together.unpacked(await reader.read())
                finally:
                    writer.close()
        except OSError:  # and TimeoutError
            return None

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(together.packed(self._own()))
        writer.close()

    def _keep(self, one: Snapshot) -> None:
        """Remember what a process had counted, where there is still room and a folder."""
        new = self._folder / f"{one.number}.seen-by-{self.number}"
        with contextlib.suppress(OSError):
            new.write_bytes(together.packed(one))
            new.replace(self._folder / f"{one.number}.seen")

    def _last(self, number: int) -> Snapshot | None:
        try:
            found = together.unpacked((self._folder / f"{number}.seen").read_bytes())
        except OSError:
            return None
        return together.kept(found, metrics.FAMILIES) if found is not None else None

    def _socket(self, number: int) -> Path:
        return self._folder / f"{number}.socket"
