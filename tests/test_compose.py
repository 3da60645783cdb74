"""compose.yaml: its Caddy before real replicas, its Redis behind them, without any container."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from redis.asyncio import Redis as Connection
from websockets.exceptions import ConnectionClosed

from steps.step13_scale.settings import Settings
from tests.caddy import CADDY, Caddy, Names
from tests.conftest import ROOT, Client, Process, StartProcess, browse, free_address, sign_in
from tests.redis_server import Redis

COMPOSE = str(Path(sys.executable).with_name("docker-compose"))
SECRET = "a secret of 32 characters or more"  # noqa: S105 - of no one's
StartChat = Callable[..., Awaitable[tuple["Chat", list[Process]]]]


def compose(**given: str) -> subprocess.CompletedProcess[str]:
    """Have Compose read the file, with nothing in the environment of the chat but this."""
    env = {name: text for name, text in os.environ.items() if not name.startswith("CHAT_")}
    command = [COMPOSE, "--env-file", os.devnull, "config", "--format", "json"]
    return subprocess.run(
        command, cwd=ROOT, env=env | given, capture_output=True, text=True, check=False
    )


def composed(**given: str) -> dict[str, Any]:
    """Return the file as Compose understands it."""
    done = compose(CHAT_SECRET=SECRET, **given)
    assert (done.returncode, done.stderr) == (0, "")
    understood: dict[str, Any] = json.loads(done.stdout)
    return understood


def caddyfile(**given: str) -> str:
    """Return the file that Caddy gets."""
    content: str = composed(**given)["configs"]["caddyfile"]["content"]
    return content


# What the file says


def test_without_a_secret_nothing_starts_and_a_sentence_says_why() -> None:
    for given in ({}, {"CHAT_SECRET": ""}):
        done = compose(**given)
        assert done.returncode != 0
        assert "CHAT_SECRET" in done.stderr
        assert "32 characters or more that nobody knows" in done.stderr


def test_nobody_but_caddy_can_be_reached() -> None:
    understood = composed()
    services, networks = understood["services"], understood["networks"]
    at = {name: set(service["networks"]) for name, service in services.items()}
    assert [name for name, service in services.items() if "ports" in service] == ["caddy"]
    # Who reaches a replica is believed what it says of a client: no one is there but Caddy.
    assert services["chat"]["environment"]["UVICORN_FORWARDED_ALLOW_IPS"] == "*"
    assert at == {"caddy": {"outside"}, "chat": {"outside", "inside"}, "redis": {"inside"}}
    assert networks["inside"]["internal"]


def test_every_setting_can_be_given_and_what_is_not_given_stays_as_it_is() -> None:
    settings = {f"CHAT_{name}".upper() for name in Settings.model_fields}
    given = composed(CHAT_RATE="5")["services"]["chat"]["environment"]
    # The image is production.
    assert settings - given.keys() == {"CHAT_ENVIRONMENT"}
    chosen = {name: given[name] for name in settings if given.get(name) is not None}
    log = "redis://redis:6379"
    assert chosen == {"CHAT_SECRET": SECRET, "CHAT_LOG": log, "CHAT_RATE": "5"}


def test_caddy_finds_nothing_to_complain_about(tmp_path: Path) -> None:
    file = tmp_path / "Caddyfile"
    file.write_text(caddyfile(), "utf-8")
    env = os.environ | {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    for command in (["fmt", "--diff", str(file)], ["validate", "--config", str(file)]):
        done = subprocess.run(
            [CADDY, *command], env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_site_with_a_name_is_served_over_https(tmp_path: Path) -> None:
    file = tmp_path / "Caddyfile"
    file.write_text(caddyfile(CHAT_SITE="chat.example.org"), "utf-8")
    done = subprocess.run([CADDY, "adapt", "--config", file], capture_output=True, check=True)
    [server] = json.loads(done.stdout)["apps"]["http"]["servers"].values()
    assert server["listen"] == [":443"]
    assert server["routes"][0]["match"] == [{"host": ["chat.example.org"]}]


# Caddy


class Chat:
    """The chat as compose.yaml has it: replicas, names that lead to them, and Caddy."""

    caddy: Caddy

    def __init__(self, start_process: StartProcess, names: Names, log: str) -> None:
        self.start_process, self.names = start_process, names
        self.port = free_address().partition(":")[2]
        given = composed()["services"]["chat"]["environment"].items()
        self.env = {name: text for name, text in given if text} | {"CHAT_LOG": log}
        self.app = self.env.pop("UVICORN_APP")

    async def replica(self, number: int) -> Process:
        """Start a replica; its name leads to it from then on."""
        host = f"127.0.0.{number + 2}"
        replica = await self.start_process(self.app, env=self.env, address=f"{host}:{self.port}")
        self.names.addresses.append(host)
        return replica


@pytest.fixture
async def start_chat(
    tmp_path: Path, redis_url: str, start_process: StartProcess
) -> AsyncIterator[StartChat]:
    """Start so many replicas and Caddy, with what the environment says."""
    loop = asyncio.get_running_loop()
    server, names = await loop.create_datagram_endpoint(Names, local_addr=("127.0.0.1", 0))
    host, port = server.get_extra_info("sockname")
    chat = Chat(start_process, names, redis_url)

    async def start(replicas: int, **given: str) -> tuple[Chat, list[Process]]:
        chat.caddy = Caddy(caddyfile(**given), tmp_path, chat.port, f"{host}:{port}")
        await chat.caddy.start()
        return chat, await asyncio.gather(*(chat.replica(number) for number in range(replicas)))

    yield start
    chat.caddy.stop()
    server.close()


def accepted(process: Process) -> list[str]:
    """Return the addresses of clients that a replica has accepted, as it knows them."""
    return re.findall(r"(\S+):0 - \"WebSocket .*accepted", process.printed())


async def texts(client: Client, count: int) -> list[tuple[int, str]]:
    """Return the next so many messages."""
    found: list[tuple[int, str]] = []
    while len(found) < count:
        frame = await client.receive()
        found += [(frame["id"], frame["text"])] if frame["type"] == "message" else []
    return found


async def test_people_at_different_replicas_hear_each_other_through_caddy(
    start_chat: StartChat,
) -> None:
    chat, replicas = await start_chat(2)
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                chat.caddy.connect(additional_headers=await sign_in(chat.caddy, name))
            )
            for name in ("ada", "bob", "cyd", "dan")
        ]
        # It leads each to where the fewest are.
        assert [len(accepted(replica)) for replica in replicas] == [2, 2]
        for client in clients:
            await client.say("hello")
        heard = [await texts(client, 4) for client in clients]
        assert heard == [[(number, "hello") for number in (1, 2, 3, 4)]] * 4


async def test_caddy_alone_is_believed_where_a_client_is(start_chat: StartChat) -> None:
    chat, [replica] = await start_chat(1)
    lies = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https"}
    async with browse(chat.caddy) as http:
        answer = await http.post("/session", json={"name": "ada"}, headers=lies)
    # A secure cookie would not come back over http.
    assert "secure" not in answer.headers["set-cookie"].lower()
    proof = {"authorization": f"Bearer {answer.json()['token']}"}
    async with chat.caddy.connect(
        additional_headers=proof | lies, local_addr=("127.0.0.9", 0)
    ) as ada:
        assert (await ada.receive())["type"] == "welcome"
    assert accepted(replica) == ["127.0.0.9"]


async def test_over_https_any_replica_knows_who_has_signed_in(start_chat: StartChat) -> None:
    chat, replicas = await start_chat(2, CHAT_SITE="localhost")
    async with httpx2.AsyncClient(
        base_url=f"https://{chat.caddy.address}", verify=chat.caddy.trust
    ) as http:
        cookie = (await http.post("/session", json={"name": "ada"})).headers["set-cookie"]
        assert "Secure" in cookie
        # To either: none is hers.
        while not all('"GET /session' in replica.printed() for replica in replicas):
            assert (await http.get("/session")).json() == {"name": "ada"}
        page = await http.get(f"http://{chat.caddy.plain}/")
        assert page.status_code == 308
        assert page.headers["location"].startswith("https://localhost")
    headers = {"cookie": cookie.partition(";")[0], "origin": f"https://{chat.caddy.address}"}
    async with (
        chat.caddy.connect_safely(additional_headers=headers) as ada,
        chat.caddy.connect_safely(additional_headers=headers) as again,
    ):
        await ada.say("safe")
        assert await texts(again, 1) == [(1, "safe")]


async def test_who_was_at_a_replica_that_was_killed_goes_on_at_another(
    start_chat: StartChat,
) -> None:
    chat, replicas = await start_chat(3)
    async with AsyncExitStack() as stack:

        async def come(who: dict[str, str], path: str = "") -> Client:
            return await stack.enter_async_context(chat.caddy.connect(path, additional_headers=who))

        people = [await sign_in(chat.caddy, name) for name in ("ada", "bob", "cyd")]
        clients = [await come(who) for who in people]
        await clients[0].say("before")
        assert [await texts(client, 1) for client in clients] == [[(1, "before")]] * 3

        replicas[0].kill()
        ends = [asyncio.create_task(client.closed()) for client in clients]
        [end], others = await asyncio.wait(ends, return_when="FIRST_COMPLETED")
        assert end.result()[0] == 1006
        # One was at each: the others have noticed nothing.
        assert len(others) == 2
        for other in others:
            other.cancel()
        lost = ends.index(end)
        await clients[lost - 1].say("meanwhile")
        async with browse(chat.caddy) as http:
            # The name server still has its address, and whom Caddy sends there has to go elsewhere.
            assert {(await http.get("/healthz")).status_code for _ in range(20)} == {200}
        clients[lost] = await come(people[lost], "?last=1")
        await clients[lost].say("after")
        said = [(2, "meanwhile"), (3, "after")]
        assert [await texts(client, 2) for client in clients] == [said] * 3

        # Another takes its place, somewhere else.
        del chat.names.addresses[0]
        replica = await chat.replica(3)
        while not accepted(replica):
            await come(people[0])


async def test_a_caddy_that_stops_says_goodbye(start_chat: StartChat) -> None:
    chat, _ = await start_chat(1)
    async with chat.caddy.connect(additional_headers=await sign_in(chat.caddy, "ada")) as ada:
        assert await asyncio.to_thread(chat.caddy.stop) == 0
        assert (await ada.closed())[0] == 1001


async def test_a_request_that_is_too_large_goes_no_further(start_chat: StartChat) -> None:
    chat, [replica] = await start_chat(1)
    async with browse(chat.caddy) as http:
        answer = await http.post("/session", content=b'"' + b"x" * 65536)
        assert answer.status_code == 413
    assert "POST" not in replica.printed()


# Redis


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    """Start the Redis of compose.yaml, with little memory."""
    _, *options = composed(REDIS_MEMORY="8mb")["services"]["redis"]["command"]
    server = Redis(tmp_path, *options)
    server.start()
    yield server
    server.kill()


async def kept_as(client: Client, key: str) -> int:
    """Say something long; return the id that it got."""
    await client.send({"type": "say", "text": "x" * 2000, "key": key})
    while (frame := await client.receive())["type"] != "ack":
        pass
    number: int = frame["id"]
    return number


async def test_a_full_redis_refuses_what_is_new_and_forgets_nothing(
    redis: Redis, start_process: StartProcess
) -> None:
    env = {"CHAT_LOG": redis.url, "CHAT_SECRET": SECRET, "CHAT_RATE": "10000"}
    chat = await start_process("step13_scale", env=env)
    ada: dict[str, Any] = {"additional_headers": await sign_in(chat, "ada")}
    last, keys = 0, [str(uuid4()) for _ in range(200)]
    async with Connection.from_url(redis.url) as connection:
        used = (await connection.info("memory"))["used_memory"]
        await connection.setrange("ballast", 8 * 1024 * 1024 - used - 300_000, "x")
        async with chat.connect(**ada) as client:
            with suppress(ConnectionClosed):
                for key in keys:
                    last = await kept_as(client, key)
            assert await client.closed() == (1013, "The log does not answer. Try again later.")
        assert 0 < last < len(keys)

        await connection.delete("ballast")
        async with chat.connect("?last=0", **ada) as client:
            # What was refused is said again with its key, and it is the next.
            assert [await kept_as(client, key) for key in keys[: last + 1]] == [*range(1, last + 2)]


async def test_redis_answers_when_the_disk_has_it_and_asks_replicas_for_no_password(
    redis: Redis,
) -> None:
    async with Connection.from_url(redis.url) as connection:
        asked = await connection.config_get("appendonly", "appendfsync", "protected-mode")
    assert asked == {"appendonly": "yes", "appendfsync": "always", "protected-mode": "no"}
