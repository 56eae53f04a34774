"""Reads `[[budgets]]` and `[[rates]]`: who may spend how much, and who may ask how often."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from cheapfirst.policy import fields
from cheapfirst.policy.lines import Key
from cheapfirst.policy.problems import Problems
from cheapfirst.policy.table import SCOPES, Budget, Rate, scope_of

Row = TypeVar("Row", Budget, Rate)

EACH = "*"
"""Instead of a name: each key, tenant, feature or task separately."""


def budgets(table: object, tasks: Collection[str], problems: Problems) -> tuple[Budget, ...]:
    """The budgets of the table; two may not limit the same spend in the same period."""
    return _rows(Budget, table, "budgets", tasks, problems, lambda row: (*scope_of(row), row.per))


def rates(table: object, tasks: Collection[str], problems: Problems) -> tuple[Rate, ...]:
    """The rate limits of the table; two may not be about the same one."""
    found = _rows(Rate, table, "rates", tasks, problems, scope_of)
    for number, row in enumerate(found):
        if row.requests is None and row.tokens is None and row.concurrent is None:
            problems.add(("rates", f"[{number}]"), "limits nothing; give requests, tokens or concurrent")
    return found


def _rows(
    kind: type[Row],
    table: object,
    section: str,
    tasks: Collection[str],
    problems: Problems,
    same: Callable[[Row], Any],
) -> tuple[Row, ...]:
    if not isinstance(table, list):
        problems.add((section,), f"must be a list of tables begun with [[{section}]], not {fields.kind_of(table)}")
        return ()
    found: list[Row] = []
    seen: dict[Any, int] = {}
    for number, row in enumerate(table):
        path = (section, f"[{number}]")
        before = len(problems)
        made = fields.make(kind, row, path, problems)
        if len(problems) > before or not _scoped(made, path, tasks, problems):
            continue
        if (first := seen.setdefault(same(made), number)) != number:
            problems.add(path, f"is about the same as {section}[{first}]; keep one of them")
        found.append(made)
    return tuple(found)


def _scoped(row: Budget | Rate, path: Key, tasks: Collection[str], problems: Problems) -> bool:
    """Whether the row names exactly one scope, and a task that exists if it is one."""
    given = [scope for scope in SCOPES if getattr(row, scope) is not None]
    if len(given) != 1:
        found = f"has {' and '.join(given)}" if given else "has none of them"
        problems.add(path, f'needs exactly one of {", ".join(SCOPES)} = "name" or "{EACH}"; it {found}')
        return False
    scope, name = scope_of(row)
    if not name or len(name) > 256:
        problems.add((*path, scope), f'must be a name of 1 to 256 characters, or "{EACH}"')
        return False
    if scope == "task" and name != EACH and name not in tasks:
        problems.unknown((*path, scope), "task", name, (*sorted(tasks), EACH))
        return False
    return True
