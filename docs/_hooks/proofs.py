"""The tests as pages, and what leads to them: `::tests`, `::proved` and `::source`."""

import ast
import re
from pathlib import Path
from posixpath import dirname, relpath

from project import ROOT, PageError, boxed, fenced

CAPITALS = {name: name.title() for name in ("ada", "bob", "eve")} | {
    name: name.upper() for name in ("asgi", "cors", "css", "html", "http", "json", "rst", "tcp")
}


def suites() -> dict[str, Path]:
    """Return each file of tests, the steps' first, by its import: `browser.test_step01_echo`."""
    folder = ROOT / "tests"
    found = [*folder.glob("test_*.py"), *folder.glob("browser/test_*.py")]
    found.sort(key=lambda path: ("_step" not in path.stem, path.stem, path.parent != folder))
    return {".".join(path.relative_to(folder).with_suffix("").parts): path for path in found}


def uri(suite: str) -> str:
    """Return the page of a file of tests."""
    return f"tests/{suite.replace('.', '/')}.md"


def title(suite: str) -> str:
    """Return what a file of tests is called on the site: "Step 3 · broadcast"."""
    where, _, name = suite.rpartition("test_")
    step = re.match(r"step0*(\d+)_", name)
    text = f"Step {step[1]} · {sentence(name[step.end() :])}" if step else sentence(name)
    return text + (", in a browser" if where else "")


def sentence(test: str) -> str:
    """Return a test's name as the sentence it is."""
    words = (CAPITALS.get(word, word) for word in test.removeprefix("test_").split("_"))
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def tests_in(suite: str) -> dict[str, slice]:
    """Return which lines of a file of tests are which test, its decorators included."""
    return {
        node.name: slice(min(n.lineno for n in [node, *node.decorator_list]) - 1, node.end_lineno)
        for node in ast.parse(suites()[suite].read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    }


def page(suite: str) -> str:
    """Return the page of a file of tests: each test with its source, then what they share."""
    source = suites()[suite].read_text("utf-8")
    lines = source.splitlines()
    # Readers search for answers; a test is rarely the best one.
    parts = ["---\nsearch:\n  boost: 0.3\n---", f"# {title(suite)}"]
    parts.append(ast.get_docstring(ast.parse(source)) or "")
    for name, where in tests_in(suite).items():
        parts += [f"## {sentence(name)} {{ #{name} }}", fenced("\n".join(lines[where]), "python")]
    for where in reversed(tests_in(suite).values()):
        del lines[where]
    shared = re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines))
    return "\n\n".join([*parts, boxed('??? note "The rest of the file"', fenced(shared, "python"))])


def link(suite: str, test: str, page: str) -> str:
    """Return a link from a page to a test. Raises `PageError` if there is no such test."""
    if suite not in suites():
        raise PageError(f"there is no tests/{suite.replace('.', '/')}.py")
    if test not in tests_in(suite):
        raise PageError(f"{suite} has no {test!r}; it has {', '.join(tests_in(suite))}")
    return f"[{sentence(test)}]({relpath(uri(suite), dirname(page))}#{test})"


def listed(step: str, page: str) -> str:
    """List the tests of a step, those in a browser last."""
    own = f"test_{step}"
    if own not in suites():
        raise PageError(f"there is no tests/{own}.py")
    found = [own, *(suite for suite in suites() if suite.startswith(f"browser.{own}"))]
    return "\n".join(
        f"- {link(suite, test, page)}{' (in a browser)' if suite != own else ''}"
        for suite in found
        for test in tests_in(suite)
    )


def proved(wanted: str, page: str) -> str:
    """Link to the tests that prove what was just said: `test_step02_json.test_this ...`."""
    if not wanted:
        raise PageError("::proved wants the names of tests: test_step02_json.test_this")
    links = [link(*name.rpartition(".")[::2], page) for name in wanted.split()]
    return f"Proved by: {' · '.join(links)}\n{{ .proved }}"


def source(wanted: str, page: str) -> str:
    """Show one test as it stands in its file: `test_step02_json.test_this`."""
    suite, _, test = wanted.rpartition(".")
    link(suite, test, page)
    lines = suites()[suite].read_text("utf-8").splitlines()
    where = f"tests/{suite.replace('.', '/')}.py"
    return fenced("\n".join(lines[tests_in(suite)[test]]), f'python title="{where}"')
