"""The few words that the extractive policy writes itself, in the languages of the headings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, get_args

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
    """First line of the introduction."""
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
        "What {} sources say about: {}.", " and ", "No evidence was found on: {}.",
    ),
    "zh": Phrases(
        "定义与用途", "工作原理与过程", "使用方法：功能、选项与示例",
        "限制、错误与注意事项", "区别与共同点",
        "各自的适用场景",
        "问题本身", "以下摘自{}个来源，内容涉及：{}。", "与", "未找到以下方面的证据：{}。",
    ),
    "ja": Phrases(
        "定義と目的", "仕組みと流れ", "使い方：機能、オプション、例", "制限、エラー、注意点",
        "違いと共通点",
        "使い分け", "質問そのもの", "{}件の出典から、次の内容をまとめます：{}。", "と",
        "次の点の根拠は見つかりませんでした：{}。",
    ),
    "ko": Phrases(
        "정의와 목적", "작동 방식과 과정", "사용법: 기능, 옵션, 예시", "한계, 오류, 주의점",
        "차이점과 공통점",
        "각각의 쓰임", "질문 자체", "출처 {}개에서 다음 내용을 옮깁니다: {}.", " 및 ",
        "다음에 대한 근거를 찾지 못했습니다: {}.",
    ),
    "de": Phrases(
        "was es ist und wozu es dient", "wie es funktioniert, Schritt für Schritt",
        "wie man es benutzt: Funktionen, Optionen, Beispiele", "Grenzen, Fehler und Fallstricke",
        "Unterschiede und Gemeinsamkeiten", "wann man was nimmt", "die Frage selbst",
        "Was {} Quellen sagen über: {}.", " und ", "Keine Belege gefunden zu: {}.",
    ),
    "fr": Phrases(
        "ce que c'est et à quoi cela sert", "comment cela fonctionne, étape par étape",
        "comment l'utiliser : fonctions, options, exemples", "limites, erreurs et pièges",
        "différences et ressemblances", "quand choisir lequel", "la question elle-même",
        "Ce que disent {} sources sur : {}.", " et ", "Aucune preuve trouvée sur : {}.",
    ),
    "es": Phrases(
        "qué es y para qué sirve", "cómo funciona, paso a paso",
        "cómo se usa: funciones, opciones, ejemplos", "límites, errores y trampas",
        "diferencias y semejanzas", "cuándo usar cada uno", "la pregunta misma",
        "Lo que dicen {} fuentes sobre: {}.", " y ", "No se encontraron pruebas sobre: {}.",
    ),
    "pt": Phrases(
        "o que é e para que serve", "como funciona, passo a passo",
        "como se usa: funções, opções, exemplos", "limites, erros e armadilhas",
        "diferenças e semelhanças", "quando usar cada um", "a própria pergunta",
        "O que dizem {} fontes sobre: {}.", " e ", "Nenhuma evidência encontrada sobre: {}.",
    ),
    "it": Phrases(
        "che cos'è e a che cosa serve", "come funziona, passo per passo",
        "come si usa: funzioni, opzioni, esempi", "limiti, errori e insidie",
        "differenze e somiglianze", "quando usare quale", "la domanda stessa",
        "Che cosa dicono {} fonti su: {}.", " e ", "Nessuna prova trovata su: {}.",
    ),
    "ru": Phrases(
        "что это и для чего", "как это работает, шаг за шагом",
        "как этим пользоваться: функции, параметры, примеры", "ограничения, ошибки и ловушки",
        "различия и сходства", "когда что выбирать", "сам вопрос",
        "Что говорят источники (всего {}) о теме: {}.", " и ", "Не найдено свидетельств о: {}.",
    ),
    "ar": Phrases(
        "التعريف والغرض", "كيفية العمل خطوة بخطوة", "الاستخدام: الوظائف والخيارات والأمثلة",
        "الحدود والأخطاء والمحاذير", "الفروق وأوجه الشبه", "متى يُستخدم كل منها", "السؤال نفسه",
        "ما تقوله {} من المصادر عن: {}.", " و", "لم يُعثر على أدلة بشأن: {}.",
    ),
}  # fmt: skip

CUES: Final[Mapping[Facet, frozenset[str]]] = {
    "definition": frozenset(
        [
            "is",
            "are",
            "means",
            "defines",
            "called",
            "refers",
            "represents",
            "provides",
            "purpose",
            "used",
            "allows",
            "implements",
            "describes",
            "known",
            "consists",
            "是",
            "指",
            "称为",
            "用于",
            "提供",
            "表示",
        ]
    ),
    "mechanism": frozenset(
        [
            "when",
            "if",
            "then",
            "calls",
            "called",
            "invoked",
            "raises",
            "returns",
            "first",
            "before",
            "after",
            "until",
            "during",
            "each",
            "finally",
            "performs",
            "executed",
            "causes",
            "当",
            "时",
            "则",
            "首先",
            "然后",
            "调用",
            "执行",
            "返回",
            "过程",
        ]
    ),
    "usage": frozenset(
        [
            "use",
            "using",
            "example",
            "argument",
            "arguments",
            "parameter",
            "method",
            "function",
            "optional",
            "default",
            "specify",
            "should",
            "can",
            "create",
            "pass",
            "使用",
            "参数",
            "例如",
            "函数",
            "方法",
            "选项",
            "可以",
        ]
    ),
    "limits": frozenset(
        [
            "not",
            "cannot",
            "only",
            "never",
            "error",
            "errors",
            "raises",
            "exception",
            "warning",
            "deprecated",
            "unless",
            "except",
            "must",
            "limit",
            "limited",
            "note",
            "however",
            "caution",
            "avoid",
            "unsupported",
            "不",
            "无法",
            "不能",
            "仅",
            "错误",
            "异常",
            "限制",
            "注意",
            "必须",
        ]
    ),
    "comparison": frozenset(
        [
            "unlike",
            "whereas",
            "while",
            "than",
            "instead",
            "both",
            "difference",
            "differs",
            "same",
            "similar",
            "compared",
            "rather",
            "but",
            "不同",
            "区别",
            "而",
            "相比",
            "相同",
            "比",
            "都",
        ]
    ),
    "choice": frozenset(
        [
            "use",
            "should",
            "prefer",
            "recommended",
            "better",
            "suitable",
            "instead",
            "when",
            "faster",
            "best",
            "适合",
            "推荐",
            "应该",
            "优先",
            "更",
            "建议",
        ]
    ),
    "question": frozenset(),
}
"""Words that a sentence about a facet tends to hold."""

QUERY_WORDS: Final[Mapping[Facet, str]] = {
    "definition": "",
    "mechanism": "called when returns",
    "usage": "method function argument",
    "limits": "error exception must not",
    "comparison": "difference",
    "choice": "",
    "question": "",
}
"""Added to the second query of a subtask, for pages in English."""


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
