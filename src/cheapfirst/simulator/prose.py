"""Answers in words to texts the simulator does not know: first sentences, a label, or a reply labelled simulated."""

from __future__ import annotations

import re

from cheapfirst.simulator import clues as read_clues
from cheapfirst.simulator.asked import Asked

_SUMMARY = re.compile(
    r"summar|tl;?dr|shorten|zusammenfass|résum|resum|riassum|samenvat|özet|要約|总结|總結|摘要|概括", re.I
)
_LABELS = re.compile(r"\b(?:one of|labels?|categories|classes|options)\b[^:\n]{0,40}:\s*([^\n.]{3,400})", re.I)
_INSTRUCTION = re.compile(r"\A[^\n]{0,200}(?::|\n)\s*")
_MOST_WORDS = 60
_SHOWN = 80  # characters of the user's text that a reply repeats


def answer(asked: Asked) -> str:
    """A text for the request: a label where labels are listed, a summary where one is asked for, else a reply."""
    labels = _labels(f"{asked.system}\n{asked.text[:400]}")
    if labels:
        clues = read_clues.read(_LABELS.sub("", asked.text))  # the list itself speaks of every label
        return max(labels, key=lambda label: read_clues.overlap(label, clues))
    return summary(asked.text) if asks_summary(asked) else reply(asked.text)


def asks_summary(asked: Asked) -> bool:
    """Whether the instructions, or the beginning of the text, ask for a summary."""
    return _SUMMARY.search(f"{asked.system}\n{asked.text[:400]}") is not None


def summary(text: str) -> str:
    """The first sentences of a text, without an instruction before them."""
    head = _INSTRUCTION.match(text)
    if head and _SUMMARY.search(head[0]) and len(text) > 2 * head.end():
        text = text[head.end() :]
    kept: list[str] = []
    for sentence in read_clues.read(text).sentences:
        if kept and len(" ".join([*kept, sentence]).split()) > _MOST_WORDS:
            break
        kept.append(sentence)
        if len(kept) == 3:
            break
    made = " ".join(kept)
    return " ".join(made.split()[:_MOST_WORDS]) if made else "(simulated) There was no text to summarize."


def reply(text: str) -> str:
    """A reply to free chat, labelled as simulated."""
    sentences = read_clues.read(text).sentences
    if not sentences:
        return "(simulated reply) Nothing was said."
    topic = sentences[-1] if sentences[-1].endswith("?") else sentences[0]
    shown = topic if len(topic) <= _SHOWN else topic[:_SHOWN].rpartition(" ")[0] + " ..."
    return f'(simulated reply) You wrote: "{shown}" A real model would answer here; this one is made up in code.'


def _labels(text: str) -> list[str]:
    found = _LABELS.search(text)
    if not found:
        return []
    labels = [label.strip(" \"'`[]()") for label in re.split(r",|;|/|\||\bor\b", found[1])]
    return [label for label in labels if label and len(label.split()) <= 4] if len(labels) > 1 else []
