"""Whatever bytes the upstream sends: every client gets an ending that nobody can mistake, and the gateway lives."""

from __future__ import annotations

import json
import random
from pathlib import Path

from scripted import Exchange, delta, usage_chunk
from talking import Said, asking, world

EXAMPLES = 250
SETTINGS = "\n[limits.timeouts]\nfirst_token = 0.15\nsilence = 0.15\ntotal = 0.4\n[upstream.breaker]\nenabled = false\n"


def stream() -> bytes:
    """A good stream, as HTTP carries it."""
    chunks = [delta("Grüße "), delta("aus "), delta("Köln 🍏"), delta(finish="stop"), usage_chunk()]
    lines = [f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode() for chunk in chunks]
    return b": hello\n\n" + b"".join(lines) + b"data: [DONE]\n\n"


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The same with some bytes changed, left out, doubled or added."""
    made = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        at = rng.randrange(len(made))
        length = rng.choice([1, 1, 1, 4, 40])
        match rng.randrange(5):
            case 0:
                made[at] = rng.randrange(256)
            case 1:
                del made[at : at + length]
            case 2:
                made[at:at] = made[at : at + length]
            case 3:
                made[at:at] = rng.randbytes(length)
            case _:
                other = rng.randrange(len(made))
                made[at : at + length] = made[other : other + length]
        if not made:
            return b"\n"
    return bytes(made)


def ends_well(said: Said) -> bool:
    """A stream ends with [DONE] and a finish reason, or with an error and no [DONE]; anything else is a JSON error."""
    if said.status != 200:
        return said.status != 500 and bool(said.json["error"]["message"])
    if not said.whole or not said.chunks:
        return False
    errors = [chunk for chunk in said.chunks if "error" in chunk]
    if errors:
        return not said.done and errors == said.chunks[-1:]
    finishes = [choice.get("finish_reason") for chunk in said.chunks for choice in chunk.get("choices") or []]
    return said.done and any(finishes)


async def test_no_bytes_of_an_upstreams_stream_leave_a_client_without_an_ending(tmp_path: Path) -> None:
    rng = random.Random(11)
    good = stream()

    async def reply(exchange: Exchange) -> None:
        data = mutated(good, rng)
        await exchange.begin()
        while data:
            size = rng.choice([1, 7, 50, 1000])
            await exchange.piece(data[:size])
            data = data[size:]
        if rng.random() < 0.8:
            await exchange.end()
        else:
            await exchange.cut()

    async with world(reply, tmp_path, settings=SETTINGS) as made:
        for number in range(EXAMPLES):
            said = await made.ask(asking("chat" if number % 3 else "write", stream=True))
            assert ends_well(said), said.data
        await made.quiet()
        assert len(made.rows()) == EXAMPLES


async def test_no_bytes_at_all_from_an_upstream_leave_a_client_without_an_answer(tmp_path: Path) -> None:
    rng = random.Random(12)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    good = head + b"".join(b"%x\r\n%b\r\n" % (len(line) + 2, line + b"\n\n") for line in stream().split(b"\n\n")[:-1])

    async def reply(exchange: Exchange) -> None:
        await exchange.raw(mutated(good + b"0\r\n\r\n", rng))
        await exchange.cut()

    async with world(reply, tmp_path, settings=SETTINGS) as made:
        for number in range(EXAMPLES):
            streamed = number % 4 != 0
            said = await made.ask(asking("chat", stream=streamed))
            if streamed:
                assert ends_well(said), said.data
            else:
                assert said.whole
                assert said.status != 500
                assert said.json.get("choices") or said.json["error"]["message"]
