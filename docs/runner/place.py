"""Makes up for what a browser's Python lacks, before anything else is imported."""

import asyncio
import sys
import time
import types
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import anyio.to_thread

Args = TypeVarTuple("Args")
Result = TypeVar("Result")


async def in_place(function: Callable[[*Args], Result], *args: *Args, **_options: object) -> Result:
    """Call a function where others would hand it to a thread: here there is only one."""
    return function(*args)


# Before FastAPI, which takes the function by its name.
anyio.to_thread.run_sync = in_place  # type: ignore[assignment]


def later(
    loop: asyncio.AbstractEventLoop,
    _pool: object,
    function: Callable[[*Args], Result],
    *args: *Args,
) -> asyncio.Future[Result]:
    """Call a function in a turn of its own, where others have a thread of a pool call it."""
    result = loop.create_future()

    def call() -> None:
        if result.cancelled():
            return
        try:
            result.set_result(function(*args))
        except Exception as error:
            result.set_exception(error)

    loop.call_soon(call)
    return result


# Pyodide's own is done before anybody else has had a turn, as no thread is.
import_module("pyodide.webloop").WebLoop.run_in_executor = later

# Pyodide's own let other tasks run meanwhile, and on a server they do not.
time.sleep = getattr(time.sleep, "__wrapped__", time.sleep)
asyncio.run = getattr(asyncio.run, "__wrapped__", asyncio.run)

# A file that changed may be as long as before, and younger by less than a second.
sys.dont_write_bytecode = True

# uvicorn without its command line, which would bring click along.
uvicorn = types.ModuleType("uvicorn")
uvicorn.__path__ = [str(Path(anyio.__file__).parents[1] / "uvicorn")]
sys.modules["uvicorn"] = uvicorn
from uvicorn.config import Config  # noqa: E402

vars(uvicorn)["Config"] = Config
