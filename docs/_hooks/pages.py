"""What MkDocs calls: each function is named after its event."""

import diagrams
import proofs
import runner
from build import BuildError
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
    """Write the pages of tests; bring what draws and what runs, if any page has use for it."""
    markdown = [file.content_string for file in files.documentation_pages()]
    for suite in proofs.suites():
        files.append(File.generated(config, proofs.uri(suite), content=proofs.page(suite)))
    if any("```mermaid" in text for text in markdown):
        script = str(diagrams.script())
        files.append(File.generated(config, diagrams.URI, abs_src_path=script))
    try:
        for uri, content in runner.site_files(markdown):
            files.append(File.generated(config, uri, content=content))
    except BuildError as error:
        raise PluginError(str(error)) from None
    return files


def on_page_markdown(markdown: str, *, page: Page, files: Files, **_: object) -> str:
    """Expand a page's directives, or end the build with the page, the line and the cure."""
    sources = {file.src_uri: file.content_string for file in files.documentation_pages()}
    try:
        return expanded(markdown, page.file.src_uri, sources)
    except PageError as error:
        raise PluginError(str(error)) from None
