"""Every key in memory, looked at again every few seconds, so that knowing a caller costs microseconds."""

from __future__ import annotations

import asyncio
import time

from cheapfirst.access.keys import Key, digest
from cheapfirst.access.store import Store

FRESH = 2.0
"""Seconds: a key that is made or revoked is known to every gateway within this time."""


class Keyring:
    """The keys of a store. Belongs to one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys: dict[str, Key] = {}
        self._version = 0
        self._looked = float("-inf")  # monotonic seconds
        self._looking: asyncio.Task[None] | None = None

    async def find(self, secret: str) -> Key | None:
        """The key with this secret, revoked and expired ones too. Raises StoreUnavailable."""
        if time.monotonic() - self._looked > FRESH:
            await self.look()
        return self._keys.get(digest(secret))

    async def any(self) -> bool:
        """Whether a key was ever made, revoked and expired ones too. Raises StoreUnavailable."""
        if time.monotonic() - self._looked > FRESH:
            await self.look()
        return bool(self._keys)

    async def all(self) -> list[Key]:
        """Every key as the store has it now, oldest first. Raises StoreUnavailable."""
        await self._look()
        return list(self._keys.values())

    async def look(self) -> None:
        """Read what has changed; all who ask meanwhile share one look and how it ends. Raises StoreUnavailable."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look())
        await asyncio.shield(self._looking)

    async def _look(self) -> None:
        began = time.monotonic()
        version = await self._store.version()
        if version != self._version:
            self._keys = dict(await self._store.keys())
            self._version = version
        self._looked = began
