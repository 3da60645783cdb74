"""Which log it is that all processes share: CHAT_LOG says so."""

from .log import MessageLog
from .settings import settings
from .sqlite_log import SqliteLog


def log_at(url: str) -> MessageLog:
    """Return the log of `sqlite:///chat.db` or `redis://host:6379`."""
    if url.startswith("sqlite:"):
        return SqliteLog(url.removeprefix("sqlite:///"))
    try:
        # Not above: who keeps the log in a file needs no such package.
        from .redis_log import RedisLog
    except ModuleNotFoundError as missing:
        raise SystemExit(f"CHAT_LOG: {missing}. Install it: uv sync --group scale") from None
    return RedisLog(url)


history = log_at(settings.log)
