"""What the hooks share: where things are, what a step is, how Markdown is read and written."""

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent, indent
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class PageError(Exception):
    """A page asks for what cannot be had: the text says what, and the cure.

    `line` counts from the line of the page that asked.
    """

    def __init__(self, text: str, line: int = 0) -> None:
        super().__init__(text)
        self.line = line


class Piece(NamedTuple):
    """One line of a page, or one whole fence; only a fence has an `info`."""

    line: int
    raw: str
    body: str
    info: str | None = None


def pieces(markdown: str) -> Iterator[Piece]:
    """Take a page apart; its pieces' `raw`, joined by newlines, are the page again."""
    lines = markdown.split("\n")
    end = 0
    while end < len(lines):
        start, end = end, end + 1
        opening = re.match(r"\s*(`{3,}|~{3,})([^`]*)$", lines[start])
        if not opening:
            yield Piece(end, lines[start], lines[start].strip())
            continue
        closing = re.compile(rf"\s*{opening[1]}{opening[1][0]}*\s*")
        while end < len(lines) and not closing.fullmatch(lines[end]):
            end += 1
        body = dedent("\n".join(lines[start + 1 : end]))
        end += 1
        yield Piece(start + 1, "\n".join(lines[start:end]), body, opening[2].strip())


def steps() -> list[str]:
    """Return the names of the steps, in their order."""
    return sorted(path.parent.name for path in ROOT.glob("steps/step*/main.py"))


def files(step: str) -> dict[str, str]:
    """Return the text of each file of a step, by its path in the step's folder.

    Without `__init__.py`, which only makes the folder a package.
    """
    folder = ROOT / "steps" / step
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "__init__.py" and path.parent.name != "__pycache__"
    }


def files_before(step: str) -> dict[str, str]:
    """Return the files of the step before; there are none before the first."""
    earlier = [name for name in steps() if name < step]
    return files(earlier[-1]) if earlier else {}


def fenced(text: str, info: str) -> str:
    """Put text into a fence longer than any run of backticks in it."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{info}\n{text.rstrip()}\n{ticks}"


def boxed(opening: str, text: str) -> str:
    """Put text into a tab or a closed box."""
    return f"{opening}\n\n{indent(text, '    ')}\n"


def tabs(first: tuple[str, str], second: tuple[str, str]) -> str:
    """Put two texts under tabs with these titles."""
    # The exclamation mark starts a new group: two listings in a row stay two.
    return boxed(f'===! "{first[0]}"', first[1]) + "\n" + boxed(f'=== "{second[0]}"', second[1])


def cached(make: Callable[[], str], *ingredients: str | Path) -> str:
    """Return what `make` made of the same texts and files before; else make it now, and keep it."""
    key = hashlib.sha256()
    for item in (*ingredients, *sorted(Path(__file__).parent.glob("*.py"))):
        data = item.read_bytes() if isinstance(item, Path) else item.encode()
        key.update(b"%d:%b" % (len(data), data))
    kept = ROOT / ".cache" / "recordings" / f"{key.hexdigest()}.md"
    if not kept.exists():
        made = make()
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(made, "utf-8")
    return kept.read_text("utf-8")
