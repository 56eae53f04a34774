"""What the sample requests are filled with: invented people, firms, products, places, goods and dates, by language."""

# ruff: noqa: E501 - lists of names are read as unbroken lines
from __future__ import annotations

import random
import re
import unicodedata
from datetime import date, timedelta

_NAMES = {
    "en": "Grace Holloway|Tom Ashby|Priya Raman|Daniel Okafor|Ruth Pemberton|Marcus Lindqvist|Sadie Brennan|Victor Osei|Hannah Whitlock|Omar Farouk",
    "de": "Katrin Vogelsang|Jens Ahlers|Miriam Steinbach|Uwe Brandner|Leonie Kessler|Tobias Rehm",
    "fr": "Camille Rousselet|Julien Marchais|Élodie Vasseur|Bastien Lemoine|Nadia Benhamou",
    "es": "Lucía Cantero|Javier Ordóñez|Marta Villalba|Andrés Quiroga|Elena Pastrana",
    "it": "Giulia Ferrantini|Marco Bellandi|Sara Colonnese|Paolo Verdini",
    "pt": "Beatriz Sampaio|Rui Carvalhal|Inês Mourato|Tiago Bandeira",
    "nl": "Sanne Hoekstra|Pieter van Dalen|Femke Wiersma|Joost Brouwer",
    "tr": "Elif Karaca|Murat Yalçın|Zeynep Aksoy|Can Demirtaş",
    "ja": "高橋美咲|中村健一|小林由美|渡辺大輔",
    "zh": "王晓梅|李建国|陈思远|赵雨桐",
}
_CITIES = {
    "en": "Ashford|Millbrook|Portsea|Kingsbridge|Halifax|Duluth|Savannah|Wellington|Galway",
    "de": "Lübeck|Kassel|Erfurt|Passau|Oldenburg", "fr": "Angers|Dijon|Quimper|Annecy", "es": "Vigo|Cádiz|Zaragoza|Santander",
    "it": "Lucca|Trieste|Mantova|Lecce", "pt": "Braga|Évora|Aveiro|Coimbra", "nl": "Zwolle|Delft|Leeuwarden|Breda",
    "tr": "İzmir|Bursa|Antalya|Trabzon", "ja": "金沢|松山|長崎|盛岡", "zh": "苏州|青岛|厦门|昆明",
}  # fmt: skip
_VENDORS = {
    "en": "Bramble & Finch Ltd|Copperline Supplies|Oakhurst Trading Co.|Tidewater Works|Lantern Studio|Harrow Point Systems",
    "de": "Buchholz Bürotechnik GmbH|Sonnberg Papier KG|Kontor Wieland", "fr": "Maison Duvallet|Les Halles Perrin|Comptoir Ravel",
    "es": "Talleres Ibarrondo|Mecánicas Salvatierra|Recambios Luna", "it": "Cantina Montefosco|Tenuta Albarello|Vini Carsoli",
    "pt": "Papelaria Horizonte|Gráfica Boa Vista|Casa Lumiar", "nl": "Fietsenhuis De Spaak|Tweewielers Vermeer|Rijwiel Oost",
    "tr": "Deniz Kırtasiye|Çınar Ofis|Anka Kağıt", "ja": "株式会社みどり文具|山手オフィスサービス|青葉商会", "zh": "云杉科技|海棠商贸|北辰文化",
}  # fmt: skip
_MONTHS = {
    "en": "January|February|March|April|May|June|July|August|September|October|November|December",
    "de": "Januar|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember",
    "fr": "janvier|février|mars|avril|mai|juin|juillet|août|septembre|octobre|novembre|décembre",
    "es": "enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre",
    "it": "gennaio|febbraio|marzo|aprile|maggio|giugno|luglio|agosto|settembre|ottobre|novembre|dicembre",
    "pt": "janeiro|fevereiro|março|abril|maio|junho|julho|agosto|setembro|outubro|novembro|dezembro",
    "nl": "januari|februari|maart|april|mei|juni|juli|augustus|september|oktober|november|december",
    "tr": "Ocak|Şubat|Mart|Nisan|Mayıs|Haziran|Temmuz|Ağustos|Eylül|Ekim|Kasım|Aralık",
}
_PRODUCTS = {
    "coffee": "Brevia 300|Crema Nova|Moka Lindo S|Baristo One",
    "headphones": "Auralite S|Sonette 7|Halden Duo|Murmur Pro",
    "vac": "Dustrel X2|Whirlo Mini|Sweepster 500|Nimbus V8",
    "chair": "Ergona Flex|Sitwell 4|Corvus Mesh|Pondera Lite",
    "lamp": "Nordlys 12|Halo Arc|Lumen Twig|Tischa L",
    "watch": "Pulsa Fit 3|Tempo Trail|Kairo Band|Orbit 2",
    "bag": "Tern 28|Nomad Roll|Kestrel Pack|Pilgrim 35",
    "app": "Planetto|DoneList|Ledgerly|TeamNest",
    "phone": "Pixel 8|Galaxy S23|iPhone 14|Fairphone 5",
    "domain": "lanternworks.example|copperline.example|harrowpoint.example",
}
GOODS: dict[str, list[tuple[str, int, int]]] = {
    "office": [("Copy paper A4, 5 reams", 1890, 2990), ("Desk organizer, bamboo", 1450, 3200), ("Toner cartridge black", 5400, 9800), ("Whiteboard markers, set of 8", 650, 1290), ("Monitor arm, single", 6900, 12900), ("Ring binders, pack of 10", 1700, 2600)],
    "services": [("Website maintenance", 12000, 24000), ("Photo editing, per hour", 5500, 9000), ("Translation, 1000 words", 9000, 16000), ("Consulting half-day", 32000, 64000), ("Server hosting", 2900, 7900)],
    "garden": [("Climbing rose in pot", 1450, 2850), ("Cedar planter", 4200, 8900), ("Peat-free compost 50 l", 690, 1190), ("Bird bath", 2500, 6400), ("Garden twine", 250, 590)],
    "bürobedarf": [("Aktenordner breit", 249, 549), ("Druckerpapier A4", 499, 899), ("Tischleuchte LED", 3990, 8990), ("Kugelschreiber blau", 99, 299), ("Schreibtischunterlage", 1290, 2990)],
    "épicerie": [("Huile d'olive 1 L", 890, 1690), ("Miel de lavande", 650, 1250), ("Farine de sarrasin", 320, 560), ("Confiture d'abricot", 410, 720), ("Terrine de campagne", 580, 990)],
    "taller": [("Cambio de aceite", 3900, 7900), ("Filtro de aire", 1250, 2990), ("Pastillas de freno", 4500, 9900), ("Mano de obra", 3500, 5500)],
    "cantina": [("Barbera superiore", 890, 1690), ("Vermentino bianco", 790, 1390), ("Olio extravergine", 990, 1890), ("Spumante brut", 1190, 2290)],
    "papelaria": [("Caderno capa dura", 1890, 3990), ("Caneta gel azul", 390, 890), ("Resma de papel", 2490, 3990), ("Agenda anual", 3500, 6900)],
    "fietsen": [("Binnenband 28 inch", 595, 995), ("Fietsbel messing", 1295, 2495), ("Achterlicht", 995, 2195), ("Kettingslot", 2995, 5995)],
    "文具": [("万年筆インク", 900, 1800), ("方眼ノート", 280, 650), ("修正テープ", 180, 420), ("卓上カレンダー", 700, 1500)],
    "kırtasiye": [("Dolma kalem", 18000, 42000), ("Çizgili defter", 4500, 9500), ("Yapıştırıcı", 2500, 5500), ("Klasör", 6000, 12000)],
}  # fmt: skip
"""Goods by shop: description, lowest and highest price of one, in cents (whole yen for the Japanese shop)."""

