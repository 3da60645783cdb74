"""What MkDocs calls: each function is named after its event."""

from posixpath import relpath

import diagrams
import proofs
from directives import expanded
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from project import PageError


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the pages of tests to the end of the navigation."""
    tests = [{proofs.title(suite): proofs.uri(suite)} for suite in proofs.suites()]
    config.nav = [*(config.nav or []), {"The tests": tests}]
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Write the pages of tests; bring the script that draws, if any page has a diagram."""
    for suite in proofs.suites():
        files.append(File.generated(config, proofs.uri(suite), content=proofs.page(suite)))
    if any("```mermaid" in file.content_string for file in files.documentation_pages()):
        script = str(diagrams.script())
        files.append(File.generated(config, diagrams.URI, abs_src_path=script))
    return files


def on_page_markdown(markdown: str, *, page: Page, files: Files, **_: object) -> str:
    """Expand a page's directives, or end the build with the page, the line and the cure."""
    sources = {file.src_uri: file.content_string for file in files.documentation_pages()}
    try:
        return expanded(markdown, page.file.src_uri, sources)
    except PageError as error:
        raise PluginError(str(error)) from None


def on_post_page(output: str, *, page: Page, **_: object) -> str:
    """Load the script that draws, on pages with something to draw.

    Material finds it there already, and asks no other host for it.
    """
    if '<pre class="mermaid">' not in output:
        return output
    script = relpath(diagrams.URI, page.url or ".")
    return output.replace("</body>", f'<script src="{script}"></script></body>')
