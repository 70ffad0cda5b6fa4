import pytest

from oresearch_graph.text.language import detect_language, names_language, report_language


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("How does asyncio cancel a task?", "en"),
        ("asyncio TaskGroup cancel", "en"),
        ("", "en"),
        ("12345 !!", "en"),
        ("Python 的 asyncio 如何取消任务？", "zh"),
        ("GPT-4 和 Claude 3.5 Sonnet 有什么区别", "zh"),
        ("量子コンピュータの利点は何ですか", "ja"),
        ("양자 컴퓨터의 장점은 무엇입니까?", "ko"),
        ("Как работает сборщик мусора в Python?", "ru"),
        ("ما هي مزايا الحوسبة الكمومية؟", "ar"),
        ("Wie funktioniert die Speicherbereinigung in Python genau?", "de"),
        ("Comment fonctionne le ramasse-miettes de Python et pourquoi est-il nécessaire ?", "fr"),
        ("¿Cómo funciona el recolector de basura y por qué es necesario?", "es"),
        ("Como funciona o coletor de lixo do Python e por que ele é necessário?", "pt"),
        ("Come funziona il garbage collector di Python e perché è necessario?", "it"),
        ("What does `для` mean in the Russian sentence grammar of prepositions?", "en"),
    ],
)
def test_language(text, code):
    assert detect_language(text) == code


@pytest.mark.parametrize(
    ("question", "code"),
    [
        ("What causes tides? Please write the report in German.", "de"),
        ("Write about tides, and answer in Spanish.", "es"),
        ("Respond in Brazilian Portuguese: what are tides?", "pt"),
        ("In German, please: what are tides?", "de"),
        ("Your report should be in Japanese. What are tides?", "ja"),
        ("Was sind Gezeiten und wodurch entstehen sie? Antworte bitte auf Englisch.", "en"),
        ("什么是潮汐？请用英文回答。", "en"),
        ("Answer in German or French: why?", "en"),
        ("What did Kant write in German?", "en"),
        ("How do you say hello in French?", "en"),
        ("Write a report on the German economy.", "en"),
        ("In German law, what is a tort?", "en"),
        ("Write about changes in German law since 1900.", "en"),
    ],
)
def test_a_report_is_in_the_language_that_is_asked_for(question, code):
    assert report_language(question) == code


def test_a_language_is_named_in_english_in_the_texts_words_and_in_its_own():
    for text in ("an answer in German", "eine Antwort auf Deutsch", "请用德文回答", "auf deutsch"):
        assert names_language(text, "de")
    assert not names_language("Germanium and Germany", "de")
