"""What the page of step 13 says about numbers, and about where its design ends."""

import json
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from steps.step13_scale.history import log_at
from steps.step13_scale.log import Unavailable
from tests import capacity
from tests.redis_server import Redis


def test_the_figure_and_the_tables_show_what_was_measured() -> None:
    data = json.loads(capacity.DATA.read_text("utf-8"))
    for path, text in capacity.drawn(data).items():
        assert path.read_text("utf-8") == text


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[str]:
    """Start a Redis Cluster, if the smallest: of one server, which has all slots."""
    server = Redis(tmp_path, "--save", "", "--cluster-enabled", "yes")
    server.start()
    try:
        with closing(redis.Redis.from_url(server.url, decode_responses=True)) as connection:
            ask: Any = connection.execute_command
            ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while "cluster_state:ok" not in ask("CLUSTER", "INFO"):
                pass
        yield server.url
    finally:
        server.kill()


async def test_a_cluster_takes_messages_and_cannot_be_followed(cluster: str) -> None:
    log = log_at(cluster)
    async with log.opened():
        # The stream of a room and its keys are in one slot, for the braces in their names.
        assert [await log.append(room, "ada", "hello", None) for room in ("a", "b", "a")] == [
            1,
            1,
            2,
        ]
        assert [message.id for message in await log.since("a", 0)] == [1, 2]
        with pytest.raises(Unavailable) as unavailable:
            await anext(log.follow({"a": 0, "b": 0}))
        assert isinstance(unavailable.value.__cause__, redis.exceptions.ClusterCrossSlotError)
