"""Notices that a model declined instead of answering: common phrases of declining, in thirteen languages.

Looks only at how short texts begin, so an answer that reports or quotes a refusal is let through.
"""

# ruff: noqa: E501 - lists of phrases are read, and corrected, as unbroken lines
from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from cheapfirst.checks.context import Context
from cheapfirst.checks.paths import dotted, shown, strings
from cheapfirst.messages import Finding, Path
from cheapfirst.policy.checks import Refusal

LONGEST = 1_500
"""Characters; a longer text is an answer, however it begins."""

_OPENERS = (
    r"(?:(?:i'?m|i am|we'?re|we are) (?:very |so |really |truly )?(?:sorry|afraid)(?: that)?|sorry|apologies|my apologies|"
    r"i apologi[sz]e|unfortunately|regrettably|as an? (?:\w+ )?(?:ai|artificial intelligence|language model|assistant)"
    r"[\w ]{0,40}|es tut mir (?:sehr )?leid|tut mir (?:sehr )?leid|leider|entschuldigung|"
    r"(?:je suis |je me vois )?(?:d[ée]sol[ée]e?)|malheureusement|je regrette|lo siento(?: mucho)?|"
    r"lamentablemente|desafortunadamente|mi dispiace|sono spiacente|purtroppo|desculpe|desculpa|sinto muito|"
    r"lamento|infelizmente|het spijt me|sorry|helaas|przykro mi|przepraszam|niestety|beklager|desværre|tyvärr|ledsen|"
    r"к сожалению|извините|простите|很抱歉|抱歉|对不起|對不起|申し訳(?:ありません|ございません)が?|すみませんが?|죄송합니다만?|죄송하지만)"
)

_DECLINES = (
    # English
    r"(?:i|we) ?(?:can'?t|cannot|can not|am unable to|'?m unable to|are unable to|am not able to|'?m not able to|"
    r"won'?t be able to|will not be able to|could not|couldn'?t|won'?t|will not|must decline to|have to decline to|"
    r"do not feel comfortable|don'?t feel comfortable) ?(?:with )?(?:\w+ly )?"
    r"(?:help|helping|assist|assisting|comply|fulfil|fulfill|do that|do this|provid(?:e|ing) (?:that|this|you with|information|"
    r"instructions|assistance|a response|an answer|guidance|medical|legal|financial|the requested)|"
    r"answer (?:that|this|your)|respond to (?:that|this|your)|generat(?:e|ing) (?:that|this|content|such)|"
    r"creat(?:e|ing) (?:that|this|content|such)|writ(?:e|ing) (?:that|this|content|such)|"
    r"process (?:that|this|your) request|complete (?:that|this|your) (?:request|task)|"
    r"engage (?:in|with)|participate in|support (?:that|this)|discuss (?:that|this)|continue with (?:that|this)|"
    r"perform (?:that|this) (?:task|request)|extract (?:that|this|the|any)|access (?:that|this|the|external)|open (?:links|urls|attachments))",
    r"(?:i )?(?:must|have to|need to|will have to) (?:respectfully |politely )?(?:decline|refuse)",
    r"i (?:decline|refuse) to",
    r"(?:that|this|it)(?:'s| is) (?:not )?(?:something (?:that )?i (?:can'?t|cannot|can|'m able to|am able to|won'?t))",
    r"(?:that|this|your request|the request) (?:goes|violates|is) (?:against|outside|beyond) (?:my|our|the)",
    r"i (?:do not|don'?t) have (?:enough information|the (?:ability|capability)|access) to",
    r"my (?:guidelines|programming|safety guidelines|training) (?:do not|don'?t|prevent|prohibit)",
    # German
    r"(?:dabei |das |diese (?:anfrage|bitte) |ihnen |dir |hierbei |damit )?(?:kann|darf|werde) ich (?:ihnen |dir |euch )?"
    r"(?:dabei |damit |hierbei |bei (?:dieser|dieser art von|ihrer|deiner) \w+ |diese \w+ |dieser \w+ |das |dazu )?(?:leider )?"
    r"(?:nicht|keine) (?:\w+ )?(?:helfen|weiterhelfen|behilflich|unterstützen|beantworten|erfüllen|nachkommen|"
    r"bereitstellen|erstellen|geben|ausführen|bearbeiten)",
    r"ich (?:kann|darf|werde) (?:ihnen |dir |euch )?(?:dabei |damit |hierbei |bei (?:dieser|ihrer|deiner) \w+ |diese \w+ |dieser \w+ |das |dazu )?"
    r"(?:leider )?(?:nicht|keine) (?:\w+ )?(?:helfen|weiterhelfen|behilflich|unterstützen|beantworten|erfüllen|nachkommen|"
    r"bereitstellen|erstellen|geben|ausführen|bearbeiten)",
    r"ich bin nicht in der lage",
    # French
    r"je ne (?:peux|puis|suis pas en mesure|saurais) (?:malheureusement )?(?:pas )?(?:vous |t'|te |de |d')?(?:vous |t')?(?:aider|assister|"
    r"r[ée]pondre [àa]|fournir|accéder [àa]|satisfaire|traiter|g[ée]n[ée]rer|cr[ée]er|r[ée]aliser)",
    # Spanish
    r"(?:no puedo|no podemos|no me es posible|no soy capaz de) (?:ayudar|asistir|proporcionar|responder|cumplir|generar|"
    r"crear|realizar|procesar|ofrecer|completar)",
    # Italian
    r"non (?:posso|sono in grado di|mi è possibile) (?:aiutar|assister|fornir|rispondere|soddisfare|generare|creare|"
    r"elaborare|completare)",
    # Portuguese
    r"(?:eu )?n[ãa]o (?:posso|consigo|sou capaz de) (?:te |lhe |o |a )?(?:ajudar|auxiliar|fornecer|responder|atender|gerar|criar|"
    r"processar|realizar|ajud)",
    # Dutch
    r"(?:ik kan|kan ik|ik ben niet in staat) (?:u |je |jou )?(?:hier |daar )?(?:helaas )?(?:niet |geen )?(?:bij |mee |met \w+ \w+ )?(?:niet )?"
    r"(?:helpen|assisteren|voldoen|verstrekken|om)",
    # Polish, Swedish, Danish, Norwegian
    r"nie (?:mogę|jestem w stanie) (?:\w+ )?(?:pomóc|udzielić|odpowiedzieć|spełnić|wygenerować)",
    r"(?:jag kan inte|jeg kan ikke|jeg kan desværre ikke|jag kan tyvärr inte) (?:hjälpa|hjælpe|hjelpe|svara|svare|besvara|besvare)",
    # Russian
    r"(?:я )?не (?:могу|в состоянии) (?:вам |тебе )?(?:помочь|ответить|выполнить|предоставить|создать|обработать)",
    # Chinese, Japanese, Korean
    r"(?:我)?(?:无法|無法|不能|没有办法|沒有辦法)(?:為您|为您|為你|为你|向您|协助|協助|帮助|幫助|提供|回答|满足|滿足|完成|处理|處理|生成|满足)",
    r"(?:その|この|ご)?[^。、]{0,20}(?:お手伝い|お答え|対応|回答|提供|お応え|支援)(?:する|いた|すること)?(?:は|が|を)?"
    r"(?:できません|できかねます|致しかねます|いたしかねます|することはできません|ことができません)",
    r"[^.。]{0,30}(?:도와드릴|도움을 드릴|답변(?:을)? ?드릴|제공해 ?드릴|제공할|답변할) 수 (?:없|가 없)",
)

