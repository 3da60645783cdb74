"""The script that draws the diagrams, served by the site itself."""

import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import IO, cast

from mkdocs.exceptions import PluginError
from project import ROOT

# Not newer: from 11.14 on arrow heads have other names than those that Material 9.8 colours, and
# in the dark nobody sees them.
VERSION = "11.13.0"
SHA256 = "3e2002bf333907fae7c1d6860bbc78f5da417bc70b64f3d2268581ba0ba8b96a"
URI = "assets/mermaid.min.js"


def script() -> Path:
    """Return Mermaid's script, from npm the first time and from the cache after that."""
    cache = ROOT / ".cache" / "mermaid"
    package, script = cache / f"mermaid-{VERSION}.tgz", cache / f"mermaid-{VERSION}.min.js"
    if not script.exists() or hashlib.sha256(script.read_bytes()).hexdigest() != SHA256:
        npm = shutil.which("npm")
        if not npm:
            raise PluginError("the diagrams' script comes from npm, once: install Node.js")
        cache.mkdir(parents=True, exist_ok=True)
        pack = [npm, "pack", f"mermaid@{VERSION}", "--silent", "--pack-destination", str(cache)]
        if subprocess.run(pack, stdout=subprocess.DEVNULL, check=False).returncode:  # noqa: S603 - fixed words, no shell
            raise PluginError(f"npm could not get mermaid {VERSION}: see above, and build again")
        with tarfile.open(package) as archive:
            member = cast("IO[bytes]", archive.extractfile("package/dist/mermaid.min.js"))
            script.write_bytes(member.read())
        if hashlib.sha256(script.read_bytes()).hexdigest() != SHA256:
            raise PluginError(f"mermaid {VERSION} is not what it was: compare SHA256 in {__file__}")
    return script
