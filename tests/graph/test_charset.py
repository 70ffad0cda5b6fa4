"""Bytes to characters: marks, statements, HTML's prescan, and guesses among legacy encodings."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oresearch_graph.tools.reading.extract import decode, prescan

SENTENCES = {
    "cp1252 iso8859-1 iso8859-15": (
        "Le centimètre est une unité de longueur. À cause de la pluie, la fête fut reportée au "
        "mois d'août.",
        "Die Küste ist für große Wellen bekannt. Schließlich öffnete der Händler seine Tür und "
        "grüßte die Gäste höflich.",
        "El niño comió una manzana en la montaña. ¿Cuándo llegará el próximo tren a la estación?",
        "A inflação subiu em março, segundo a comissão. As crianças não irão à escola amanhã.",
        "Räksmörgåsar är gott på sommaren. Vi åkte över sjön till ön där våra föräldrar bor.",
    ),
    "cp1253 iso8859-7": (
        "Η σελήνη προκαλεί τις παλίρροιες των ωκεανών. Κάθε μέρα το νερό ανεβαίνει δύο φορές.",
    ),
    "cp1251 koi8-r iso8859-5 cp866": (
        "Приливы вызваны притяжением Луны. Каждый день вода поднимается и опускается дважды.",
    ),
    "cp1250 iso8859-2": (
        "Wczoraj wieczorem poszliśmy do kina, żeby obejrzeć nowy film. Święta spędzimy u dziadków.",
        "Příliv a odliv způsobuje přitažlivost Měsíce. Každý den voda dvakrát stoupá a klesá.",
        "Az árapályt a Hold vonzása okozza. A tűz gyorsan terjedt, ezért később sem jöttek vissza "
        "az erdőből.",
    ),
    "cp1254 iso8859-9": (
        "Gelgitler Ay'ın çekim gücünden kaynaklanır. Çocuklar okula gitti, ama öğretmen hastaydı.",
    ),
    "cp1255": ("הגאות והשפל נגרמים על ידי כוח המשיכה של הירח. בכל יום המים עולים ויורדים פעמיים.",),
    "cp1256": ("ينتج المد والجزر عن جاذبية القمر. يرتفع الماء وينخفض مرتين كل يوم.",),
    "cp874": ("น้ำขึ้นน้ำลงเกิดจากแรงดึงดูดของดวงจันทร์ ทุกวันน้ำจะขึ้นและลงสองครั้ง",),
    "gb18030 gbk": (
        "潮汐是海水的周期性涨落现象，主要由月球的引力引起。孩子们去了学校，但是老师生病了。",
    ),
    "big5": ("潮汐是海水的週期性漲落現象，主要由月球的引力引起。孩子們去了學校，但是老師生病了。",),
    "cp932 euc-jp iso2022_jp": (
        "潮の満ち引きは月の引力によって起こります。子供たちは学校へ行きましたが、先生は病気でした。",
    ),
    "euc-kr cp949": ("조석은 달의 인력 때문에 일어난다. 아이들은 학교에 갔지만 선생님은 아팠다.",),
    "utf-16-le utf-16-be": ("Москва столица России.", "A café in the old town is closed."),
}
PAIRS = [
    (encoding, text)
    for encodings, texts in SENTENCES.items()
    for encoding in encodings.split()
    for text in texts
]


@pytest.mark.parametrize(("encoding", "text"), PAIRS)
def test_two_sentences_and_a_long_text_of_each_encoding_that_nobody_states(
    encoding: str, text: str
) -> None:
    assert decode(text.encode(encoding), markup=False).text == text
    long = "All in plain letters here.\n" * 4_000 + f"{text}\n" * 50
    decoded = decode(long.encode(encoding), "no-such-charset")
    assert decoded.text == long
    assert decoded.certain


@pytest.mark.parametrize(
    ("encoding", "stated"),
    [("utf-8", "ascii"), ("gb18030", "gb2312"), ("gbk", "GBK"), ("big5", "big5"), ("utf-8", "hz")],
)
def test_wrong_and_loose_statements(encoding: str, stated: str) -> None:
    text = "潮汐是海水的現象。"
    assert decode(text.encode(encoding), stated).text == text


def test_what_rests_on_little_or_looks_like_no_language_is_uncertain() -> None:
    assert not decode("naïve".encode("cp1252")).certain
    assert not decode("décembre, été, févr. à la fenêtre du café fermé".encode("cp850")).certain
    assert not decode(bytes(range(256)) * 40).certain


def test_damage_is_no_other_encoding() -> None:
    text = "Η σελήνη προκαλεί τις παλίρροιες των ωκεανών."
    cut = decode(text.encode() + "ώ".encode()[:1])
    assert (cut.text, cut.encoding, cut.certain) == (text + "\ufffd", "utf-8", False)
    stated = decode(b"\x98" + text.encode("cp1253") + b"\xd2", "windows-1253")
    assert stated.text == "\ufffd" + text + "\ufffd"


@pytest.mark.parametrize(
    ("body", "stated", "encoding"),
    [
        (b"\xef\xbb\xbf<meta charset=koi8-r>\xd0\xb4", "windows-1251", "utf-8"),
        (b"<meta charset=koi8-r>\xd0\xb4", "windows-1251", "windows-1251"),
        (b"<meta charset=koi8-r>\xd0\xb4", "undefined", "koi8-r"),
        (b"<meta charset=undefined>\xd0\xb4", None, "utf-8"),
        (b"\xd0\xb4", "gb2312", "gbk"),
        (b"\xd0", "utf-7", "windows-1252"),
        (b"\xd0\xb4", "r\u00f6m\udc80isch", "utf-8"),
        (b"\xd0\xb4", "iso-2022-kr", "utf-8"),
    ],
)
def test_which_statement_counts(body: bytes, stated: str | None, encoding: str) -> None:
    assert decode(body, stated).encoding == encoding


@pytest.mark.parametrize(
    ("start", "encoding"),
    [
        (b"<meta charset=shift_jis>", "shift_jis"),
        (b"<META\nCHARSET = ' Latin1 '>", "windows-1252"),
        (b"<meta/charset=big5/>", None),
        (b"<meta/charset=big5>", "big5"),
        (b"<meta http-equiv=Content-Type content='text/html; charset=euc-kr'>", "euc-kr"),
        (b"<meta content='text/html;charset=\"euc-kr\"' http-equiv=content-type>", "euc-kr"),
        (b"<meta content='charsets charset = euc-kr;x' http-equiv=content-type>", "euc-kr"),
        (b"<meta content='text/html; charset=euc-kr'>", None),
        (b"<meta name=charset content=euc-kr>", None),
        (b"<!-- <meta charset=big5> --><meta charset=gbk>", "gbk"),
        (b"<!--><meta charset=gbk>-->", "gbk"),
        (b"<!-- <meta charset=gbk>", None),
        (b"<p title='<meta charset=big5>'><meta charset=gbk>", "gbk"),
        (b"<p title='<meta charset=big5>", None),
        (b"<!doctype <meta charset=big5>", None),
        (b"</p <meta charset=big5>", None),
        (b"<? <meta charset=big5>", None),
        (b"<metas charset=big5>", None),
        (b"<meta charset=big5", None),
        (b"<meta charset=gbk charset=big5>", "gbk"),
        (b"<meta charset=nonsense><meta charset=gbk>", "gbk"),
        (b"<meta charset=UTF-16>", "utf-8"),
        (b"<meta charset=x-user-defined>", "windows-1252"),
        (b"<meta charset=''>", None),
        (b"1 < 2 <meta charset=gbk>", "gbk"),
        (b"<?xml version='1.0' encoding='koi8-r'?><html>", "koi8-r"),
        (b"<?xml version='1.0' encoding='koi8-r'?><meta charset=gbk>", "gbk"),
        (b"<?xml version='1.0'?><p encoding='koi8-r'>", None),
    ],
)
def test_the_prescan(start: bytes, encoding: str | None) -> None:
    assert prescan(start) == encoding


PYTHONS_OWN = """undefined idna punycode rot13 rot_13 base64 base64_codec hex bz2 zlib uu quopri
utf-7 utf_7 hz hz-gb-2312 unicode_escape unicode-escape raw_unicode_escape mbcs oem palmos cp037
utf-32 utf-8-sig"""


@pytest.mark.parametrize("label", [*PYTHONS_OWN.split(), "\0", "a" * 1_000, "../../etc", "ütf-8"])
def test_only_the_webs_encodings_count(label: str) -> None:
    body = f"<meta charset='{label}'>+AGE- \\u0041 PGI+ été".encode()
    for stated in (label, None):
        assert decode(body, stated) == (body.decode(), "utf-8", True)


def test_the_first_kilobyte_counts_and_prose_on_html_states_nothing() -> None:
    late = b" " * 1024 + b"<meta charset=koi8-r>" + "Луна".encode()
    assert decode(late).encoding == "utf-8"
    prose = "Write `<meta charset=koi8-r>` для Луны."
    assert decode(prose.encode(), markup=False).text == prose


@settings(max_examples=30)
@given(st.binary(max_size=400), st.none() | st.text(max_size=12))
def test_any_bytes_give_text(body: bytes, stated: str | None) -> None:
    decode(body, stated).text.encode()
    prescan(b"<meta " + body)


@pytest.mark.parametrize(
    "unit", [b"\xff", b"\x80a", b"<!--", b"<meta ", b"<a a=", b"charset=", b"\n\xe9", b"\x1b$\xe9"]
)
def test_big_bodies_are_judged_by_a_sample(unit: bytes) -> None:
    began = time.process_time()
    decode(unit * (4_000_000 // len(unit)))
    assert time.process_time() - began < 2
