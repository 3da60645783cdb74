"""Makes what a step needs to run in a browser. By hand: `build.py FOLDER`.

Everything is pinned with a hash: Pyodide and the editor in package-lock.json, the Python packages
in uv.lock, so that a browser runs the versions that the tests ran with.
"""

import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
CACHE = ROOT / ".cache" / "runner"
NEVER_IMPORTED = ["click", "colorama", "idna"]
AN_HOUR = 3600
PYODIDE = ["pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm"]


class BuildError(Exception):
    """The runner cannot be made; the text says why, and the cure."""


def cached() -> Path:
    """Return the folder with what was made of the same inputs, now or before."""
    wanted = requirements()
    key = hashlib.sha256(wanted.encode())
    for path in sources():
        key.update(hashlib.sha256(path.read_bytes()).digest())
    kept = CACHE / key.hexdigest()[:16]
    if not kept.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=CACHE, prefix="making-") as work:
            # In one move, at the end: what is interrupted leaves nothing that looks whole.
            made = make(Path(work), wanted)
            if not kept.exists():
                made.rename(kept)
        for old in CACHE.iterdir():
            # Not what another build may be using just now.
            if old != kept and time.time() - old.stat().st_mtime > AN_HOUR:
                shutil.rmtree(old)
    return kept


def sources() -> list[Path]:
    """Return the files that say how and of what all is made."""
    return [path for path in sorted(HERE.iterdir()) if path.is_file()]


def requirements() -> str:
    """Return the Python packages of the runner with their hashes, as uv.lock has them."""
    export = ["export", "--frozen", "--quiet", "--only-group", "runner", "--no-header"]
    leave_out = [f"--no-emit-package={name}" for name in NEVER_IMPORTED]
    # The uv that runs this need not be on PATH: `make` may have one of its own.
    return run([os.environ.get("UV", "uv"), *export, "--no-annotate", *leave_out], ROOT)


def make(work: Path, wanted: str) -> Path:
    """Make everything in a folder of its own; return where in it the result is."""
    made = work / "made"
    (made / "runtime").mkdir(parents=True)
    for path in sources():
        shutil.copy(path, work)
    run(["npm", "ci", "--ignore-scripts", "--silent"], work)
    pyodide = work / "node_modules" / "pyodide"
    for name in PYODIDE:
        shutil.copy(pyodide / name, made / "runtime")
    info = json.loads((pyodide / "pyodide-lock.json").read_bytes())["info"]
    # Pyodide's own list names packages on another host, which is never asked.
    lock = json.dumps({"info": info, "packages": {}})
    (made / "runtime" / "pyodide-lock.json").write_text(lock)
    download(wanted, work, info)
    run(["node", "compile.mjs"], work)
    return made


def download(wanted: str, work: Path, info: dict[str, str]) -> None:
    """Get the wheels for the platform of this Pyodide."""
    (work / "requirements.txt").write_text(wanted)
    major, minor, _ = info["python"].split(".")
    tags = [f"--platform=pyemscripten_{info['abi_version']}_wasm32", f"--abi=cp{major}{minor}"]
    # uv does not know that platform.
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download"]
    locked = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement"]
    python = ["--implementation=cp", f"--python-version={major}.{minor}"]
    where = ["--dest", str(work / "wheels")]
    try:
        run([*pip, *where, *tags, *python, *locked, "requirements.txt"], work)
    except BuildError as error:
        if missing := re.search(r"No matching distribution found for (\S+)", str(error)):
            raise BuildError(
                f"{missing[1]} has no wheel for this Pyodide ({' '.join(tags)}): take the Pyodide "
                f"in {HERE.relative_to(ROOT)}/package.json and the pydantic in uv.lock that fit"
            ) from None
        raise


def run(command: list[str], folder: Path) -> str:
    """Run a command; return what it printed. Raises `BuildError` with its last lines."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words, no shell
    except FileNotFoundError:
        where = {"npm": "install Node.js", "node": "install Node.js", "uv": "install uv"}
        cure = where.get(Path(command[0]).name, "install it")
        raise BuildError(f"the runner needs {command[0]}, once: {cure}") from None
    if done.returncode:
        raise BuildError(f"{' '.join(command[:3])} failed:\n{(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


def weight(folder: Path) -> int:
    """Return how many bytes a first run loads of a folder, where a server compresses."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return sum(len(gzip.compress(path.read_bytes(), 9)) for path in files)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    try:
        shutil.copytree(cached(), target, dirs_exist_ok=True)
    except BuildError as error:
        sys.exit(str(error))
    print(f"{weight(target) / 1e6:.2f} MB compressed")  # noqa: T201 - it is what was asked for