_REFUSES = re.compile(
    rf"^(?:{_OPENERS}[\s,.:;!，。、；-]*(?:but |aber |mais |pero |ma |mas |maar |但是?|が、?)?(?:\w+,? )?)?(?:{'|'.join(_DECLINES)})"
)
_FOLD = str.maketrans({"’": "'", "‘": "'", "`": "'", "´": "'", "\u00a0": " "})
_SPACES = re.compile(r"\s+")
_LEADING = "_#> \t\r\n-"


def refusal(value: Any, context: Context, options: Refusal) -> Sequence[Finding]:
    """The answer, and every string inside it, does not begin by declining. Code: refusal.phrase.

    What stands word for word in the source is a quotation, and is let through.
    """
    del options
    found = []
    for path, text in _texts(value, context):
        if declines(text) and not (context.source is not None and text.strip() in context.source):
            where = f"`{dotted(path)}`" if path else "The answer"
            sentence = f"{where} declines instead of answering: {shown(text.strip())}."
            found.append(Finding(check="refusal", code="refusal.phrase", sentence=sentence, path=path))
    return found


def declines(text: str) -> bool:
    """Whether a text is short and begins with a phrase of declining in one of the languages known here."""
    begin = unicodedata.normalize("NFKC", text.translate(_FOLD)).replace("*", "").strip().lstrip(_LEADING)
    if not begin or len(begin) > LONGEST:
        return False
    return _REFUSES.match(_SPACES.sub(" ", begin[:400]).lower()) is not None


def _texts(value: Any, context: Context) -> Iterator[tuple[Path, str]]:
    if context.parsed and not isinstance(value, str):
        yield from strings(value)
    else:
        yield (), value if isinstance(value, str) else context.text
