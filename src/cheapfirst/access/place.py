"""Says where keys, budgets and rates are kept: an environment variable, else a file beside the ledger."""

from __future__ import annotations

import os
from pathlib import Path

from cheapfirst.ledger import locate

VARIABLE = "CHEAPFIRST_STORE"
NAME = "access.db"


def find(ledger: Path | None = None) -> str:
    """Return the store's address: CHEAPFIRST_STORE (a path or a postgresql:// URL), else access.db beside the ledger
    (absent: beside the one that `locate` finds). Nothing is made."""
    given = os.environ.get(VARIABLE)
    if given:
        return given if is_postgres(given) else str(Path(given).expanduser())
    return str((ledger or locate()).with_name(NAME))


def is_postgres(address: str) -> bool:
    """Whether the address is a PostgreSQL server's."""
    return address.startswith(("postgresql://", "postgres://"))


def shown(address: str) -> str:
    """The address for people, without the password that may stand in it."""
    if not is_postgres(address):
        return address
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"
