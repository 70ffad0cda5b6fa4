import pytest

from oresearch_graph.text.language import detect_language


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
