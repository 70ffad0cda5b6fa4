"""The few words that the extractive policy writes itself, in the languages of the headings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple, get_args

from oresearch_graph.text.scripts import has_cjk

Facet = Literal["definition", "mechanism", "usage", "limits", "comparison", "choice", "question"]
FACETS: Final[tuple[Facet, ...]] = get_args(Facet)


class Phrases(NamedTuple):
    """One language's words. Facets are written after a topic and a colon, and are the headings of
    the report's sections; `{}` takes a number or a list."""

    definition: str
    mechanism: str
    usage: str
    limits: str
    comparison: str
    choice: str
    question: str
    scope: str
    """Of the conclusion."""
    joint: str
    """Between two compared things."""
    nothing: str
    """Names the subtasks without evidence."""

    def facet(self, facet: Facet) -> str:
        return str(getattr(self, facet))


PHRASES: Final[Mapping[str, Phrases]] = {
    "en": Phrases(
        "what it is and what it is for", "how it works, step by step",
        "how it is used: functions, options and examples", "limits, errors and pitfalls",
        "differences and similarities", "when to use which", "the question itself",
        "Number of sources: {}. Topics: {}.", " and ", "No evidence was found on: {}.",
    ),
    "zh": Phrases(
        "定义与用途", "工作原理与过程", "使用方法：功能、选项与示例",
        "限制、错误与注意事项", "区别与共同点",
        "各自的适用场景",
        "问题本身", "来源数：{}。主题：{}。", "与", "未找到以下方面的证据：{}。",
    ),
    "ja": Phrases(
        "定義と目的", "仕組みと流れ", "使い方：機能、オプション、例", "制限、エラー、注意点",
        "違いと共通点",
        "使い分け", "質問そのもの", "出典数：{}。主題：{}。", "と",
        "次の点の根拠は見つかりませんでした：{}。",
    ),
    "ko": Phrases(
        "정의와 목적", "작동 방식과 과정", "사용법: 기능, 옵션, 예시", "한계, 오류, 주의점",
        "차이점과 공통점",
        "각각의 쓰임", "질문 자체", "출처 수: {}. 주제: {}.", " 및 ",
        "다음에 대한 근거를 찾지 못했습니다: {}.",
    ),
    "de": Phrases(
        "was es ist und wozu es dient", "wie es funktioniert, Schritt für Schritt",
        "wie man es benutzt: Funktionen, Optionen, Beispiele", "Grenzen, Fehler und Fallstricke",
        "Unterschiede und Gemeinsamkeiten", "wann man was nimmt", "die Frage selbst",
        "Zahl der Quellen: {}. Themen: {}.", " und ", "Keine Belege gefunden zu: {}.",
    ),
    "fr": Phrases(
        "ce que c'est et à quoi cela sert", "comment cela fonctionne, étape par étape",
        "comment l'utiliser : fonctions, options, exemples", "limites, erreurs et pièges",
        "différences et ressemblances", "quand choisir lequel", "la question elle-même",
        "Nombre de sources : {}. Sujets : {}.", " et ", "Aucune preuve trouvée sur : {}.",
    ),
    "es": Phrases(
        "qué es y para qué sirve", "cómo funciona, paso a paso",
        "cómo se usa: funciones, opciones, ejemplos", "límites, errores y trampas",
        "diferencias y semejanzas", "cuándo usar cada uno", "la pregunta misma",
        "Número de fuentes: {}. Temas: {}.", " y ", "No se encontraron pruebas sobre: {}.",
    ),
    "pt": Phrases(
        "o que é e para que serve", "como funciona, passo a passo",
        "como se usa: funções, opções, exemplos", "limites, erros e armadilhas",
        "diferenças e semelhanças", "quando usar cada um", "a própria pergunta",
        "Número de fontes: {}. Temas: {}.", " e ", "Nenhuma evidência encontrada sobre: {}.",
    ),
    "it": Phrases(
        "che cos'è e a che cosa serve", "come funziona, passo per passo",
        "come si usa: funzioni, opzioni, esempi", "limiti, errori e insidie",
        "differenze e somiglianze", "quando usare quale", "la domanda stessa",
        "Numero di fonti: {}. Temi: {}.", " e ", "Nessuna prova trovata su: {}.",
    ),
    "ru": Phrases(
        "что это и для чего", "как это работает, шаг за шагом",
        "как этим пользоваться: функции, параметры, примеры", "ограничения, ошибки и ловушки",
        "различия и сходства", "когда что выбирать", "сам вопрос",
        "Число источников: {}. Темы: {}.", " и ", "Не найдено свидетельств о: {}.",
    ),
    "ar": Phrases(
        "التعريف والغرض", "كيفية العمل خطوة بخطوة", "الاستخدام: الوظائف والخيارات والأمثلة",
        "الحدود والأخطاء والمحاذير", "الفروق وأوجه الشبه", "متى يُستخدم كل منها", "السؤال نفسه",
        "عدد المصادر: {}. المواضيع: {}.", " و", "لم يُعثر على أدلة بشأن: {}.",
    ),
}  # fmt: skip

HINTS: Final[Mapping[Facet, str]] = {
    "definition": "is are means called provides represents used 是 指 称为 用于 表示",
    "mechanism": "when then called returns before after until during 当 然后 调用 返回 过程",
    "usage": "use argument parameter method function default example 使用 参数 函数 方法 例如",
    "limits": "not cannot only error exception must never unless 不 仅 错误 异常 必须",
    "comparison": "difference unlike whereas than both same 不同 区别 相同 比",
    "choice": "should prefer better recommended instead 适合 推荐 应该 建议",
    "question": "",
}
"""Words of pages where they say it, in English and Chinese."""


def phrases(language: str | None) -> Phrases:
    """The words of a language; English where there are none."""
    return PHRASES.get(language or "en", PHRASES["en"])


def facet_of(subtask: str) -> Facet:
    """The facet that a planned subtask ends with; `question` for any other text."""
    for words in PHRASES.values():
        for facet in FACETS:
            if subtask.rstrip(".。").endswith(words.facet(facet)):
                return facet
    return "question"


def home(text: str, facets: Iterable[Facet]) -> Facet:
    """Of these facets the one that a text has most hints of, else the first."""
    words = {word.strip(".,;:()\"'") for word in text.lower().split()}

    def hints(facet: Facet) -> int:
        return sum(
            hint in words or (has_cjk(hint) and hint in text) for hint in HINTS[facet].split()
        )

    return max(facets, key=hints)
