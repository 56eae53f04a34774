"""What is known of OpenRouter's providers: with which of them closing a stream does not stop its bill."""

from __future__ import annotations

BILL_ON = frozenset(
    {
        *("01ai", "ai21", "aionlabs", "alibaba", "alibabacloud", "amazonbedrock", "bedrock", "featherless", "google"),
        *("googleaistudio", "googlevertex", "groq", "huggingface", "inferencenet", "inflection", "kluster"),
        *("klusterai", "lambda", "minimax", "mistral", "modal", "nebius", "nebiusaistudio", "nebiustokenfactory"),
        *("perplexity", "replicate", "sambanova", "targon"),
    }
)
"""Providers that make a left answer to its end and bill all of it, by the letters and digits of their names. Source:
OpenRouter's documentation of stream cancellation, November 2026."""


def bills_on(provider: str) -> bool:
    """Whether the provider bills a stream whose reader has left to its end. Of an unknown one this is not assumed:
    closing never costs more than reading on."""
    return "".join(filter(str.isalnum, provider.partition("(")[0])).lower() in BILL_ON
