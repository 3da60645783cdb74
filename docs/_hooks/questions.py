"""`::finds` and `::questions`: questions, and the exact texts and codes that lead to them."""

import re
from posixpath import dirname, relpath

from project import PageError, pieces

# The id is written out: a link to a computed one breaks when a question is reworded.
QUESTION = re.compile(r"### (.+?) \{ ?#([\w-]+) ?\}")


def code(text: str) -> str:
    """Put text into a code span, backticks and all."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def finds(heading: str, wanted: str) -> str:
    """Show by what a question is found: texts and codes, ` | ` between them."""
    if not QUESTION.fullmatch(heading):
        raise PageError(f"::finds belongs under `### A question? {{ #its-id }}`, not {heading!r}")
    return f"Found by: {' · '.join(map(code, wanted.split(' | ')))}\n{{ .finds }}"


def questions(page: str, sources: dict[str, str]) -> str:
    """Return the index of all questions, sorted by what they are found by."""
    rows = set()
    for source, markdown in sources.items():
        heading = title = ""
        for piece in pieces(markdown):
            if piece.info is None and piece.body.startswith("# "):
                title = piece.body[2:]
            asked = QUESTION.fullmatch(heading)
            # Where there is no question, the page itself complains, with the line.
            if asked and piece.info is None and piece.body.startswith("::finds "):
                link = f"[{asked[1]}]({relpath(source, dirname(page))}#{asked[2]})"
                for text in piece.body.removeprefix("::finds ").split(" | "):
                    rows.add((text.casefold(), f"| {code(text)} | {link} | {title} |"))
            heading = piece.body or heading
    return "\n".join(
        ["| You see | Question | Page |", "|---|---|---|", *(row for _, row in sorted(rows))]
    )
