"""Any text as a query of a corpus index."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oresearch_graph.tools.corpus.index import CorpusIndex, Document, match_expression


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> CorpusIndex:
    index = CorpusIndex(tmp_path_factory.mktemp("index") / "index.sqlite")
    index.change(put=[Document("a:a", "Title", 'Words "quoted" AND more: 潮汐.', "1")])
    return index


@given(query=st.text(max_size=60))
def test_any_query_is_answered(index: CorpusIndex, query: str) -> None:
    assert len(index.search(query, 3)) <= 1


@given(query=st.text(max_size=200))
def test_a_query_never_becomes_index_syntax(query: str) -> None:
    for part in (match_expression(query) or '"x"').split(" OR "):
        assert part[0] == part[-1] == '"'
        assert '"' not in part[1:-1]
