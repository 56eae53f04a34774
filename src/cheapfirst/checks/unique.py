"""Notices repeated work: two identical tool calls, or two identical items of a list."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from cheapfirst.checks.context import Context
from cheapfirst.checks.paths import dotted, select
from cheapfirst.messages import Finding
from cheapfirst.policy.checks import Unique


def unique(value: Any, context: Context, options: Unique) -> Sequence[Finding]:
    """No two tool calls, or items of the list at `path`, are identical as JSON. Code: unique.duplicate."""
    del context
    found = []
    for path, node in select(value, options.path or ""):
        if not isinstance(node, list):
            continue
        first: dict[str, int] = {}
        for index, item in enumerate(node):
            content = json.dumps(item, sort_keys=True, default=repr)
            earlier = first.setdefault(content, index)
            if earlier != index:
                where = (*path, index)
                sentence = f"`{dotted(where)}` repeats `{dotted((*path, earlier))}`."
                found.append(Finding(check="unique", code="unique.duplicate", sentence=sentence, path=where))
    return found
