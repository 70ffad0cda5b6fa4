"""What a delivered report says about itself, in the languages of the headings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Notices(NamedTuple):
    """Fixed sentences in one language; `{}` takes a list."""

    unverified: str
    """Stands after the citation of a claim that its sources do not bear out."""
    unverified_note: str
    removed: str
    not_covered: str
    extractive: str


NOTICES: Final[Mapping[str, Notices]] = {
    "en": Notices(
        "(⚠ unverified)",
        "⚠ unverified: the cited source, as far as it was read, does not hold all that the "
        "sentence states.",
        "Citations removed because they lead to no source: {}.",
        "Not covered: {}.",
        "No language model wrote this report: it quotes passages of its sources.",
    ),
    "zh": Notices(
        "（⚠ 未核实）",
        "⚠ 未核实：在已读取的引用来源中，未能找到该句陈述的全部内容。",
        "以下引用没有对应的来源，已删除：{}。",
        "未涵盖：{}。",
        "本报告并非由语言模型撰写，而是摘录来源中的原文。",
    ),
    "ja": Notices(
        "（⚠ 未確認）",
        "⚠ 未確認：読み取った引用元に、この文の内容のすべては見つかりませんでした。",
        "出典に対応しないため削除した引用：{}。",
        "扱っていない内容：{}。",
        "この報告書は言語モデルが書いたものではなく、出典の文章を引用したものです。",
    ),
    "ko": Notices(
        "(⚠ 미확인)",
        "⚠ 미확인: 읽은 출처에서 이 문장의 내용을 모두 찾지는 못했습니다.",
        "출처가 없어 삭제한 인용: {}.",
        "다루지 않은 내용: {}.",
        "이 보고서는 언어 모델이 쓴 것이 아니라 출처의 문장을 인용한 것입니다.",
    ),
    "de": Notices(
        "(⚠ ungeprüft)",
        "⚠ ungeprüft: Die zitierte Quelle enthält, soweit gelesen, nicht alles, was der Satz sagt.",
        "Entfernte Verweise ohne Quelle: {}.",
        "Nicht behandelt: {}.",
        "Diesen Bericht hat kein Sprachmodell geschrieben: Er zitiert Stellen aus seinen Quellen.",
    ),
    "fr": Notices(
        "(⚠ non vérifié)",
        "⚠ non vérifié : la source citée, telle qu'elle a été lue, ne contient pas tout ce que "
        "dit la phrase.",
        "Références supprimées, car sans source : {}.",
        "Non traité : {}.",
        "Aucun modèle de langue n'a écrit ce rapport : il cite des passages de ses sources.",
    ),
    "es": Notices(
        "(⚠ sin verificar)",
        "⚠ sin verificar: la fuente citada, hasta donde se leyó, no contiene todo lo que dice la "
        "frase.",
        "Citas eliminadas por no tener fuente: {}.",
        "No tratado: {}.",
        "Ningún modelo de lenguaje escribió este informe: cita pasajes de sus fuentes.",
    ),
    "pt": Notices(
        "(⚠ não verificado)",
        "⚠ não verificado: a fonte citada, até onde foi lida, não contém tudo o que a frase diz.",
        "Citações removidas por não terem fonte: {}.",
        "Não abordado: {}.",
        "Nenhum modelo de linguagem escreveu este relatório: ele cita trechos das suas fontes.",
    ),
    "it": Notices(
        "(⚠ non verificato)",
        "⚠ non verificato: la fonte citata, per quanto letta, non contiene tutto ciò che dice la "
        "frase.",
        "Citazioni rimosse perché senza fonte: {}.",
        "Non trattato: {}.",
        "Nessun modello linguistico ha scritto questo rapporto: cita passaggi delle sue fonti.",
    ),
    "ru": Notices(
        "(⚠ не проверено)",
        "⚠ не проверено: в прочитанной части источника найдено не всё, что утверждает предложение.",
        "Удалены ссылки без источника: {}.",
        "Не рассмотрено: {}.",
        "Этот отчёт написан без языковой модели: он цитирует свои источники.",
    ),
    "ar": Notices(
        "(⚠ غير متحقق منه)",
        "⚠ غير متحقق منه: لا يحتوي المصدر المذكور، بقدر ما قُرئ منه، على كل ما تقوله الجملة.",
        "إحالات حُذفت لأنها لا تشير إلى مصدر: {}.",
        "لم يُتناول: {}.",
        "لم يكتب هذا التقرير أي نموذج لغوي: فهو يقتبس من مصادره.",
    ),
}


def notices(language: str | None) -> Notices:
    """The sentences of a language; English where there are none."""
    return NOTICES.get(language or "en", NOTICES["en"])
