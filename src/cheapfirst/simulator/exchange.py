"""One request to one answer: choose the model, meet the faults, answer or replay, and open a line in the books."""

from __future__ import annotations

import hashlib
import random
import secrets
import string
import time
from collections import Counter
from decimal import Decimal

import msgspec
from msgspec import Struct, field

from cheapfirst.messages import Wire
from cheapfirst.simulator import billing, generation, replay, wire
from cheapfirst.simulator.answerer import Answerer
from cheapfirst.simulator.books import PICO, Books, Entry
from cheapfirst.simulator.cache import PromptCaches, Split
from cheapfirst.simulator.failures import Failure, failure, named, unknown_model
from cheapfirst.simulator.faults import FAULTS
from cheapfirst.simulator.form import asked_models
from cheapfirst.simulator.models import SimModel
from cheapfirst.simulator.options import Options
from cheapfirst.simulator.routing import Candidate, candidate
from cheapfirst.simulator.stream import Pace
from cheapfirst.simulator.switchboard import EVERY, Switchboard, asked_for, asked_of
from cheapfirst.simulator.wire import Served

_ALNUM = string.ascii_letters + string.digits
_NOT_THE_ANSWER = ("stream", "stream_options", "usage", "metadata", "user", "session_id", "trace", "model", "models")


class Ask(Struct, frozen=True, kw_only=True):
    """A request as it came in."""

    body: Wire
    header: str | None = None  # faults named by header
    session: str | None = None
    metadata: bool = False  # whether `openrouter_metadata` was asked for

    @property
    def stream(self) -> bool:
        """Whether the answer is streamed."""
        return self.body.get("stream") is True


class Turn(Struct, frozen=True, kw_only=True):
    """An answer ready to be sent, its line in the books, and its timing."""

    served: Served
    entry: Entry
    pace: Pace
    whole_seconds: float  # how long the answer takes when it is not streamed


class Refused(Struct, frozen=True, kw_only=True):
    """An error before the first token."""

    failure: Failure
    metadata: Wire | None = None


class Nothing(Struct, frozen=True):
    """No answer at all: hold the request until the client leaves, or hang up at once."""

    hang_up: bool = False


class World(Struct, kw_only=True):
    """Everything a running simulator remembers."""

    options: Options
    answerer: Answerer
    models: dict[str, SimModel]
    recordings: replay.Recordings | None
    books: Books
    switches: Switchboard
    caches: PromptCaches = field(default_factory=PromptCaches)
    repeats: Counter[bytes] = field(default_factory=Counter)


def begin(options: Options, answerer: Answerer) -> World:
    """A fresh world. Raises SimulatorError when the replay file cannot be read."""
    recordings = replay.read(options.replay) if options.replay else None
    models = {model.id: model for model in options.models}
    known = {name for model in options.models for name in (model.id, model.slug)}
    for name in recordings.models() if recordings else []:
        if name not in known:
            models[name] = SimModel(id=name, provider="Replay")
    rates = {model.id: dict(model.faults) for model in options.models if model.faults}
    if options.faults:
        rates[EVERY] = dict(options.faults)
    return World(
        options=options,
        answerer=answerer,
        models=models,
        recordings=recordings,
        books=Books(limit=options.entries),
        switches=Switchboard(rates=rates),
    )


def find(world: World, name: str) -> SimModel | None:
    """The model by id or dated slug; routing suffixes such as `:nitro` are left out. None: there is none."""
    found = world.models.get(name) or world.models.get(name.rpartition(":")[0])
    return found or next((model for model in world.models.values() if model.slug == name), None)


def balance(world: World) -> Decimal | None:
    """USD left on the account; None: unlimited."""
    limit = world.options.credits
    return None if limit is None else limit - Decimal(world.books.total.cost) / PICO


def answer(world: World, ask: Ask) -> Turn | Refused | Nothing:
    """Answer one request. Raises SimulatorError when it names an unknown fault."""
    world.books.requests += 1
    names = asked_models(ask.body)
    if isinstance(names, Failure):
        return _refused(world, names, str(names.status), None)
    digest = _digest(ask.body)
    world.repeats[digest] += 1
    attempts: list[Wire] = []
    last = failure(500, "no model was tried", "server")
    last_name = "500"
    for index, name in enumerate(names):
        tried = _try(world, ask, name, digest, first=index == 0)
        if isinstance(tried, Nothing):
            world.books.refuse("no_response" if tried.hang_up else "silent")
            return tried
        if isinstance(tried, tuple):
            last_name, last = tried
            model = find(world, name)
            attempts.append({"provider": model.provider_name if model else None, "model": name, "status": last.status})
            if not last.next_model:
                break
            continue
        attempts.append({"provider": tried.served.model.provider_name, "model": name, "status": 200})
        if not ask.metadata:
            return tried
        told = wire.router_metadata(names[0], attempts, tried.served.model, byok=world.options.byok)
        return msgspec.structs.replace(tried, served=msgspec.structs.replace(tried.served, metadata=told))
    told_all = wire.router_metadata(names[0], attempts, None, byok=world.options.byok)
    return _refused(world, last, last_name, told_all if ask.metadata and last.status != 500 else None)


