"""Collects what is wrong with a policy table, each problem with its line, its key and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cheapfirst.errors import nearest
from cheapfirst.policy import lines

_SECRET = re.compile(
    r"sk-(?:or|ant|proj|svcacct)-|\bsk-[A-Za-z0-9_-]{16,}|\bgsk_[A-Za-z0-9]{16,}|\bhf_[A-Za-z0-9]{16,}"
    r"|\bAIza[A-Za-z0-9_-]{30,}|\bAKIA[A-Z0-9]{16}|\bxai-[A-Za-z0-9]{20,}|\bBearer\s+[A-Za-z0-9._-]{16,}"
)


class Problems:
    """The problems found so far. Values that look like keys are never repeated in a sentence."""

    def __init__(self, text: str) -> None:
        self._lines = lines.find(text)
        self._found: list[tuple[int, str]] = []

    def add(self, path: lines.Key, what: str) -> None:
        """Note what is wrong at that key."""
        line = lines.line_of(self._lines, path) or 0
        where = f"line {line}: " if line else ""
        self._found.append((line, f"{where}{dotted(path)}: {what}" if path else f"{where}{what}"))

    def unknown(self, path: lines.Key, kind: str, word: str, allowed: Iterable[str], hint: str = "") -> None:
        """Note a word that is not one of those allowed, with the nearest one and a further `hint`."""
        names = [name for name in allowed if not looks_secret(name)]
        listed = f"allowed: {', '.join(names)}" if names else "none is allowed here"
        near = nearest(word, names)
        self.add(path, f"unknown {kind} {quoted(word)}; {listed}{near}{following(near, hint)}")

    def __len__(self) -> int:
        return len(self._found)

    def sentences(self) -> list[str]:
        """All problems, in the order of their lines."""
        return [sentence for _, sentence in sorted(self._found, key=lambda found: found[0])]


def following(before: str, hint: str) -> str:
    """A hint as the sentence after `before`, which ends in a question mark when it is there."""
    return f"{' ' if before else '. '}{hint}" if hint else ""


def dotted(path: lines.Key) -> str:
    """A key as TOML would write it: routes.extract.checks[1]. A part that looks like an API key is hidden."""
    shown = ""
    for part in path:
        if looks_secret(part):
            shown += ".(hidden)"
        elif part.startswith("["):
            shown += part
        else:
            shown += ("." if shown else "") + (part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{part}"')
    return shown


def quoted(word: str) -> str:
    """A word for a message; what looks like a key is not repeated."""
    return "(hidden: it looks like an API key)" if looks_secret(word) else f'"{word}"'


def looks_secret(text: str) -> bool:
    """Whether the text holds something that looks like an API key."""
    return _SECRET.search(text) is not None
