"""Tells which language a text is in, by its script and its function words; says nothing when it is not sure."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

from cheapfirst.checks.context import Context
from cheapfirst.checks.paths import strings
from cheapfirst.messages import Finding
from cheapfirst.policy.checks import Language

WORDS: dict[str, frozenset[str]] = {
    code: frozenset(words.split())
    for code, words in {
        "en": "the and of to in is that for it with was on are as be this have from or by not at but you they which "
        "will would has their an were been there your we can please",
        "de": "der die das und ist nicht ein eine zu den mit von für auf dem im des sich auch wird sind bei als aus "
        "oder wir ich sie hat dass nach einen einer wurde bitte wie über kann",
        "fr": "le la les et des est une un du que qui dans pour pas ce sur avec au plus il elle nous vous sont par ne "
        "cette ces mais ont été à aux être votre en",
        "es": "el la los las de que y en un una por con para es se del al lo como más pero sus su está son fue este "
        "esta no ha hay muy también usted",
        "it": "il la le lo gli di che e un una per non con del della dei sono è si da in al nel anche più come questo "
        "questa ma ha alla delle stato molto",
        "pt": "o a os as de que e em um uma para com não por é se do da dos das no na mais como foi ao pelo pela são "
        "mas seu sua está você também",
        "nl": "de het een en van is dat op te in niet met voor zijn aan er om ook als bij maar door naar wordt uit "
        "heeft deze worden werd dit wij ik u kan",
        "sv": "och att det som en är på av för med inte till den har de om ett var jag men vi från kan när också eller",
        "da": "og at det som en er på af for med ikke til den har de om et var jeg men vi fra kan når også eller blev",
        "no": "og at det som en er på av for med ikke til den har de om et var jeg men vi fra kan når også eller ble",
        "fi": "ja on ei että se oli ovat mutta kun myös hän joka tai olla ole kuin sen sekä niin jos voi mukaan",
        "pl": "i w na z nie się że do to jest o jak ale po co za od przez przy są dla oraz być był która który może",
        "cs": "a v na se je že to s z do o i jako pro ale po byl jsou není by které nebo jeho byla však který při",
        "sk": "a v na sa je že to s z do o aj ako pre ale po bol sú nie by ktoré alebo jeho bola však ktorý pri",
        "hu": "a az és hogy nem is egy ez van meg volt de mint már csak azt ha még lehet el fel vagy minden után",
        "ro": "și de la în a cu nu pe este că o un din pentru sunt mai se care au ca fost prin sau dar acest această",
        "tr": "ve bir bu için da de ile çok daha olan olarak gibi kadar ne en ama var değil sonra her veya mi oldu",
        "id": "yang dan di dengan untuk dari ini itu tidak pada dalam adalah akan ke juga oleh atau sudah ada dapat",
        "vi": "và của là có không cho các một được trong với này đã những người khi để từ đến như",
    }.items()
}
"""Function words of the languages written in Latin letters."""

SCRIPTS = {
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "HANGUL": "ko",
    "CJK": "zh",
    "CYRILLIC": "ru",
    "GREEK": "el",
    "ARABIC": "ar",
    "HEBREW": "he",
    "DEVANAGARI": "hi",
    "THAI": "th",
}
"""First word of a letter's Unicode name -> the language it speaks for."""

SIBLINGS = (
    frozenset({"da", "no", "nb", "nn"}),
    frozenset({"cs", "sk"}),
    frozenset({"id", "ms"}),
    frozenset({"ru", "uk", "bg", "sr", "be", "mk", "kk"}),
    frozenset({"ar", "fa", "ur"}),
    frozenset({"hi", "mr", "ne"}),
    frozenset({"he", "yi"}),
)
"""Languages that are not told apart: one counts as the other."""

LANGUAGES = frozenset(WORDS) | frozenset(SCRIPTS.values())
"""The languages that can be recognised."""

WINDOW = 4_000
"""Characters of a text that are looked at."""

_TOKEN = re.compile(r"[^\W\d_]+")


def language(value: Any, context: Context, options: Language) -> Sequence[Finding]:
    """The answer is in the expected language, or in the source's. Rejects only when sure. Code: language.other."""
    expected = detect(context.source or "") if options.expect == "source" else options.expect.lower()
    if expected is None or not known(expected):
        return ()
    text = context.text
    if context.parsed and not isinstance(value, str):
        text = "\n".join(string for _, string in strings(value))
    found = detect(text)
    if found is None or same(found, expected):
        return ()
    sentence = f"The answer is in {found!r}; {expected!r} is wanted."
    return (Finding(check="language", code="language.other", sentence=sentence),)


def known(code: str) -> bool:
    """Whether texts in this language (ISO 639-1) can be recognised."""
    return code in LANGUAGES or any(code in group for group in SIBLINGS)


def same(one: str, other: str) -> bool:
    """Whether two codes name one language as far as it is told apart here."""
    return one == other or any(one in group and other in group for group in SIBLINGS)


def detect(text: str) -> str | None:
    """The language a text is surely in (ISO 639-1); None when it is short, mixed or unknown."""
    text = text[:WINDOW]
    scripts = Counter(SCRIPTS.get(_script(letter), "Latin") for letter in text if letter.isalpha())
    if not scripts:
        return None
    # One Japanese sentence has more ideographs than kana; Chinese has no kana at all.
    if scripts["ja"] * 5 >= scripts["zh"] > 0:
        scripts["ja"] += scripts.pop("zh")
    best, count = scripts.most_common(1)[0]
    if best != "Latin":
        # An ideograph says as much as a word: few of them are enough.
        least = 6 if best in ("zh", "ja", "ko") else 20
        return best if count >= least and count >= 0.6 * scripts.total() else None
    return _latin(text) if count >= 0.9 * scripts.total() else None


def _latin(text: str) -> str | None:
    tokens = [token.lower() for token in _TOKEN.findall(text)]
    if len(tokens) < 8:
        return None
    scores = Counter({code: sum(token in words for token in tokens) for code, words in WORDS.items()})
    (best, hits), *others = scores.most_common()
    rival = next(count for code, count in others if not same(code, best))
    sure = hits >= 4 and hits >= 0.2 * len(tokens) and hits >= 1.6 * rival and hits - rival >= 3
    return best if sure else None


def _script(letter: str) -> str:
    if letter.isascii():
        return "LATIN"
    return unicodedata.name(letter, "").partition(" ")[0].partition("-")[0]
