"""The gateway's plain pages: the models it knows, what it counted, and whether it is well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote

import msgspec
from msgspec import Struct

from cheapfirst.gateway import metrics, together
from cheapfirst.gateway.asgi import JSON, Headers
from cheapfirst.gateway.asked import AUTO
from cheapfirst.gateway.faces.face import FACES
from cheapfirst.gateway.problem import Problem, Refused
from cheapfirst.gateway.together import Snapshot
from cheapfirst.messages import Wire

if TYPE_CHECKING:
    from cheapfirst.gateway.app import Gateway

_ENCODER = msgspec.json.Encoder(decimal_format="number")


class Answered(Struct, frozen=True):
    """A page's answer."""

    status: int
    content: bytes
    headers: Headers


Page: TypeAlias = "Callable[[Gateway, str, Mapping[bytes, bytes]], Awaitable[Answered]]"


def find(path: str, method: str, *, posted: bool) -> Page:
    """Return the page at a path. Raises Refused (404, 405). `posted`: the path exists, for POST."""
    page = PAGES.get(path)
    if page is None and path.startswith("/v1/models/"):
        page = model
    if page is not None and method in ("GET", "HEAD"):
        return page
    if page is not None or posted:
        raise Refused(
            Problem(
                status=405,
                code="method_not_allowed",
                allow="GET, HEAD" if page is not None else "POST",
                message=f"{path[:200]} takes {'GET' if page is not None else 'POST'}, not {method[:20]}.",
            )
        )
    raise Refused(
        Problem(
            status=404,
            code="path_not_found",
            message=f"There is nothing at {path[:200]!r}; GET /openapi.json lists the paths. "
            "Clients of the OpenAI protocol need a base URL that ends in /v1.",
        )
    )


async def models(gateway: Gateway, path: str, headers: Mapping[bytes, bytes]) -> Answered:
    """Everything that `model` may name: the policy's tasks, auto, and the catalog's models."""
    return _json({"object": "list", "data": list(_listed(gateway).values())})


async def model(gateway: Gateway, path: str, headers: Mapping[bytes, bytes]) -> Answered:
    """One of them. Raises Refused (404)."""
    name = unquote(path.removeprefix("/v1/models/"))
    found = _listed(gateway).get(name)
    if found is None:
        raise Refused(
            Problem(
                status=404,
                code="model_not_found",
                param="model",
                message=f"There is no model {name[:100]!r}; GET /v1/models lists what there is.",
            )
        )
    return _json(found)


async def document(gateway: Gateway, path: str, headers: Mapping[bytes, bytes]) -> Answered:
    """The gateway's OpenAPI document."""
    from cheapfirst import __version__
    from cheapfirst.gateway import openapi

    return _json(openapi.document(__version__, [*FACES, *PAGES], [tier.name for tier in gateway.router.policy.tiers]))


async def live(gateway: Gateway, path: str, headers: Mapping[bytes, bytes]) -> Answered:
    """200 as long as the process answers at all."""
    return _json({"status": "ok"})


async def ready(gateway: Gateway, path: str, headers: Mapping[bytes, bytes]) -> Answered:
    """200 when requests are welcome; 503 while the gateway stops."""
    gate, policy = gateway.gate, gateway.router.policy
    told = {
        "status": "draining" if gate.closing else "ok",
        "policy": {"source": policy.source, "hash": policy.hash},
        "requests": {"running": gate.running, "waiting": gate.waiting, "shed": gate.shed},
        "ledger": {"lost": gateway.router.ledger.losses().count},
    }
    if gateway.siblings is not None:
        told |= _of_all(await gateway.siblings.all(), gateway.siblings.many)
    return _json(told, status=503 if gate.closing else 200)


async def counted(gateway: Gateway, path: str, headers: Mapping[bytes, bytes]) -> Answered:
    """Counted numbers, as Prometheus reads them."""
    if gateway.siblings is None:
        families = gateway.telemetry.metrics.families(gateway)
    else:
        families = together.add(await gateway.siblings.all(), metrics.FAMILIES)
    kind, content = metrics.page(headers.get(b"accept", b"").decode("latin-1"), families)
    return Answered(200, content, [(b"content-type", kind.encode())])


PAGES: dict[str, Page] = {
    "/v1/models": models,
    "/openapi.json": document,
    "/metrics": counted,
    "/health": ready,
    "/health/live": live,
    "/health/ready": ready,
}


def _listed(gateway: Gateway) -> dict[str, Wire]:
    policy, catalog = gateway.router.policy, gateway.router.catalog
    own = [AUTO, *sorted(policy.routes)]
    listed: dict[str, Wire] = {
        name: {"id": name, "object": "model", "created": 0, "owned_by": "cheapfirst"} for name in own
    }
    for id in sorted({*catalog.ids(), *(name for tier in policy.tiers for name in tier.models)}):
        listed.setdefault(id, {"id": id, "object": "model", "created": 0, "owned_by": id.partition("/")[0]})
    return listed


def _of_all(snapshots: list[Snapshot], many: int) -> Wire:
    """What `ready` says when several processes serve: sums, and each that answers by itself."""

    def requests(*held: Snapshot) -> dict[str, int]:
        named = {"running": metrics.RUNNING, "waiting": metrics.WAITING, "shed": metrics.SHED}
        return {name: sum(one.total(family) for one in held) for name, family in named.items()}

    answering = [one for one in snapshots if one.pid]
    return {
        "requests": requests(*snapshots),
        "ledger": {"lost": sum(one.total(metrics.LOST) for one in snapshots)},
        "workers": {
            "all": many,
            "answering": [
                {
                    "number": one.number,
                    "pid": one.pid,
                    "requests": {**requests(one), "ended": one.total(metrics.REQUESTS)},
                }
                for one in answering
            ],
        },
    }


def _json(value: Wire, *, status: int = 200) -> Answered:
    return Answered(status, _ENCODER.encode(value), [JSON])
