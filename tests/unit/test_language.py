"""Telling a text's language, and saying nothing when unsure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cheapfirst.checks import language
from cheapfirst.checks.context import Context
from cheapfirst.policy.checks import Language

TEXTS = {
    "en": "The invoice was sent to the customer on Monday and it has not been paid yet.",
    "de": "Die Rechnung wurde am Montag an den Kunden geschickt und ist noch nicht bezahlt.",
    "fr": "La facture a été envoyée au client lundi et elle n'est pas encore payée par le service.",
    "es": "La factura fue enviada al cliente el lunes y no se ha pagado todavía por la empresa.",
    "it": "La fattura è stata inviata al cliente lunedì e non è ancora stata pagata dal reparto.",
    "pt": "A fatura foi enviada ao cliente na segunda-feira e ainda não foi paga pela empresa.",
    "nl": "De factuur is op maandag naar de klant gestuurd en is nog niet betaald door het bedrijf.",
    "pl": "Faktura została wysłana do klienta w poniedziałek i nie jest jeszcze zapłacona przez firmę.",
    "sv": "Fakturan skickades till kunden i måndags och den har inte betalats än av företaget.",
    "tr": "Fatura pazartesi günü müşteriye gönderildi ve bu henüz ödenmedi çok geç bir tarih için.",
    "ru": "Счёт был отправлен клиенту в понедельник, но ещё не оплачен.",
    "zh": "发票已于周一寄给客户，但尚未付款。",
    "ja": "請求書は月曜日に顧客に送られましたが、まだ支払われていません。",
    "ko": "송장은 월요일에 고객에게 발송되었으나 아직 지불되지 않았습니다.",
    "el": "Το τιμολόγιο στάλθηκε στον πελάτη τη Δευτέρα και δεν έχει πληρωθεί ακόμα.",
    "ar": "تم إرسال الفاتورة إلى العميل يوم الاثنين ولم يتم دفعها بعد.",
    "hi": "चालान सोमवार को ग्राहक को भेजा गया था और अभी तक भुगतान नहीं किया गया है।",
}


@pytest.mark.parametrize(("code", "text"), TEXTS.items())
def test_a_plain_sentence_is_recognised(code: str, text: str) -> None:
    assert language.detect(text) == code


@pytest.mark.parametrize(
    "text",
    ["", "Hello", "OK 200 {}", "Apple iPhone 15 Pro Max, Microsoft Azure, Google Cloud Platform, Amazon Web Services"],
)
def test_short_and_wordless_texts_are_of_no_sure_language(text: str) -> None:
    assert language.detect(text) is None


def test_an_answer_in_another_language_is_rejected() -> None:
    context = Context(text=TEXTS["en"], source=TEXTS["de"])
    (finding,) = language.language(TEXTS["en"], context, Language())
    assert finding.code == "language.other"
    assert language.language(TEXTS["en"], context, Language(expect="en")) == ()


def test_the_strings_of_a_value_are_what_is_looked_at() -> None:
    context = Context(text='{"summary": "…"}', shape="json", source=TEXTS["fr"])
    assert language.language({"summary": TEXTS["en"]}, context, Language()) != ()
    assert language.language({"summary": TEXTS["fr"], "kind": "the_and_of"}, context, Language()) == ()


def test_languages_that_are_not_told_apart_count_as_one() -> None:
    danish = "Fakturaen blev sendt til kunden i mandags, og den er ikke betalt af virksomheden endnu."
    assert language.language(danish, Context(text=danish), Language(expect="no")) == ()


def test_an_unknown_language_is_never_rejected() -> None:
    assert language.language(TEXTS["en"], Context(text=TEXTS["en"]), Language(expect="sw")) == ()


@given(st.text(max_size=300), st.text(max_size=300))
def test_detection_never_raises(text: str, source: str) -> None:
    language.language(text, Context(text=text, source=source), Language())
