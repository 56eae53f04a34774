"""Says where the ledger is: an environment variable, the policy, else the user's data directory."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "CHEAPFIRST_LEDGER"


def locate(policy_path: str | None = None) -> Path:
    """Return the ledger's file: CHEAPFIRST_LEDGER, else `policy_path` (the policy's ledger.path), else
    $XDG_DATA_HOME/cheapfirst/ledger.db (XDG_DATA_HOME absent: ~/.local/share). `~` is expanded; nothing is made."""
    if given := os.environ.get(VARIABLE):
        return Path(given).expanduser()
    if policy_path:
        return Path(policy_path).expanduser()
    base = os.environ.get("XDG_DATA_HOME")
    folder = Path(base) if base and Path(base).is_absolute() else Path("~/.local/share").expanduser()
    return folder / "cheapfirst" / "ledger.db"
