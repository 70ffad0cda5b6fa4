import pytest

from oresearch_graph.evidence.figures import agrees, figures, stated


@pytest.mark.parametrize(
    ("claim", "source"),
    [
        ("1,250,000 people", "1250000 inhabitants"),
        ("125万人", "1.25 million people"),
        ("3.2 billion", "32亿"),
        ("25%", "25 percent"),
        ("25％", "百分之25"),
        ("２０２４", "in 2024"),
        ("5 March 2024", "2024年3月5日"),
        ("March 5, 2024", "2024-03-05"),
        ("March 2024", "on 5 March 2024"),
        ("2024", "on 5 March 2024"),
        ("5 GB", "5 gigabytes"),
        ("3 days", "three days"),
        ("3 种", "三种"),
        ("$5", "5 dollars"),
        ("version 3.11", "3.11"),
        ("the 3rd", "3"),
        ("1.250.000", "1,250,000"),
    ],
)
def test_equal_figures_agree(claim, source):
    (figure,) = figures(claim)
    assert agrees(figure, stated(source))


@pytest.mark.parametrize(
    ("claim", "source"),
    [
        ("3.10", "3.1"),
        ("26%", "25 percent"),
        ("25%", "25 people"),
        ("25", "25%"),
        ("5 MB", "5 GB"),
        ("1.25 million", "1.25"),
        ("6 March 2024", "5 March 2024"),
        ("125万", "125亿"),
        ("5", "3.5 and 55"),
        ("3", "HTTP/2, sqlite3 and UTF-3"),
    ],
)
def test_different_figures_do_not(claim, source):
    (figure,) = figures(claim)
    assert not agrees(figure, stated(source))


def test_a_text_without_figures_has_none():
    assert figures("sqlite3 and UTF-8 are names") == []
