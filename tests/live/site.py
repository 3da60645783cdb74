"""The built site on a server of the tests, as GitHub Pages serves a project: in a folder."""

import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from mimetypes import guess_type
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.browser.conftest import ROOT

SITE = Path(os.environ.get("SITE_DIR", ROOT / "site"))
"""Where it was built: with `mkdocs build --site-dir`, elsewhere."""
FOLDER = "/some/folder/"
"""Static hosts give each project a folder: an address that begins with / leads out of it."""


class Site(ThreadingHTTPServer):
    """The site, what was asked of it, and how a test breaks it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server_port}"
        self.url = f"http://{self.host}{FOLDER}"
        self.asked: list[str] = []
        """The paths of all requests."""
        self.before: dict[str, str] = {}
        """Text to put before that of a file: `{"runner/runner.js": "a syntax error;"}`."""
        self.missing: set[str] = set()
        """Files that are not found."""
        self.cut: set[str] = set()
        """Files whose download breaks off in the middle."""

    def mend(self) -> None:
        """Serve again what was built."""
        self.before.clear()
        self.missing.clear()
        self.cut.clear()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that leaves in the middle of an answer."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Serves the site with the headers that GitHub Pages gives, and none besides."""

    server: Site

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(path)
        name = path.removeprefix(FOLDER)
        file = SITE / (name + "index.html" if name.endswith("/") or not name else name)
        if not path.startswith(FOLDER) or not file.is_file() or name in self.server.missing:
            self.send_error(404)
            return
        content = self.server.before.get(name, "").encode() + file.read_bytes()
        if name == "sitemap.xml":
            # As if the site had been built for this address: pages are turned without a load only
            # to those that the sitemap names.
            home = min(re.findall(b"<loc>(.*?)</loc>", content), key=len)
            content = content.replace(home, self.server.url.encode())
        self.send_response(200)
        self.send_header("Content-Type", guess_type(file.name)[0] or "application/octet-stream")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "max-age=600")
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if name in self.server.cut else content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served() -> Iterator[Site]:
    """Serve the built site."""
    assert (SITE / "index.html").is_file(), "There is no site. Build it first: make site"
    with Site() as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        yield site
        site.shutdown()
        thread.join()
