"""`::show`: a step's file as it is, and what changed in it."""

from difflib import unified_diff

from project import PageError, boxed, fenced, files, files_before, steps, tabs

LANGUAGES = {"py": "python", "js": "javascript", "html": "html", "css": "css"}


def show(step: str, wanted: str) -> str:
    """Show a file that is new in a step whole, and one that changed also as a computed diff.

    `wanted` is its path in the step's folder, with `folded` after it for a closed box.
    """
    name, *options = wanted.split() or [""]
    if step not in steps():
        raise PageError("::show belongs on a step's page, docs/steps/<the step's folder>.md")
    if options not in ([], ["folded"]):
        raise PageError(f"::show {wanted}: after the path comes `folded` or nothing")
    if name not in files(step):
        raise PageError(f"steps/{step} has no {name!r}; it has {', '.join(files(step))}")
    now, before = files(step)[name], files_before(step).get(name)
    if now == before:
        raise PageError(f"{name} did not change in {step}: take this ::show away")
    language = LANGUAGES.get(name.rpartition(".")[2], "text")
    listing, size = fenced(now, f'{language} title="{name}"'), f"{len(now.splitlines())} lines"
    if before is not None:
        # The first two lines are the --- and +++ of a patch, with nothing to say here.
        diff = list(unified_diff(before.splitlines(), now.splitlines(), lineterm=""))[2:]
        plus, minus = (sum(line.startswith(sign) for line in diff) for sign in "+-")
        size = f"+{plus} −{minus} lines"  # noqa: RUF001 - a minus as wide as the plus
        changed = fenced("\n".join(diff), f'diff title="{name}"')
        listing = tabs(("What changed", changed), ("The whole file", listing))
    return boxed(f'??? example "{name} · {size}"', listing) if options else listing
