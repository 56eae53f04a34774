"""Keeps what the upstream said of answers, so that a comparison that was interrupted does not ask again."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import msgspec

from cheapfirst.errors import LedgerError
from cheapfirst.reconcile.differences import Said

_DECODER = msgspec.json.Decoder(Said)


def beside(ledger: Path) -> Path:
    """Where the answers about a ledger's calls are kept."""
    return ledger.with_name(ledger.name + ".reconciled")


class Kept:
    """Answers by upstream and id, in a file. What the upstream does not have is not kept: it may come later."""

    def __init__(self, path: Path, base_url: str) -> None:
        self._base_url = base_url
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA synchronous = OFF")  # what a power cut takes is asked again
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS said "
                "(base_url TEXT NOT NULL, id TEXT NOT NULL, said TEXT NOT NULL, PRIMARY KEY (base_url, id)) STRICT"
            )
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(
                f"what the upstream says cannot be kept in {path}: {error}. Remove the file, or give --again, which "
                "begins a new one."
            ) from error

    def get(self, id: str) -> Said | None:
        """What was said of that answer; None: nothing is kept."""
        row = self._db.execute("SELECT said FROM said WHERE base_url = ? AND id = ?", (self._base_url, id)).fetchone()
        return None if row is None else _DECODER.decode(row[0])

    def put(self, said: Said) -> None:
        """Keep it."""
        text = msgspec.json.encode(said).decode()
        self._db.execute("INSERT OR REPLACE INTO said VALUES (?, ?, ?)", (self._base_url, said.id, text))

    def close(self) -> None:
        self._db.close()
