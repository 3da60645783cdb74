"""What a page may ask for, outside fences and alone on a line: `::name what it wants`."""

import re
from pathlib import PurePosixPath
from textwrap import indent

import proofs
import runner
from commands import run
from listings import show
from project import PageError, Piece, pieces
from protocol import asyncapi, protocol
from questions import finds, questions
from recordings import record


def expanded(markdown: str, page: str, sources: dict[str, str]) -> str:
    """Return a page with its directives expanded and its recordings made.

    `sources` are all pages, as they are written. Raises `PageError` with the page and the line.
    """
    # The front matter has been taken away, and its lines count too.
    skipped = sources[page].count("\n") - markdown.count("\n")
    parts, heading = [], ""
    for piece in pieces(markdown):
        try:
            text = expand(piece, heading, page, sources)
        except PageError as error:
            line = skipped + piece.line + error.line
            raise PageError(f"{page}:{line}: {error}") from None
        margin = piece.raw[: len(piece.raw) - len(piece.raw.lstrip())]
        parts.append(piece.raw if text is None else indent(text, margin))
        heading = piece.body or heading
    return "\n".join(parts)


def expand(piece: Piece, heading: str, page: str, sources: dict[str, str]) -> str | None:
    """Return what stands in a page for one of its pieces; None if that is the piece itself."""
    if piece.info is not None:
        fence, _, argument = piece.info.partition(" ")
        runs = {"record": record, "run": run}
        return runs[fence](piece.body, argument) if fence in runs else None
    directive = re.fullmatch(r"::([a-z]+)(?: +(.*))?", piece.body)
    if not directive:
        return None
    name, wanted, step = directive[1], directive[2] or "", PurePosixPath(page).stem
    match name:
        case "show":
            return show(step, wanted)
        case "run":
            return runner.run(step, page, wanted)
        case "tests":
            return proofs.listed(step, page)
        case "proved":
            return proofs.proved(wanted, page)
        case "source":
            return proofs.source(wanted, page)
        case "protocol":
            return protocol()
        case "asyncapi":
            return asyncapi()
        case "finds":
            return finds(heading, wanted)
        case "questions":
            return questions(page, sources)
    known = "show, run, tests, proved, source, protocol, asyncapi, finds, questions"
    raise PageError(f"there is no directive ::{name}; there are {known}")
