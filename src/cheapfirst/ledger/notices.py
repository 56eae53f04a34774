"""Says through `logging` what goes wrong with the ledger: each kind of trouble at most once a minute, no content."""

from __future__ import annotations

import time

PAUSE = 60.0  # seconds between two warnings of one kind


class Notices:
    """Warnings of the logger "cheapfirst.ledger"."""

    def __init__(self) -> None:
        import logging

        self._logger = logging.getLogger("cheapfirst.ledger")
        self._next: dict[str, float] = {}  # kind -> monotonic seconds before which it stays silent

    def warn(self, kind: str, sentence: str) -> None:
        """Log the sentence unless this kind was logged within the last minute. Never raises."""
        now = time.monotonic()
        if now < self._next.get(kind, 0.0):
            return
        self._next[kind] = now + PAUSE
        try:
            self._logger.warning("%s", sentence)
        except Exception:  # noqa: BLE001, S110 - a handler of the user's may raise; telling must not fail a request
            pass
