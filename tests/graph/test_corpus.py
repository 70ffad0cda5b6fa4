"""A folder as search backend and reader: real files, a real index."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from oresearch_graph.command.indexing import losses
from oresearch_graph.errors import ConfigurationError, ToolError
from oresearch_graph.tools.corpus.folder import CorpusFolder, Entry
from oresearch_graph.tools.corpus.index import (
    VERSION,
    cache_folder,
)
from oresearch_graph.tools.corpus.local import LocalCorpus
from oresearch_graph.tools.reading.pool import ReaderPool
from oresearch_graph.tools.reading.worker import PageLimits
from oresearch_graph.trace.plain_text import spelled_address
from tests.helpers.hostile_pages import nested_forms

TIDES = "# Tides\n\nThe moon pulls the oceans. A spring tide comes at new moon.\n"
WINDS = "# Winds\n\nTrade winds blow steadily from the east towards the equator.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my docs"
    (folder / "deep").mkdir(parents=True)
    (folder / "tides.md").write_text(TIDES)
    (folder / "deep" / "winds.txt").write_text(WINDS)
    (folder / "page.html").write_text("<title>Currents</title><p>The Gulf Stream is warm.</p>")
    return folder


@pytest.fixture
def corpus(folder: Path, tmp_path: Path) -> LocalCorpus:
    return LocalCorpus(folder, cache=tmp_path / "cache", refresh_seconds=0)


async def first(corpus: LocalCorpus, query: str) -> str | None:
    hits = (await corpus.search([query], 5))[0].hits
    return hits[0].title if hits else None


async def test_search_and_read(corpus: LocalCorpus, folder: Path) -> None:
    found = await corpus.search(["spring tides and the moon", "trade wind", "gulf"], 5)
    assert [hits.query for hits in found] == ["spring tides and the moon", "trade wind", "gulf"]
    assert [hits.hits[0].title for hits in found] == ["Tides", "Winds", "Currents"]
    url = found[0].hits[0].url
    assert url == (folder / "tides.md").as_uri()
    assert "%20" in url
    assert "spring tide comes at new moon" in found[0].hits[0].snippet
    pages = await corpus.read([url + "#part", url.replace("%20", " "), "file:///etc/passwd"], "")
    assert [page.text for page in pages[:2]] == [TIDES.strip()] * 2
    assert "not in the corpus" in str(pages[2].fault)
    assert pages[0].url == url + "#part"


async def test_words_are_stemmed_and_stop_words_do_not_count(corpus: LocalCorpus) -> None:
    assert await first(corpus, "what is pulling on an ocean?") == "Tides"
    assert await first(corpus, "quantum chromodynamics of the") is None
    assert await first(corpus, "...") is None


async def test_files_that_change_appear_and_vanish_are_followed(
    corpus: LocalCorpus, folder: Path
) -> None:
    assert await first(corpus, "moon") == "Tides"
    (folder / "tides.md").write_text("# Shores\n\nSand and stones.\n")
    (folder / "new.rst").write_text("Glaciers\n========\n\nIce that flows downhill.\n")
    (folder / "deep" / "winds.txt").unlink()
    assert await first(corpus, "moon") is None
    assert await first(corpus, "sand") == "Shores"
    assert await first(corpus, "flowing ice") == "Glaciers"
    assert await first(corpus, "trade winds") is None
    assert corpus.index.counts()[0] == 3


def test_an_update_does_only_what_is_due(corpus: LocalCorpus, folder: Path) -> None:
    told: list[tuple[int, int]] = []
    report = corpus.update(lambda done, due: told.append((done, due)))
    assert (report.documents, report.added, report.changed, report.removed) == (3, 3, 0, 0)
    assert told == [(3, 3)]
    assert corpus.update()[2:5] == (0, 0, 0)
    os.utime(folder / "tides.md", ns=(1, 1))
    assert corpus.update()[2:5] == (0, 0, 0)
    (folder / "tides.md").write_text("Other words.")
    (folder / "page.html").unlink()
    assert corpus.update()[2:5] == (0, 1, 1)


def test_files_that_cannot_be_read_are_named_and_skipped(corpus: LocalCorpus, folder: Path) -> None:
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    (folder / "empty.md").write_text("")
    (folder / "dangling.md").symlink_to(folder / "nowhere")
    (folder / ".hidden.md").write_text("secret")
    report = corpus.update()
    assert report.documents == 3
    causes = dict(report.faults)
    assert sorted(causes) == ["broken.pdf", "dangling.md", "empty.md"]
    assert "cannot be read" in causes["broken.pdf"]


def test_what_is_not_read_is_named_and_counted(corpus: LocalCorpus, folder: Path) -> None:
    for name in ("a.docx", "b.docx", "c.json", "deep/d.epub", "LICENSE"):
        (folder / name).write_text("x")
    (folder / "old.txt").write_bytes("fermé".encode("cp1252"))
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    said = list(losses(corpus.update()))
    assert said[0].startswith("skipped broken.pdf: is a PDF that cannot be read")
    assert said[1:] == [
        "uncertain encoding of old.txt: read as windows-1252; save it as UTF-8",
        "5 files of kinds that are not read: .docx 2, no suffix 1, .json 1, .epub 1",
    ]
    for number in range(30):
        (folder / f"empty {number}.md").touch()
        (folder / f"x.k{number}").touch()
    said = list(losses(corpus.update()))
    assert len(said) == 23
    assert said[20] == "and 11 more files skipped"
    assert said[22].endswith("and 14 more kinds")


async def test_a_file_that_costs_its_reader_costs_no_other(
    corpus: LocalCorpus, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = ReaderPool(1, PageLimits(cpu_seconds=0.3))
    monkeypatch.setattr("oresearch_graph.tools.corpus.local.READERS", readers)
    (folder / "forms.pdf").write_bytes(nested_forms(30))
    report = corpus.update()
    readers.close()
    assert report.faults == (("forms.pdf", "takes more than 0.3 s to read"),)
    assert await first(corpus, "gulf") == "Currents"


def test_a_file_that_could_not_be_opened_is_tried_again(
    corpus: LocalCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: CorpusFolder, path: str, most: int) -> bytes:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(CorpusFolder, "read", refused)
        report = corpus.update()
        assert report.documents == 0
        assert ("tides.md", "cannot be read: Permission denied") in report.faults
        assert corpus.update().changed == 0
    assert corpus.update().documents == 3


def test_links_and_what_is_no_regular_file_are_not_opened(
    corpus: LocalCorpus, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.md").write_text("The password is swordfish.")
    (folder / "secret.md").symlink_to(tmp_path / "secret.md")
    (folder / "all").symlink_to(tmp_path)
    (folder / "zero.txt").symlink_to("/dev/zero")
    (folder / "tides again.md").symlink_to(folder / "tides.md")
    os.mkfifo(folder / "pipe.md")
    report = corpus.update()
    assert report.documents == 3
    assert dict(report.faults) == {
        "all": "is a link that leads outside the folder",
        "pipe.md": "is no regular file",
        "secret.md": "is a link that leads outside the folder",
        "zero.txt": "is a link that leads outside the folder",
    }
    assert not corpus.index.search("password swordfish", 5)


def test_what_is_swapped_after_it_was_listed_is_not_opened(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "winds.txt").write_text("secret")
    files = CorpusFolder(folder, without=tmp_path / "cache")
    assert files.read("deep/winds.txt", 6) == b"# Wind"
    (folder / "deep").rename(folder / "was")
    (folder / "deep").symlink_to(outside)
    with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
        files.read("deep/winds.txt", 6)
    (folder / "tides.md").unlink()
    (folder / "tides.md").symlink_to(outside / "winds.txt")
    with pytest.raises(OSError, match="symbolic links"):
        files.read("tides.md", 6)
    (folder / "page.html").unlink()
    os.mkfifo(folder / "page.html")
    with pytest.raises(OSError, match="no regular file"):
        files.read("page.html", 6)


def test_a_file_is_bounded_whatever_it_says_of_its_size(
    corpus: LocalCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oresearch_graph.tools.corpus.local.MAX_BYTES", 60)
    listed = CorpusFolder.entries

    def lying(self: CorpusFolder) -> Iterator[Entry]:
        return (entry._replace(stamp=(1, 0)) for entry in listed(self))

    monkeypatch.setattr(CorpusFolder, "entries", lying)
    assert [path for path, cause in corpus.update().faults if "larger" in cause] == [
        "deep/winds.txt", "tides.md"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name", [b"caf\xe9.md", b"\xff/\xfe.md", b"a?b#c%20d.md", b"two\nlines.md"]
)
async def test_any_name_is_indexed_and_opened(
    corpus: LocalCorpus, folder: Path, name: bytes
) -> None:
    file = folder / os.fsdecode(name)
    file.parent.mkdir(exist_ok=True)
    file.write_text("Basalt columns.")
    (hit,) = (await corpus.search(["basalt"], 5))[0].hits
    assert (hit.url, hit.title) == (file.as_uri(), "Basalt columns.")
    (page,) = await corpus.read([hit.url], "")
    assert page.text == "Basalt columns."
    file.write_text("")
    ((path, cause),) = corpus.update().faults
    assert (path.isprintable(), cause) == (True, "holds no text")


async def test_a_single_file_is_a_corpus(folder: Path, tmp_path: Path) -> None:
    corpus = LocalCorpus(folder / "tides.md", cache=tmp_path / "cache")
    assert corpus.update().documents == 1
    assert await first(corpus, "moon") == "Tides"
    assert await first(corpus, "trade winds") is None
    pages = await corpus.read(["tides.md", (folder / "page.html").as_uri()], "")
    assert [bool(page.text) for page in pages] == [True, False]
    (folder / "notes.docx").touch()
    with pytest.raises(ConfigurationError, match=r"no readable document \(.docx 1\)"):
        LocalCorpus(folder / "notes.docx", cache=tmp_path / "cache").check()


@pytest.mark.parametrize(
    "address",
    ["file:tides.md", "http://[x", "//]", "file://[", "file:", "", "\ud800", "file:%ff\0"],
    ids=ascii,
)
async def test_any_address_gives_a_page(corpus: LocalCorpus, address: str) -> None:
    (page,) = await corpus.read([address], "")
    assert page.url == spelled_address(address)
    assert bool(page.text) == (address == "file:tides.md")
    assert bool(page.fault) == (not page.text)


async def test_a_chinese_folder(tmp_path: Path) -> None:
    folder = tmp_path / "中文"
    folder.mkdir()
    (folder / "潮汐.md").write_text(
        "# 潮汐\n\n潮汐是海水的周期性涨落，主要由月球的引力引起。大潮出现在新月和满月。"
    )
    (folder / "信风.txt").write_bytes(
        "信风\n\n信风从副热带高压带吹向赤道低压带。".encode("gb18030")
    )
    (folder / "機械学習.md").write_text(
        "# 機械学習\n\nAIはデータから学習する。過学習を防ぐには正則化を使う。"
    )
    corpus = LocalCorpus(folder, cache=tmp_path / "cache")
    assert await first(corpus, "月球引力") == "潮汐"
    assert await first(corpus, "信风") == "信风"
    assert await first(corpus, "赤道附近吹什么风？") == "信风"
    assert await first(corpus, "過学習とは何ですか") == "機械学習"
    assert await first(corpus, "AI 正則化") == "機械学習"
    assert await first(corpus, "力月") is None
    assert await first(corpus, "量子力学") is None


async def test_a_long_page_is_found_by_a_passage_deep_inside(
    corpus: LocalCorpus, folder: Path
) -> None:
    filler = "\n\n".join(f"Paragraph {i} on ordinary matters of every day." for i in range(400))
    (folder / "long.md").write_text(f"# Long\n\n{filler}\n\nThe kraken sleeps below.\n\n{filler}")
    hit = (await corpus.search(["kraken"], 3))[0].hits[0]
    assert (hit.title, "kraken sleeps" in hit.snippet) == ("Long", True)


async def test_a_hit_shows_the_best_passages_of_its_page_in_page_order(
    corpus: LocalCorpus, folder: Path
) -> None:
    filler = "\n\n".join(f"Paragraph {i} on ordinary matters of every day." for i in range(90))
    told = ("The kraken sleeps below.", "A kraken eats ships. The kraken eats!", "No kraken flies.")
    (folder / "long.md").write_text("# Long\n\n" + f"\n\n{filler}\n\n".join(told))
    hit = (await corpus.search(["kraken"], 3))[0].hits[0]
    places = [hit.snippet.find(sentence) for sentence in told]
    assert -1 not in places
    assert places == sorted(places)
    assert len(hit.snippet) < 3 * 750


@pytest.mark.parametrize("ending", [".", "。"])
async def test_prose_comes_before_a_list_of_names_and_links(
    corpus: LocalCorpus, folder: Path, ending: str
) -> None:
    links = "\n".join(f"kraken.html#{i} kraken {i} - kraken_{i}.html" for i in range(12))
    (folder / "keywords.md").write_text(f"# Kraken index\n\n{links}\n")
    lines = (
        f"The kraken is said to live off the coast of Norway{ending} It eats whole ships{ending}"
    )
    (folder / "sea.md").write_text(f"# Beasts of the sea\n\n{lines}\n")
    hits = (await corpus.search(["kraken"], 5))[0].hits
    assert [hit.title for hit in hits] == ["Beasts of the sea", "Kraken index"]


async def test_the_same_content_twice_is_one_hit(corpus: LocalCorpus, folder: Path) -> None:
    (folder / "copy.md").write_text(TIDES)
    assert len((await corpus.search(["spring tide"], 5))[0].hits) == 1


def test_two_corpora_and_nothing_in_the_persons_folder(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.md").write_text("Volcanoes erupt.")
    before = sorted(folder.rglob("*"))
    one = LocalCorpus(folder, cache=tmp_path / "cache")
    two = LocalCorpus(other, cache=tmp_path / "cache")
    one.update()
    two.update()
    assert one.index.search("moon", 1)
    assert not two.index.search("moon", 1)
    assert sorted(folder.rglob("*")) == before
    assert one.index.file.stat().st_mode & 0o077 == 0
    assert one.index.file.parent.stat().st_mode & 0o077 == 0


async def test_an_index_inside_the_folder_is_not_indexed(folder: Path) -> None:
    corpus = LocalCorpus(folder, cache=folder / "cache")
    (folder / "cache").mkdir()
    (folder / "cache" / "x.md").write_text("moon")
    assert corpus.update().documents == 3


async def test_a_damaged_or_old_index_is_built_anew(corpus: LocalCorpus) -> None:
    assert await first(corpus, "moon") == "Tides"
    corpus.index.database.delete()
    corpus.index.file.write_bytes(b"this is no database at all, but long enough" * 100)
    assert await first(corpus, "moon") == "Tides"
    corpus.index.file.write_bytes(b"damaged where it stands, with its connections open" * 100)
    assert await first(corpus, "moon") == "Tides"
    with sqlite3.connect(corpus.index.file) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    assert await first(corpus, "moon") == "Tides"
    with corpus.index.database.connected() as made_anew:
        assert made_anew.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_an_index_that_cannot_be_written_is_a_tool_error(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ToolError, match="ORESEARCH_HOME"):
        LocalCorpus(folder, cache=tmp_path / "file").update()


def test_a_missing_and_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        LocalCorpus(tmp_path / "none", cache=tmp_path).update()
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "photo.png").write_bytes(b"x")
    (tmp_path / "empty" / "out.md").symlink_to(tmp_path)
    with pytest.raises(ConfigurationError, match=r"no readable document \(.*\.png 1") as raised:
        LocalCorpus(tmp_path / "empty", cache=tmp_path).update()
    assert "leads outside the folder: 1" in str(raised.value)
    for impossible in ("~nobody-of-this-name/x", "a\0b"):
        with pytest.raises(ConfigurationError, match="correct it"):
            LocalCorpus(impossible, cache=tmp_path).update()


def test_the_cache_folder_is_settable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ORESEARCH_HOME", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("ORESEARCH_HOME")
    assert cache_folder() == Path.home() / ".cache" / "oresearch"
