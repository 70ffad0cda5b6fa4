"""Documents that fail on purpose: the fault drill's side of the tools seam.

Over a process' documents, in their place:

    faulty = FaultyTools(*open_documents(settings), timeouts=0.2)
    tools = training_tools(settings, (faulty, faulty))

What fails is drawn from the seed, the content of the call and how often that content was asked,
so that a drill repeats.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from random import Random

from oresearch_graph.tools.backend import Hits, Page, PageReader, SearchBackend


class FaultyTools:
    """A search backend and page reader around others. Each fault that it plays is counted.

    `timeouts`: the share of calls that never answer. `hung_page`: pages whose address contains
    this never answer, however often they are asked. `raising`: a search whose queries contain
    this raises RuntimeError, as a fault in code would.
    """

    def __init__(
        self,
        search: SearchBackend,
        reader: PageReader,
        *,
        timeouts: float = 0.0,
        hung_page: str | None = None,
        raising: str | None = None,
        seed: int = 0,
    ) -> None:
        self.name = search.name
        self.played: Counter[str] = Counter()
        self._search, self._reader = search, reader
        self._timeouts, self._hung_page, self._raising = timeouts, hung_page, raising
        self._seed = seed
        self._asked: Counter[str] = Counter()

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        if self._raising is not None and any(self._raising in query for query in queries):
            self.played["raising"] += 1
            raise RuntimeError("a fault that the drill put into the search")
        await self._perhaps_silent("\n".join(queries))
        return await self._search.search(queries, k)

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:
        if self._hung_page is not None and any(self._hung_page in url for url in urls):
            await self._silent("hung_page")
        await self._perhaps_silent("\n".join(urls))
        return await self._reader.read(urls, focus)

    async def _perhaps_silent(self, content: str) -> None:
        self._asked[content] += 1
        draw = Random(f"{self._seed} {self._asked[content]} {content}").random()  # noqa: S311
        if draw < self._timeouts:
            await self._silent("timeout")

    async def _silent(self, fault: str) -> None:
        self.played[fault] += 1
        await asyncio.Event().wait()
