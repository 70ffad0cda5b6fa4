"""What a delivered report says about itself, in the languages of the headings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Notices(NamedTuple):
    """Fixed sentences in one language; `{}` takes a list."""

    differs: str
    """Stands after the citation of a claim that something in its sources speaks against."""
    differs_note: str
    removed: str
    not_covered: str
    extractive: str


NOTICES: Final[Mapping[str, Notices]] = {
    "en": Notices(
        "(⚠ differs from source)",
        "⚠ differs from source: parts of the sentence stand nowhere in what was read of its "
        "source, or the source says otherwise.",
        "Citations removed because they lead to no source: {}.",
        "Not covered: {}.",
        "No language model wrote this report: it quotes passages of its sources.",
    ),
    "zh": Notices(
        "（⚠ 与来源不符）",
        "⚠ 与来源不符：该句的部分内容在已读取的引用来源中找不到，或来源另有说法。",
        "以下引用没有对应的来源，已删除：{}。",
        "未涵盖：{}。",
        "本报告并非由语言模型撰写，而是摘录来源中的原文。",
    ),
    "ja": Notices(
        "（⚠ 出典と不一致）",
        "⚠ 出典と不一致：この文の一部が、読み取った引用元にないか、引用元の記述と異なります。",
        "出典に対応しないため削除した引用：{}。",
        "扱っていない内容：{}。",
        "この報告書は言語モデルが書いたものではなく、出典の文章を引用したものです。",
    ),
    "ko": Notices(
        "(⚠ 출처와 다름)",
        "⚠ 출처와 다름: 이 문장의 일부가 읽은 출처에 없거나, 출처의 내용과 다릅니다.",
        "출처가 없어 삭제한 인용: {}.",
        "다루지 않은 내용: {}.",
        "이 보고서는 언어 모델이 쓴 것이 아니라 출처의 문장을 인용한 것입니다.",
    ),
    "de": Notices(
        "(⚠ weicht von der Quelle ab)",
        "⚠ weicht von der Quelle ab: Teile des Satzes stehen nicht in dem, was von der Quelle "
        "gelesen wurde, oder sie sagt es anders.",
        "Entfernte Verweise ohne Quelle: {}.",
        "Nicht behandelt: {}.",
        "Diesen Bericht hat kein Sprachmodell geschrieben: Er zitiert Stellen aus seinen Quellen.",
    ),
    "fr": Notices(
        "(⚠ diffère de la source)",
        "⚠ diffère de la source : une partie de la phrase ne figure pas dans ce qui a été lu de "
        "la source, ou la source dit autre chose.",
        "Références supprimées, car sans source : {}.",
        "Non traité : {}.",
        "Aucun modèle de langue n'a écrit ce rapport : il cite des passages de ses sources.",
    ),
    "es": Notices(
        "(⚠ difiere de la fuente)",
        "⚠ difiere de la fuente: partes de la frase no figuran en lo que se leyó de la fuente, "
        "o la fuente dice otra cosa.",
        "Citas eliminadas por no tener fuente: {}.",
        "No tratado: {}.",
        "Ningún modelo de lenguaje escribió este informe: cita pasajes de sus fuentes.",
    ),
    "pt": Notices(
        "(⚠ difere da fonte)",
        "⚠ difere da fonte: partes da frase não constam do que foi lido da fonte, ou a fonte "
        "diz outra coisa.",
        "Citações removidas por não terem fonte: {}.",
        "Não abordado: {}.",
        "Nenhum modelo de linguagem escreveu este relatório: ele cita trechos das suas fontes.",
    ),
    "it": Notices(
        "(⚠ diverso dalla fonte)",
        "⚠ diverso dalla fonte: parti della frase non compaiono in ciò che è stato letto della "
        "fonte, o la fonte dice altro.",
        "Citazioni rimosse perché senza fonte: {}.",
        "Non trattato: {}.",
        "Nessun modello linguistico ha scritto questo rapporto: cita passaggi delle sue fonti.",
    ),
    "ru": Notices(
        "(⚠ расходится с источником)",
        "⚠ расходится с источником: части предложения нет в прочитанном, или источник говорит "
        "иное.",
        "Удалены ссылки без источника: {}.",
        "Не рассмотрено: {}.",
        "Этот отчёт написан без языковой модели: он цитирует свои источники.",
    ),
    "ar": Notices(
        "(⚠ يختلف عن المصدر)",
        "⚠ يختلف عن المصدر: أجزاء من الجملة غير موجودة فيما قُرئ من المصدر، أو أن المصدر يقول "
        "خلاف ذلك.",
        "إحالات حُذفت لأنها لا تشير إلى مصدر: {}.",
        "لم يُتناول: {}.",
        "لم يكتب هذا التقرير أي نموذج لغوي: فهو يقتبس من مصادره.",
    ),
}


def notices(language: str | None) -> Notices:
    """The sentences of a language; English where there are none."""
    return NOTICES.get(language or "en", NOTICES["en"])