def _refused(world: World, made: Failure, name: str, metadata: Wire | None) -> Refused:
    world.books.refuse(name)
    return Refused(failure=made, metadata=metadata)


def _try(world: World, ask: Ask, name: str, digest: bytes, *, first: bool) -> Turn | Nothing | tuple[str, Failure]:
    model = find(world, name)
    if model is None:
        return "400", unknown_model(name)
    repeat = world.repeats[digest] - 1
    seed = b"%d|%s|%s|%d" % (world.options.seed, model.id.encode(), digest, repeat)
    asked = asked_of(asked_for(ask.body, ask.header), model, first=first, stream=ask.stream)
    faults = world.switches.choose(model, asked, random.Random(seed + b"|faults"), stream=ask.stream)
    fit = candidate(model, ask.body, balance(world))
    if isinstance(fit, Failure):
        return str(fit.status), fit
    for fault in faults:
        if FAULTS[fault].stage == "refuse":
            wait = world.options.retry_after
            return fault, named(fault, model, prompt=fit.prompt, room=fit.room, retry_after=wait)
    if "silent" in faults or "no_response" in faults:
        return Nothing(hang_up="no_response" in faults)
    return _generate(world, ask, fit, frozenset(faults), random.Random(seed + b"|answer"))


def _generate(
    world: World, ask: Ask, fit: Candidate, faults: frozenset[str], rng: random.Random
) -> Turn | tuple[str, Failure]:
    model, options = fit.model, world.options
    recording = None
    if world.recordings is not None:
        key = replay.key_of(ask.body)
        turn = f"{model.id}|{key}".encode()
        recording = world.recordings.look_up(model, key, world.repeats[turn])
        world.repeats[turn] += 1
        if recording is None:
            message = (
                f"No recorded answer for model {model.id} and key {key} in {world.recordings.source}. "
                "Set metadata.replay to a recorded key, or record these messages."
            )
            return "404_replay", failure(404, message, "not_found")
        # What was recorded is served as recorded; only its way to the client can be spoiled.
        faults = frozenset(name for name in faults if FAULTS[name].stage != "alter")
    session = ask.body.get("session_id") or ask.session
    now = time.monotonic()
    host = world.caches.host(model, ask.body, session, rng, now) if options.sticky else rng.randrange(model.hosts)
    if recording is None:
        made = generation.make(model, fit.body, world.answerer, rng, faults)
        split = world.caches.split(model, ask.body, host, now) if options.caching else Split()
        bill = billing.of_answer(model, fit.prompt, made, split, faults, options)
    else:
        made = generation.recorded(model, recording)
        bill = billing.of_recording(model, fit.prompt, made, recording, faults, options)
    created = int(time.time())
    served = Served(
        id=_generation_id(created),
        created=created,
        model=model,
        generation=made,
        bill=bill,
        faults=faults,
        usage=recording.usage if recording else None,
    )
    pace, whole = _timing(model, made, recording, options, slow="slow" in faults)
    entry = Entry(
        id=served.id,
        created=created,
        model=model.id,
        canonical=model.slug,
        provider=model.provider_name,
        streamed=ask.stream,
        bill=bill,
        faults=tuple(sorted(faults)),
        finish=served.finish,
        native_finish=made.native_finish,
        session=str(session) if session else None,
        latency=pace.first_token,
        host=host,
    )
    world.books.open(entry)
    return Turn(served=served, entry=entry, pace=pace, whole_seconds=whole)


def _generation_id(created: int) -> str:
    number = secrets.randbits(128)
    letters: list[str] = []
    for _ in range(20):
        number, at = divmod(number, len(_ALNUM))
        letters.append(_ALNUM[at])
    return f"gen-{created}-{''.join(letters)}"


def _timing(
    model: SimModel,
    made: generation.Generation,
    recording: replay.Recording | None,
    options: Options,
    *,
    slow: bool,
) -> tuple[Pace, float]:
    """The pace of a stream, and the seconds that the same answer takes whole."""
    more = options.slow if slow else 0.0
    first, each = model.latency.first_token, model.latency.per_token
    if recording is not None:
        scale = 0.0 if options.speed is None else 1.0 / options.speed
        start = recording.latency_s / 10 if recording.first_token_s is None else recording.first_token_s
        first = start * scale
        each = max(0.0, recording.latency_s - start) * scale / max(1, made.completion)
    pace = Pace(
        first_token=first + more,
        per_token=each,
        tokens_per_chunk=options.tokens_per_chunk,
        comments=options.comments,
    )
    return pace, first + more + each * made.completion


def _digest(body: Wire) -> bytes:
    told = {name: value for name, value in body.items() if name not in _NOT_THE_ANSWER}
    return hashlib.sha256(msgspec.json.encode(told, order="sorted")).digest()
