"""Recorded answers, served again: a JSONL file looked up by model and key."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import msgspec
from msgspec import Struct

from cheapfirst.errors import SimulatorError
from cheapfirst.messages import Wire
from cheapfirst.simulator.models import SimModel


class Recording(Struct, frozen=True, kw_only=True):
    """One line of the file. Fields it does not know are ignored."""

    model: str
    key: str | None = None  # what `metadata.replay` of a request says
    id: str | None = None  # another spelling of `key`
    digest: str | None = None  # `digest(messages)`; for requests that name no key
    message: Wire | None = None  # the whole assistant message; else text and tool_calls
    text: str | None = None
    tool_calls: list[Wire] | None = None
    finish_reason: str | None = None  # absent: tool_calls or stop
    usage: Wire | None = None  # as on the wire; absent: counted by the simulator
    cost: Decimal | None = None  # USD; absent: `usage.cost`, else computed from the model's prices
    latency_s: float = 0.0  # seconds for the whole answer
    first_token_s: float | None = None  # seconds; absent: a tenth of latency_s

    @property
    def names(self) -> tuple[str, ...]:
        """Every key it can be found by."""
        return tuple(name for name in (self.key, self.id, self.digest) if name is not None)

    def whole_message(self) -> Wire:
        """The assistant message."""
        if self.message is not None:
            return {"role": "assistant", **self.message}
        made: Wire = {"role": "assistant", "content": self.text}
        return {**made, "tool_calls": self.tool_calls} if self.tool_calls else made

    def reported_cost(self) -> Decimal | None:
        """USD as recorded; None when it was not."""
        if self.cost is not None:
            return self.cost
        recorded = (self.usage or {}).get("cost")
        return None if recorded is None else Decimal(repr(recorded) if isinstance(recorded, float) else str(recorded))


class Recordings(Struct, kw_only=True):
    """All recordings, by model and key; several under one key are served in turn, the last one from then on."""

    found: dict[tuple[str, str], list[Recording]]
    source: str

    def models(self) -> list[str]:
        """The models that were recorded, in the file's order."""
        return list(dict.fromkeys(model for model, _ in self.found))

    def look_up(self, model: SimModel, key: str, turn: int) -> Recording | None:
        """The recording for a key under the model's id or dated slug; `turn` counts from 0."""
        lines = self.found.get((model.id, key)) or self.found.get((model.slug, key))
        return lines[min(turn, len(lines) - 1)] if lines else None


def digest(messages: Sequence[Wire]) -> str:
    """The key of a request that names none: SHA-256 (hex) of its messages as compact JSON with sorted keys."""
    return hashlib.sha256(msgspec.json.encode(list(messages), order="sorted")).hexdigest()


def key_of(body: Wire) -> str:
    """The key a request is looked up by: `metadata.replay`, else the digest of its messages."""
    named = (body.get("metadata") or {}).get("replay")
    return digest(body["messages"]) if named is None else str(named)


def read(path: str | Path) -> Recordings:
    """Read a JSONL file of recordings. Raises SimulatorError with the line of what is wrong."""
    decoder = msgspec.json.Decoder(Recording)
    found: dict[tuple[str, str], list[Recording]] = {}
    try:
        lines = Path(path).read_bytes().splitlines()
    except OSError as error:
        raise SimulatorError(f"replay file {path}: {error.strerror or error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            recording = decoder.decode(line)
        except msgspec.DecodeError as error:
            raise SimulatorError(f"replay file {path}, line {number}: {error}") from error
        if not recording.names:
            raise SimulatorError(f"replay file {path}, line {number}: it needs one of key, id, digest")
        if recording.message is None and recording.text is None and recording.tool_calls is None:
            raise SimulatorError(f"replay file {path}, line {number}: it needs one of message, text, tool_calls")
        for name in recording.names:
            found.setdefault((recording.model, name), []).append(recording)
    return Recordings(found=found, source=str(path))
