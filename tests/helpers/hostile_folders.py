"""Folders that strangers packed: what lies in them, and what an index run says of it.

Beside each lie `outside/secret.md`, which holds SECRET, and inside it `good.md`.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

SECRET = "sk-outside-7Q2xV9"
GOOD = "# Krakens\n\nThe kraken sleeps below the thunders of the upper deep.\n"
TEXT = "Basalt columns form when lava cools slowly.\n"
ROOT = os.geteuid() == 0


class HostileFolder(NamedTuple):
    """A folder by its builder, what must be said of it, and its readable documents."""

    name: str
    build: Callable[[Path], None]
    said: tuple[str, ...] = ()
    documents: int = 1


def link(name: str, target: str) -> Callable[[Path], None]:
    def build(path: Path) -> None:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).symlink_to(target)

    return build


def file(name: str | bytes, content: bytes | str = TEXT) -> Callable[[Path], None]:
    def build(path: Path) -> None:
        place = path / os.fsdecode(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)

    return build


def both(*builders: Callable[[Path], None]) -> Callable[[Path], None]:
    def build(path: Path) -> None:
        for each in builders:
            each(path)

    return build


def pipe(name: str) -> Callable[[Path], None]:
    return lambda path: os.mkfifo(path / name)


def unix_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path)  # an address of a socket is at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("talk.md")
    finally:
        os.chdir(here)


def sparse(name: str, size: int) -> Callable[[Path], None]:
    def build(path: Path) -> None:
        with (path / name).open("wb") as file:
            file.truncate(size)

    return build


def deep(levels: int, name: str) -> Callable[[Path], None]:
    """Deeper than a path may be long."""

    def build(path: Path) -> None:
        here = os.open(path, os.O_RDONLY)
        for _ in range(levels):
            os.mkdir(name, dir_fd=here)
            below = os.open(name, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        handle = os.open("bottom.md", os.O_CREAT | os.O_WRONLY, dir_fd=here)
        os.write(handle, TEXT.encode())
        os.close(handle)
        os.close(here)

    return build


def many(count: int, name: str, content: str = "") -> Callable[[Path], None]:
    def build(path: Path) -> None:
        for number in range(count):
            text = content.format(number) if content else ""
            (path / name.format(number)).write_text(text)

    return build


def many_links(path: Path) -> None:
    for number in range(3_000):
        (path / f"{number}.md").symlink_to("../outside/secret.md")


def forbidden_file(path: Path) -> None:
    file("locked.md")(path)
    (path / "locked.md").chmod(0)


def forbidden_folder(path: Path) -> None:
    file("vault/x.md")(path)
    (path / "vault").chmod(0)


def page(head: str) -> bytes:
    return f"<html><head>{head}<title>P</title></head><p>{TEXT}</p></html>".encode()


OUTSIDE = "leads outside the folder"
UNEVEN = "É" + "".join(map(chr, range(0x21, 0x3FF)))
NOISE = random.Random(7).randbytes(60_000)  # noqa: S311 (no secret)
CODECS = ("undefined", "idna", "rot13", "base64", "zlib", "unicode_escape", "utf-7", "mbcs", "x")

FOLDERS = [
    HostileFolder("a link to the environment", link("env.md", "/proc/self/environ"), (OUTSIDE,)),
    HostileFolder("a link without suffix", link("environ", "/proc/self/environ"), (OUTSIDE,)),
    HostileFolder("a link to a file outside", link("a.md", "../outside/secret.md"), (OUTSIDE,)),
    HostileFolder("a link to a folder outside", link("more", "../outside"), (OUTSIDE,)),
    HostileFolder("a link to the root", link("all", "/"), (OUTSIDE,)),
    HostileFolder("a link to endless zeros", link("zero.txt", "/dev/zero"), (OUTSIDE,)),
    HostileFolder("a link to the terminal", link("tty.md", "/dev/tty"), ("tty.md",)),
    HostileFolder("a link to standard input", link("in.md", "/dev/stdin"), ("in.md",)),
    HostileFolder("a link to the process' root", link("r", "/proc/self/root"), (OUTSIDE,)),
    HostileFolder("a link to the process' folder", link("c", "/proc/self/cwd"), (OUTSIDE,)),
    HostileFolder(
        "a chain of links",
        both(link("a.md", "b.md"), link("b.md", "c.md"), link("c.md", "../outside/secret.md")),
        ("skipped a.md", "skipped b.md", "skipped c.md"),
    ),
    HostileFolder(
        "a link through a linked folder",
        both(link("d", "../outside"), link("x.md", "d/secret.md")),
        ("skipped d", "skipped x.md"),
    ),
    HostileFolder(
        "out and in again",
        both(link("back.md", "../outside/../folder/own.md"), file("own.md")),
        documents=2,
    ),
    HostileFolder("a loop", both(link("a.md", "b.md"), link("b.md", "a.md")), ("leads nowhere",)),
    HostileFolder("a link to itself", link("self.md", "self.md"), ("leads nowhere",)),
    HostileFolder("a link to nowhere", link("gone.md", "nothing"), ("leads nowhere",)),
    HostileFolder("a folder in itself", link("deep/again", ".."), ()),
    HostileFolder("a link to a file inside", link("again.md", "good.md"), ()),
    HostileFolder(
        "a link to a hidden file",
        both(file(".keys/key.md", SECRET), link("key.md", ".keys/key.md")),
        ("key.md: is a link to what is left out",),
    ),
    HostileFolder("hidden files", both(file(".env.md", SECRET), file(".git/x.md", SECRET)), ()),
    HostileFolder("a named pipe", pipe("pipe.md"), ("pipe.md: is no regular file",)),
    HostileFolder("a pipe without suffix", pipe("pipe"), ("pipe: is no regular file",)),
    HostileFolder("a link to a pipe", both(pipe("p"), link("q.md", "p")), ("p: is no regular",)),
    HostileFolder("a socket", unix_socket, ("talk.md: is no regular file",)),
    HostileFolder("a folder named as a file", file("x.md/y.md"), documents=2),
    HostileFolder("a name in Latin-1", file(b"caf\xe9.md"), documents=2),
    HostileFolder("a folder in Latin-1", file(b"\xff\xfe/\xe9t\xe9.txt"), documents=2),
    HostileFolder("a bad name and a bad body", file(b"\xe9.pdf", "x"), (r"\udce9.pdf",)),
    HostileFolder(
        "a name of two lines", file("a\nskipped good.md: all is lost.pdf", "x"), (r"a\nskipped",)
    ),
    HostileFolder(
        "a name that commands the terminal", file("\x1b[2J\x1b]0;x\x07\u202e.pdf", "x"), ("\\x1b",)
    ),
    HostileFolder("a long name", file("n" * 250 + ".pdf", "x"), ("n" * 250,)),
    HostileFolder("an address in a name", file("%2e%2e%2f?q#f http:.md"), documents=2),
    HostileFolder("SQL in a name", file("'; DROP TABLE documents; --.md"), documents=2),
    HostileFolder("options in a name", both(file("-rf.md"), file(" .md", "More.")), documents=3),
    HostileFolder("suffixes in capitals", both(file("A.MD"), file("B.TxT", "B.")), documents=3),
    HostileFolder(
        "codecs that are none",
        both(*(file(f"{name}.html", page(f"<meta charset={name}>")) for name in CODECS)),
        documents=1 + len(CODECS),
    ),
    HostileFolder(
        "XML in a codec that is none",
        file("x.xhtml", b"<?xml version='1.0' encoding='idna'?>" + page("")),
        documents=2,
    ),
    HostileFolder("a broken PDF", file("b.pdf", b"%PDF-1.7\n\xff"), ("b.pdf: ",)),
    HostileFolder("a page as PDF", file("b.pdf", page("")), documents=2),
    HostileFolder("an empty file", file("e.md", ""), ("e.md: holds no text",)),
    HostileFolder("nothing but blanks", file("e.md", " \n\t" * 99_999), ("holds no text",)),
    HostileFolder("noise", file("n.txt", NOISE), ("uncertain encoding of n.txt",), 2),
    HostileFolder("zeros", sparse("z.txt", 8_000_000), ("z.txt: holds no text",)),
    HostileFolder("UTF-16 without its mark", file("u.txt", TEXT.encode("utf-16-le")), documents=2),
    HostileFolder("halves of characters", file("s.txt", b"x \xed\xa0\x80 y " * 9), (), 2),
    HostileFolder("few letters", file("f.txt", "déjà".encode("cp1252")), ("read as ",), 2),
    HostileFolder("larger than allowed", sparse("big.md", 10**13), ("larger than 50 MB",)),
    HostileFolder("a file of /proc", link("m.md", "/proc/self/maps"), (OUTSIDE,)),
    HostileFolder(
        "a forbidden file", forbidden_file, () if ROOT else ("Permission",), 2 if ROOT else 1
    ),
    HostileFolder(
        "a forbidden folder", forbidden_folder, () if ROOT else ("Permission",), 2 if ROOT else 1
    ),
    HostileFolder("150 folders deep", deep(150, "d"), ("folders deep",)),
    HostileFolder("longer than a path", deep(90, "d" * 90), documents=2),
    HostileFolder("5,000 documents", many(5_000, "{}.md", "Number {}."), documents=5_001),
    HostileFolder("3,000 links", many_links, ("and 2980 more files skipped",)),
    HostileFolder("2,000 kinds", many(2_000, "x.k{}"), ("2000 files of kinds", "and 1980 more")),
    HostileFolder(
        "kinds that are not read",
        both(*(file(f"a.{kind}") for kind in ("docx", "epub", "json", "csv")), file("README")),
        ("5 files of kinds that are not read", ".docx 1", ".epub 1", ".csv 1", "no suffix 1"),
    ),
    HostileFolder("one word of 3 MB", file("w.txt", "a" * 3_000_000), documents=2),
    HostileFolder("Chinese without a stop", file("c.txt", "潮" * 500_000), documents=2),
    HostileFolder("a heading of 2 MB", file("h.md", "# " + "x " * 1_000_000), documents=2),
    HostileFolder("lines without end", file("l.txt", "a\n\n" * 500_000), documents=2),
    HostileFolder("every sign", file("s.md", UNEVEN * 200), documents=2),
    HostileFolder("queries as text", file("q.md", '" OR NEAR(* ^title:x' * 9_999), documents=2),
]
