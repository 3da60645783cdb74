"""Runs inside Pyodide: makes what a browser imports, with the interpreter that will import it.

Compiled ahead, FastAPI starts in half the time. Docstrings nobody reads there are left out.
"""

import ast
import marshal
import re
import sys
import sysconfig
import zipfile
from importlib.util import MAGIC_NUMBER, source_hash
from pathlib import Path

WORK = Path("/work")
UNUSED_PACKAGES = re.compile(
    r"\.pyi$|/py\.typed$|\.dist-info/(?!METADATA$|entry_points\.txt$|licenses/)"
    r"|^pydantic/(v1/|mypy\.py$)|^anyio/(pytest_plugin|_backends/_trio)\.py$"
    r"|^fastapi/(cli\.py|__main__\.py|\.agents/)"
    r"|^(fastapi|starlette)/testclient\.py$"
    r"|^uvicorn/(main|__main__|workers|_subprocess)\.py$|^uvicorn/(supervisors|loops/z?uvloop)"
    r"|^uvicorn/.*(httptools|zttp|zttp_h2|wsproto|websockets)_impl\.py$"
    r"|^websockets/(asyncio|legacy|sync|trio)/|^websockets/(cli|__main__)\.py$|\.c$"
)
# Tools, terminals, processes, mail and old encodings: no page of a browser has a use for them.
UNUSED_STDLIB = re.compile(
    r"^(_aix_support|_android_support|_ios_support|_osx_support|_pyio|_pyrepl|__phello__|antigravity"
    r"|bdb|cmd|compileall|cProfile|curses|dbm|doctest|ftplib|idlelib|imaplib|mailbox|modulefinder"
    r"|multiprocessing|netrc|optparse|pdb|pickletools|plistlib|poplib|profile|pstats|py_compile"
    r"|pyclbr|pydoc|rlcompleter|shelve|smtplib|symtable|tabnanny|tarfile|this|timeit|trace"
    r"|tracemalloc|turtle|unittest|venv|wave|wsgiref|xml|xmlrpc|zipapp)(\.py$|/)"
    r"|^asyncio/(__main__|proactor_events|tools|windows_\w+)\.py$"
    r"|^concurrent/(futures/(process|interpreter)|interpreters/)|^ctypes/macholib"
    r"|^encodings/(big5|cp(?!437)|euc|gb|hp_|hz|iso(?!8859_1\.)|johab|koi8|kz|mac|palmos|ptcp"
    r"|shift|tis|utf_7)"
)
# anyio reads the text of its own packages.
KEPT_AS_TEXT = re.compile(r"^anyio/(.*/)?__init__\.py$")


def compiled(source: bytes, path: str) -> bytes:
    """Return the .pyc of a module: never checked against its source, which is not there."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        match node:
            # Empty and not gone: some modules do something with their own.
            case (
                ast.Module(body=[ast.Expr(value=ast.Constant(value=str()) as text), *_])
                | ast.ClassDef(body=[ast.Expr(value=ast.Constant(value=str()) as text), *_])
                | ast.FunctionDef(body=[ast.Expr(value=ast.Constant(value=str()) as text), *_])
                | ast.AsyncFunctionDef(body=[ast.Expr(value=ast.Constant(value=str()) as text), *_])
                | ast.Call(func=ast.Name(id="Doc"), args=[ast.Constant(value=str()) as text])
            ):
                text.value = ""
    code = marshal.dumps(compile(tree, path, "exec", dont_inherit=True))
    return MAGIC_NUMBER + (1).to_bytes(4, "little") + source_hash(source) + code


def pack(archives: list[Path], target: Path, unused: re.Pattern[str], prefix: str) -> None:
    """Put the files of archives into one that is the same, byte for byte, wherever it is made."""
    with zipfile.ZipFile(target, "w") as packed:
        for archive in map(zipfile.ZipFile, archives):
            for name in sorted(archive.namelist()):
                if name.endswith("/") or unused.search(name):
                    continue
                data = archive.read(name)
                if name.endswith(".py") and not KEPT_AS_TEXT.match(name):
                    data, name = compiled(data, f"{prefix}/{name}"), f"{name}c"
                elif name.endswith("/METADATA"):
                    data = data.split(b"\n\n")[0]  # the rest is the package's description
                info = zipfile.ZipInfo(name)
                packed.writestr(info, data, zipfile.ZIP_DEFLATED, compresslevel=9)


runtime = WORK / "made" / "runtime"
wheels, packages = sorted((WORK / "wheels").glob("*.whl")), sysconfig.get_path("purelib")
pack(wheels, runtime / "packages.zip", UNUSED_PACKAGES, packages)
stdlib = next(path for path in sys.path if path.endswith(".zip"))
pack([Path(stdlib)], runtime / "python_stdlib.zip", UNUSED_STDLIB, stdlib)
