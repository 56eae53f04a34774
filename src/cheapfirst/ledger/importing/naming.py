"""Finds the catalog's spelling of a model that another tool's log names in its provider's own way."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cheapfirst.catalog import Catalog

AUTHORS = {
    "anthropic": "anthropic",
    "azure": "openai",
    "azure_ai": "openai",
    "cohere": "cohere",
    "cohere_chat": "cohere",
    "deepseek": "deepseek",
    "gemini": "google",
    "google": "google",
    "mistral": "mistralai",
    "moonshot": "moonshotai",
    "openai": "openai",
    "perplexity": "perplexity",
    "vertex_ai": "google",
    "xai": "x-ai",
    "zai": "z-ai",
}
"""A provider as tools name it -> the author of the models it serves."""

FAMILIES = (
    ("gpt-", "openai"),
    ("chatgpt-", "openai"),
    ("o1", "openai"),
    ("o3", "openai"),
    ("o4", "openai"),
    ("claude-", "anthropic"),
    ("gemini-", "google"),
    ("deepseek-", "deepseek"),
    ("mistral-", "mistralai"),
    ("grok-", "x-ai"),
)
"""How the names of an author's models begin."""

_POINT = re.compile(r"-(\d{1,2})-(\d{1,2})(?=-\d{8}$|-latest$|$)")
_DATE = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2})$")
_VERSION = re.compile(r"-v\d+(:\d+)?$")


def spelled(catalog: Catalog, name: str, provider: str | None = None, *, batch: bool = False) -> str:
    """The catalog's id of the model; the name as it is where the catalog knows none.

    `batch`: of the model at the prices of batches, which is one of its own.
    """
    known = name
    for candidate in _candidates(name, provider):
        found = catalog.normalise(candidate)
        model = catalog.model(found)
        if model.prices:
            known = found
            break
        if model.known and known == name:
            known = found  # without a price: another spelling may have one
    return f"{known}:batch" if batch else known


def _candidates(name: str, provider: str | None) -> Iterator[str]:
    """Spellings to try, the most exact first: with the author, as the policy writes it, before the bare name."""
    bare = name.rpartition("/")[2]
    parts = bare.split(".")
    while len(parts) > 1 and parts[0].isalpha():  # Bedrock: us.anthropic.claude-...-v1:0
        parts = parts[1:]
    slug = _VERSION.sub("", ".".join(parts)) if len(parts) < len(bare.split(".")) else bare
    authors = [AUTHORS.get((provider or "").lower()), next((to for of, to in FAMILIES if slug.startswith(of)), None)]
    if name.count("/") > 1:
        yield name.partition("/")[2]  # openrouter/deepseek/...
    elif "/" in name and provider != name.partition("/")[0]:
        yield name
    for author in dict.fromkeys(author for author in authors if author):
        for spelling in dict.fromkeys((slug, _DATE.sub("", slug), _POINT.sub(r"-\1.\2", slug))):
            yield f"{author}/{spelling}"
    yield from (name, slug, bare)
