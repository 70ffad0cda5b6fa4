"""Your own documents: a folder, or any LangChain retriever."""

import asyncio
import sys
from pathlib import Path

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from oresearch_graph import create_research_graph

NOTES = {
    "note:tides": "Tides are caused by the gravity of the Moon and the Sun.",
    "note:range": "The tidal range in the Bay of Fundy reaches 16 metres, the largest on Earth.",
}


class Notes(BaseRetriever):
    """Stands for the retriever you have."""

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return [
            Document(text, metadata={"source": address, "title": address})
            for address, text in NOTES.items()
        ]


async def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    graph = create_research_graph(search=folder or Notes())
    result = await graph.ainvoke({"question": "What causes tides, and how large do they get?"})
    print(result["report"])


if __name__ == "__main__":
    asyncio.run(main())