_LATIN = {"ø": "o", "ı": "i", "ß": "ss"}


class Slots:
    """The words that fill one request's slots: drawn once each, the same wherever the slot stands again."""

    def __init__(self, language: str, rng: random.Random) -> None:
        self._language = language
        self._rng = rng
        self._filled: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        if name not in self._filled:
            self._filled[name] = self._drawn(name)
        return self._filled[name]

    def put(self, name: str, text: str) -> None:
        """Fill a slot by hand."""
        self._filled[name] = text

    def _drawn(self, name: str) -> str:
        rng, language = self._rng, self._language
        pools = {"name": _NAMES, "city": _CITIES, "vendor": _VENDORS}
        if name in pools:
            return rng.choice(pools[name][language].split("|"))
        if name in _PRODUCTS:
            return rng.choice(_PRODUCTS[name].split("|"))
        if name == "first":
            return self["name"].split(" ")[0]
        if name == "n":
            return str(rng.randrange(3, 9))
        if name == "number_street":
            return str(rng.randrange(4, 190))
        if name == "month":
            return self._months()[rng.randrange(12)]
        if name == "order":
            return rng.choice(
                (f"{rng.randrange(10**5, 10**6)}", f"A{rng.randrange(10, 99)}-{rng.randrange(1000, 9999)}")
            )
        if name == "number":
            stem = rng.choice(("INV-", "R-", "2026/", ""))
            return f"{stem}{rng.randrange(10_000, 99_999)}"
        if name == "price":
            return _price(rng.randrange(900, 9900), language)
        if name == "email":
            return f"{_slug(self['name']) or 'customer' + str(rng.randrange(10, 99))}@{rng.choice(('mail', 'post', 'inbox'))}.example"
        if name in ("date", "date_iso"):
            day = date(2026, 1, 5) + timedelta(days=rng.randrange(200))
            self._filled.update(date=_written(day, language, self._months()), date_iso=day.isoformat())
            return self._filled[name]
        raise SystemExit(f"unknown slot {name!r}")

    def _months(self) -> list[str]:
        if self._language in ("ja", "zh"):
            return [f"{number}月" for number in range(1, 13)]
        return _MONTHS[self._language].split("|")


def amount(cents: int, style: str) -> str:
    """An amount as a country writes it; `style` shows how: 1,234.50 or 1.234,50 or 1 234,50 or 1,234."""
    if style == "1,234":
        return f"{cents:,}"
    text = f"{cents / 100:,.2f}"
    thousands, decimals = style[1], style[5]
    return text.replace(",", "\0").replace(".", decimals).replace("\0", thousands)


def _price(cents: int, language: str) -> str:
    return f"${cents / 100:.2f}" if language == "en" else f"{cents / 100:.2f} €".replace(".", ",")


def _written(day: date, language: str, months: list[str]) -> str:
    name = months[day.month - 1]
    if language == "en":
        return f"{name} {day.day}, {day.year}"
    if language in ("ja", "zh"):
        return f"{day.year}年{day.month}月{day.day}日"
    if language in ("es", "pt"):
        return f"{day.day} de {name} de {day.year}"
    return f"{day.day}. {name} {day.year}" if language == "de" else f"{day.day} {name} {day.year}"


def _slug(name: str) -> str:
    plain = "".join(_LATIN.get(letter, letter) for letter in name.lower())
    plain = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
    return ".".join(re.findall(r"[a-z]+", plain))
