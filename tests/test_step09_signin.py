"""Step 9: everybody is who they say they are, for as long as they are signed in."""

import asyncio
import json
import logging
import re
import shlex
import shutil
import ssl
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import product
from pathlib import Path
from time import time
from typing import Any

import httpx2
import jwt
import pytest
import trustme
from fastapi import FastAPI
from jwt.api_jws import encode as signed_bytes
from websockets.exceptions import ConnectionClosed, InvalidStatus

from steps.step09_signin import main, sessions, signin
from steps.step09_signin.connection import accepted
from steps.step09_signin.settings import Settings, from_environment, settings
from tests import first_message
from tests.broken import token_checked_once
from tests.conftest import Client, Serve, Server, browse, faulty, forget_sign_ins, sign_in

ROOT = Path(__file__).parents[1]
STEP8, STEP9 = "step08_security", "step09_signin"
PROOFS = ("cookie", "bearer", "ticket")
each_proof = pytest.mark.parametrize("proof", PROOFS)
ROUTES = [("GET", "/session"), ("DELETE", "/session"), ("POST", "/ticket"), ("POST", "/announce")]
SIGNED_OUT = (4401, "You have signed out.")
EXPIRED = (4401, "Your sign-in has ended.")
Headers = dict[str, str]
Log = pytest.LogCaptureFixture
Patch = pytest.MonkeyPatch


@pytest.fixture
def origins() -> Iterator[list[str]]:
    """Return what CHAT_ORIGINS says, the list that CORS has, too. It is empty again afterwards."""
    yield settings.origins
    settings.origins.clear()


async def ask(server: Server, method: str, path: str, **options: Any) -> httpx2.Response:
    """Make a request, from somebody who has no cookies but those of `options`."""
    async with browse(server) as http:
        return await http.request(method, path, **options)


async def sign_out(server: Server, headers: Headers) -> None:
    """Sign somebody out who has signed in with `sign_in`."""
    assert (await ask(server, "DELETE", "/session", headers=headers)).status_code == 204


def token_of(headers: Headers) -> str:
    """Return the token that `sign_in` has got for somebody."""
    return headers["authorization"].removeprefix("Bearer ")


async def ticket(server: Server, headers: Headers) -> str:
    """Return a ticket of somebody's."""
    answer = await ask(server, "POST", "/ticket", headers=headers)
    given: str = answer.raise_for_status().json()["ticket"]
    return given


async def way_in(server: Server, headers: Headers, proof: str) -> dict[str, Any]:
    """Return with what to connect so that one of the three ways proves a sign-in."""
    match proof:
        case "bearer":
            return {"additional_headers": headers}
        case "cookie":
            return {"additional_headers": {"cookie": f"chat_session={token_of(headers)}"}}
        case _:
            return {"path": f"/ws?ticket={await ticket(server, headers)}"}


async def knock(server: Server, **options: Any) -> int:
    """Return with what status a handshake is answered; leave if one is let in."""
    try:
        async with server.connect(**options):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


async def welcomed(client: Client) -> str:
    """Return the name that somebody is let in under."""
    frame = await client.receive()
    assert frame["type"] == "welcome", frame
    name: str = frame["name"]
    return name


def claims(**changed: object) -> dict[str, Any]:
    """Return what a good token of Ada's says, but for what is changed; None leaves a claim out."""
    said = {"sub": "ada", "jti": "the one and only", "exp": int(time()) + 3600, **changed}
    return {name: value for name, value in said.items() if value is not None}


def signed(key: str = "", algorithm: str = "HS256", **changed: object) -> str:
    """Return a token as we sign it, but for what is changed."""
    return jwt.encode(claims(**changed), key or settings.secret, algorithm)


def with_other_claims(token: str, sub: str) -> str:
    """Return a token with its signature, and another name in it."""
    head, _, signature = token.split(".")
    body = signed(sub=sub).split(".")[1]
    return f"{head}.{body}.{signature}"


def unsigned(algorithm: str) -> str:
    """Return a token that says of itself that it needs no signature."""
    head = urlsafe_b64encode(b'{"alg":"%s"}' % algorithm.encode()).rstrip(b"=").decode()
    return f"{head}.{signed().split('.')[1]}."


FORGED: dict[str, Callable[[], str]] = {
    "no token at all": lambda: "ada",
    "an empty one": lambda: "..",
    "no JSON": lambda: "not.a.token",
    "letters that are no ASCII": lambda: "\xe4.\xf6.\xfc",
    "brackets, five thousand deep": lambda: (
        f"{urlsafe_b64encode(b'[' * 5000).decode()}.{signed().partition('.')[2]}"
    ),
    "unsigned": lambda: unsigned("none"),
    "unsigned, in capitals": lambda: unsigned("NONE"),
    "its signature cut off": lambda: f"{signed().rpartition('.')[0]}.",
    "another key": lambda: signed(key="another key of thirty-two letters"),
    "another algorithm": lambda: signed(key=2 * settings.secret, algorithm="HS512"),
    "our key, another algorithm": lambda: jwt.PyJWT({"enforce_minimum_key_length": False}).encode(
        claims(), settings.secret.ljust(64, "\0"), "HS512"
    ),
    "eve's, with ada's name put in": lambda: with_other_claims(signed(sub="eve"), "ada"),
    "expired": lambda: signed(exp=int(time()) - 1),
    "without an end": lambda: signed(exp=None),
    "without a name": lambda: signed(sub=None),
    "without an id": lambda: signed(jti=None),
    "an end that is no number": lambda: signed(exp="soon"),
    "an end that is a list": lambda: signed(exp=[]),
    "an end that never comes": lambda: signed(exp=float("inf")),
    "a name that is a number": lambda: signed_bytes(
        b'{"sub":7,"jti":"x","exp":99999999999}', settings.secret
    ),
    "a name that nobody can see": lambda: signed(sub=" "),
    "a name that is too long": lambda: signed(sub="a" * 2000),
    "an id that is a number": lambda: signed_bytes(
        b'{"sub":"ada","jti":7,"exp":99999999999}', settings.secret
    ),
    "for somebody else": lambda: signed(aud="shop.example"),
    "a list": lambda: signed_bytes(b'["ada"]', settings.secret),
}


# Signing in


async def test_a_sign_in_is_answered_with_a_token_and_a_cookie_that_no_script_can_read(
    serve: Serve,
) -> None:
    server = serve(STEP9)
    answer = await ask(server, "POST", "/session", json={"name": " ada "})
    assert answer.status_code == 200
    token = answer.json()["token"]
    assert answer.json() == {"name": "ada", "token": token}
    name_and_value, *attributes = answer.headers["set-cookie"].split("; ")
    assert name_and_value == f"chat_session={token}"
    assert sorted(attributes) == ["HttpOnly", "Max-Age=28800", "Path=/", "SameSite=strict"]
    # Eight hours, for the token as for the cookie.
    said = jwt.decode(token, settings.secret, ["HS256"])
    assert said.keys() == {"sub", "jti", "exp"}
    assert 28_700 < said["exp"] - time() <= 28_800


async def test_over_https_the_cookie_is_secure(serve: Serve, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    path = tmp_path / "key-and-chain.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(str(path))
    server = serve(STEP9, ssl_certfile=path, ssl_keyfile=path)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    async with httpx2.AsyncClient(base_url=f"https://{server.address}", verify=trust) as http:
        answer = await http.post("/session", json={"name": "ada"})
        assert "; Secure" in answer.headers["set-cookie"]
        # The client has taken it, and sends it.
        assert (await http.get("/session")).json() == {"name": "ada"}


@pytest.mark.parametrize("believed", ["127.0.0.1", "192.0.2.1"])
async def test_behind_a_proxy_it_is_secure_if_uvicorn_believes_the_proxy(
    serve: Serve, believed: str
) -> None:
    server = serve(STEP9, forwarded_allow_ips=believed)
    over_https = {"x-forwarded-proto": "https"}
    answer = await ask(server, "POST", "/session", json={"name": "ada"}, headers=over_https)
    assert ("; Secure" in answer.headers["set-cookie"]) == (believed == "127.0.0.1")


@pytest.mark.parametrize(
    "name", ["", " ", "x" * 21, "a\nb", "ada\u202e", "\0", "a\u200bb", None, 7]
)
async def test_a_name_that_is_no_good_is_refused_with_a_sentence(
    serve: Serve, name: object
) -> None:
    server = serve(STEP9)
    answer = await ask(server, "POST", "/session", json={"name": name})
    assert answer.status_code == 422
    assert "set-cookie" not in answer.headers
    if isinstance(name, str):
        assert answer.json()["detail"][0]["msg"] == "A name is 1 to 20 printable characters."


async def test_any_other_name_is_taken_as_it_is(serve: Serve) -> None:
    server = serve(STEP9)
    for name in ["ada", "Ada Lovelace", "李小龙", "🦊", "<b>", "a&b=c", "x" * 20]:
        async with server.connect(additional_headers=await sign_in(server, name)) as client:
            assert await welcomed(client) == name


async def test_names_that_only_look_alike_are_those_of_different_people(serve: Serve) -> None:
    server = serve(STEP9)
    for name in ["ada", "Ada", "\u0430da"]:  # the last begins with a Cyrillic letter
        await sign_in(server, name)


# Proving it


@each_proof
async def test_each_proof_opens_a_socket_under_the_name_that_signed_in(
    serve: Serve, proof: str
) -> None:
    server = serve(STEP9)
    bob = await sign_in(server, "bob")
    ada = await way_in(server, await sign_in(server, "ada"), proof)
    async with server.connect(additional_headers=bob) as listener:
        assert await welcomed(listener) == "bob"
        async with server.connect(**ada) as client:
            assert await client.receive() == {
                "type": "welcome",
                "name": "ada",
                "here": ["ada", "bob"],
            }
            assert await listener.receive() == {"type": "joined", "name": "ada"}
            await client.say("hello")
            assert (await client.receive())["name"] == "ada"
            frame = await listener.receive()
            assert (frame["name"], frame["text"]) == ("ada", "hello")
        assert await listener.receive() == {"type": "left", "name": "ada"}


@pytest.mark.parametrize("step", [faulty(STEP8, AssertionError), STEP9])
async def test_a_name_in_the_address_makes_nobody_of_anybody(serve: Serve, step: str) -> None:
    server = serve(step)
    assert await knock(server, path="/ws?name=ada") == 401


async def test_a_handshake_without_a_proof_is_a_401_that_says_what_to_do(serve: Serve) -> None:
    server = serve(STEP9)
    with pytest.raises(InvalidStatus) as refused:
        async with server.connect():
            pass
    response = refused.value.response
    assert response.status_code == 401
    assert response.body == b'{"detail":"Sign in first: POST /session."}'
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_what_is_for_those_who_have_signed_in_is_a_401_for_others(
    serve: Serve, method: str, path: str
) -> None:
    server = serve(STEP9)
    body = {"json": {"text": "lunch"}} if path == "/announce" else {}
    ada = await sign_in(server, "ada")
    assert (await ask(server, method, path, **body)).status_code == 401
    spent = {"params": {"ticket": await ticket(server, ada)}}
    # A ticket opens a socket and nothing else, and a request does not use it up.
    assert (await ask(server, method, path, **body, **spent)).status_code == 401
    assert await knock(server, path=f"/ws?ticket={spent['params']['ticket']}") == 101
    assert (await ask(server, method, path, headers=ada, **body)).is_success


async def test_a_token_that_is_not_ours_is_a_401_and_never_a_500(serve: Serve, caplog: Log) -> None:
    server = serve(STEP9)
    async with browse(server) as http:
        for what, forge in FORGED.items():
            token = forge().encode("latin-1")
            bearer, cookie = b"Bearer " + token, b"chat_session=" + token
            for headers in ({b"authorization": bearer}, {b"cookie": cookie}):
                answer = await http.get("/session", headers=headers)
                assert answer.status_code == 401, what
            if not token.isascii():
                continue  # the client for sockets sends no such header
            for shown in ({"authorization": bearer.decode()}, {"cookie": cookie.decode()}):
                assert await knock(server, additional_headers=shown) == 401, what
    assert not sessions.holders
    assert "Traceback" not in caplog.text


async def test_a_proof_that_is_bad_is_not_made_good_by_another(serve: Serve) -> None:
    server = serve(STEP9)
    ada = await sign_in(server, "ada")
    cookie = {"cookie": f"chat_session={token_of(ada)}"}
    assert await knock(server, path="/ws?ticket=spent", additional_headers=cookie) == 401
    bad = {"authorization": "Bearer junk", **cookie}
    assert await knock(server, additional_headers=bad) == 401
    # Of another scheme: a proxy's own password, say.
    other = {"authorization": "Basic YWRhOnNlY3JldA==", **cookie}
    assert await knock(server, additional_headers=other) == 101


async def test_a_program_signs_in_talks_and_signs_out(serve: Serve) -> None:
    server = serve(STEP9)
    command = [sys.executable, "-W", "error", "tests/program.py", server.address]
    program = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
    printed, _ = await program.communicate()
    lines = printed.decode().splitlines()
    assert [json.loads(line)["type"] for line in lines[:2]] == ["welcome", "message"]
    assert [lines[2:], program.returncode] == [["4401 You have signed out."], 0]
    assert not sessions.holders


@pytest.mark.parametrize(("method", "path"), [("POST", "/session"), *ROUTES])
async def test_pages_that_are_listed_may_ask_for_all_of_it(
    serve: Serve, origins: list[str], method: str, path: str
) -> None:
    listed = "https://chat.example"
    origins.append(listed)
    server = serve(STEP9)
    asks = {
        "access-control-request-method": method,
        "access-control-request-headers": "authorization, content-type",
    }
    for origin, status in ((listed, 200), ("https://evil.example", 400)):
        answer = await ask(server, "OPTIONS", path, headers={"origin": origin, **asks})
        assert answer.status_code == status
        assert answer.headers.get("access-control-allow-origin") == (
            origin if origin == listed else None
        )
        # A cookie is for the page of the chat: others do without.
        assert "access-control-allow-credentials" not in answer.headers


# Tickets


async def test_a_ticket_opens_one_socket_once(serve: Serve) -> None:
    server = serve(STEP9)
    ada = await sign_in(server, "ada")
    answer = await ask(server, "POST", "/ticket", headers=ada)
    assert answer.json() == {"ticket": answer.json()["ticket"], "expires_in": 30}
    path = f"/ws?ticket={answer.json()['ticket']}"
    assert await knock(server, path=path) == 101
    assert await knock(server, path=path) == 401


async def test_of_many_who_come_with_one_ticket_one_gets_in(serve: Serve) -> None:
    server = serve(STEP9)
    path = f"/ws?ticket={await ticket(server, await sign_in(server, 'ada'))}"
    statuses = await asyncio.gather(*(knock(server, path=path) for _ in range(20)))
    assert Counter(statuses) == {101: 1, 401: 19}


async def test_a_ticket_is_good_for_its_seconds_and_leaves_nothing_behind(
    serve: Serve, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(signin, "TICKET_SECONDS", 0)
    server = serve(STEP9)
    late = await ticket(server, await sign_in(server, "ada"))
    assert await knock(server, path=f"/ws?ticket={late}") == 401
    assert not signin.tickets


# The end of a sign-in


async def opened_by_each_proof(
    server: Server, stack: AsyncExitStack, signed_in: dict[str, Headers]
) -> dict[str, Client]:
    """Connect those whom `signed_in` names after the proof that they are to use."""
    found = {}
    for proof, headers in signed_in.items():
        options = await way_in(server, headers, proof)
        found[proof] = await stack.enter_async_context(server.connect(**options))
        assert await welcomed(found[proof]) == proof
    return found


async def proves_nothing(server: Server, headers: Headers, unused: str) -> None:
    """Fail if token, cookie or an unused ticket of somebody's proves anything."""
    cookie = {"cookie": f"chat_session={token_of(headers)}"}
    assert await knock(server, additional_headers=headers) == 401
    assert await knock(server, additional_headers=cookie) == 401
    assert await knock(server, path=f"/ws?ticket={unused}") == 401
    for method, path in ROUTES[:3]:
        assert (await ask(server, method, path, headers=headers)).status_code == 401
        assert (await ask(server, method, path, headers=cookie)).status_code == 401


@pytest.mark.parametrize("how", ["signed out", "expired"])
async def test_when_a_sign_in_ends_so_does_its_socket_and_every_proof_of_it(
    serve: Serve, monkeypatch: Patch, how: str
) -> None:
    server = serve(STEP9)
    bob = await sign_in(server, "bob")
    if how == "expired":
        monkeypatch.setattr(settings, "session_seconds", 2)  # between one and two: exp is whole
    people = {proof: await sign_in(server, proof) for proof in PROOFS}
    unused = {proof: await ticket(server, people[proof]) for proof in PROOFS}
    async with server.connect(additional_headers=bob) as listener, AsyncExitStack() as stack:
        clients = await opened_by_each_proof(server, stack, people)
        for proof, client in clients.items():
            if how == "signed out":
                await sign_out(server, people[proof])
            assert await client.closed() == (SIGNED_OUT if how == "signed out" else EXPIRED)
        heard = [await listener.receive() for _ in range(1 + 2 * len(PROOFS))]
        left = [frame["name"] for frame in heard if frame["type"] == "left"]
        assert sorted(left) == sorted(PROOFS)
        for proof in PROOFS:
            await proves_nothing(server, people[proof], unused[proof])
        # Nobody else was touched, and the names are free.
        await listener.say("still here")
        assert await listener.hears() == "still here"
    for name in PROOFS:
        await sign_in(server, name)


async def test_a_sign_in_that_ends_while_its_handshake_is_completed_lets_nobody_in(
    serve: Serve, monkeypatch: Patch
) -> None:
    @asynccontextmanager
    async def meanwhile(websocket: Any) -> Any:
        async with accepted(websocket) as both:
            if "eve" in sessions.holders:
                sessions.end(sessions.holders["eve"], "You have signed out.")
            yield both

    monkeypatch.setattr(main, "accepted", meanwhile)
    server = serve(STEP9)
    bob = await sign_in(server, "bob")
    async with server.connect(additional_headers=bob) as listener:
        assert await welcomed(listener) == "bob"
        eve = await sign_in(server, "eve")
        async with server.connect(additional_headers=eve) as client:
            assert await client.closed() == EXPIRED
        await listener.say("marker")
        assert await listener.hears() == "marker"  # nobody has joined or left


async def test_signing_out_takes_the_cookie_back(serve: Serve) -> None:
    server = serve(STEP9)
    async with browse(server) as http:
        assert (await http.get("/session")).status_code == 401
        await http.post("/session", json={"name": "ada"})
        assert (await http.get("/session")).json() == {"name": "ada"}
        assert (await http.delete("/session")).status_code == 204
        assert not http.cookies
        assert (await http.get("/session")).status_code == 401


@pytest.mark.parametrize("app", [faulty("tests.broken.token_checked_once", AssertionError), STEP9])
async def test_when_its_token_has_expired_a_connection_is_over(serve: Serve, app: str) -> None:
    server = serve(app)
    end = int(time()) + 2
    token = signed(key=token_checked_once.KEY if app != STEP9 else "", exp=end)
    options = {"additional_headers": {"authorization": f"Bearer {token}"}}
    async with server.connect(f"/ws?token={token}", **options) as client:
        # Its end is a time, and only time brings it about.
        await asyncio.sleep(end + 0.1 - time())
        with suppress(ConnectionClosed):
            await client.say("I am still here")
            while "I am still here" not in str(await client.connection.recv()):
                pass
        assert client.connection.close_code == 4401


# Whose name it is


async def test_a_name_is_somebodys_until_they_sign_out_and_also_while_they_are_away(
    serve: Serve,
) -> None:
    server = serve(STEP9)
    ada = await sign_in(server, "ada")
    async with server.connect(additional_headers=ada) as client:
        assert await welcomed(client) == "ada"
        taken = await ask(server, "POST", "/session", json={"name": "ada"})
        assert (taken.status_code, taken.json()["detail"]) == (
            409,
            "Somebody has that name. Try another.",
        )
        assert "set-cookie" not in taken.headers
        await client.say("still me")
        assert await client.hears() == "still me"
    assert (await ask(server, "POST", "/session", json={"name": "ada"})).status_code == 409
    await sign_out(server, ada)
    await sign_in(server, "ada")


async def test_of_many_who_sign_in_under_one_name_one_gets_it(serve: Serve) -> None:
    server = serve(STEP9)
    wanted = [ask(server, "POST", "/session", json={"name": "ada"}) for _ in range(20)]
    answers = await asyncio.gather(*wanted)
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 19}


async def test_one_browser_is_one_person_the_next_sign_in_ends_the_one_before(
    serve: Serve,
) -> None:
    server = serve(STEP9)
    async with browse(server) as http:
        first = await http.post("/session", json={"name": "ada"})
        ada = {"authorization": f"Bearer {first.json()['token']}"}
        async with server.connect(additional_headers=ada) as client:
            assert await welcomed(client) == "ada"
            await http.post("/session", json={"name": "bob"})
            assert await client.closed() == (4401, "You have signed in under another name.")
        assert (await http.get("/session")).json() == {"name": "bob"}
        # Else nobody could have it until it expires: nothing that proves it is left.
        await sign_in(server, "ada")


async def test_after_a_restart_too_the_next_sign_in_ends_the_one_before(serve: Serve) -> None:
    server = serve(STEP9)
    first = await ask(server, "POST", "/session", json={"name": "ada"})
    ada = {"authorization": f"Bearer {first.json()['token']}"}
    cookie = {"cookie": f"chat_session={first.json()['token']}"}
    server = await restarted(serve, server)
    await ask(server, "POST", "/session", json={"name": "bob"}, headers=cookie)
    assert (await ask(server, "GET", "/session", headers=ada)).status_code == 401


async def test_a_name_that_is_theirs_already_is_not_refused_to_them(serve: Serve) -> None:
    server = serve(STEP9)
    async with browse(server) as http:
        tokens = [(await http.post("/session", json={"name": "ada"})).json() for _ in range(2)]
    assert tokens[0] == tokens[1]
    assert (await ask(server, "POST", "/session", json={"name": "ada"})).status_code == 409


async def test_a_second_window_of_the_same_person_is_closed_with_4409(serve: Serve) -> None:
    server = serve(STEP9)
    ada = await sign_in(server, "ada")
    async with server.connect(additional_headers=ada) as first:
        assert await welcomed(first) == "ada"
        async with server.connect(additional_headers=ada) as second:
            assert await second.closed() == (4409, "You are here already, in another window.")
        await first.say("marker")
        assert await first.hears() == "marker"


# After a restart


async def restarted(serve: Serve, server: Server) -> Server:
    """Stop a server and start the next one: the secret is the same, and the books are empty."""
    await asyncio.to_thread(server.stop)
    forget_sign_ins()
    return serve(STEP9)


async def test_after_a_restart_a_token_puts_its_sign_in_back(serve: Serve) -> None:
    server = serve(STEP9)
    ada = await sign_in(server, "ada")
    server = await restarted(serve, server)
    async with server.connect(additional_headers=ada) as client:
        assert await welcomed(client) == "ada"
        assert (await ask(server, "POST", "/session", json={"name": "ada"})).status_code == 409
        await sign_out(server, ada)
        assert await client.closed() == SIGNED_OUT


async def test_the_limit_a_restart_forgets_who_has_a_name_until_they_come_back(
    serve: Serve,
) -> None:
    server = serve(STEP9)
    ada = await sign_in(server, "ada")
    server = await restarted(serve, server)
    eve = await sign_in(server, "ada")
    # There is one ada at a time, whoever it is.
    assert await knock(server, additional_headers=ada) == 401
    await sign_out(server, eve)
    assert await knock(server, additional_headers=ada) == 101


async def test_the_limit_a_restart_forgets_who_has_signed_out(serve: Serve) -> None:
    server = serve(STEP9)
    ada = await sign_in(server, "ada")
    await sign_out(server, ada)
    assert await knock(server, additional_headers=ada) == 401
    server = await restarted(serve, server)
    assert await knock(server, additional_headers=ada) == 101


# The promise


@pytest.mark.parametrize("ada_is", ["away", "signed out"])
async def test_nobody_is_heard_under_a_name_that_they_cannot_prove(
    serve: Serve, ada_is: str
) -> None:
    server = serve(STEP9)
    bob, eve, gone = [await sign_in(server, name) for name in ("bob", "eve", "ada")]
    old_ticket = await ticket(server, gone)
    await sign_out(server, gone)
    # Ada comes again, and goes. Eve has what Ada has used up, and all that she can make up.
    ada = await sign_in(server, "ada")
    used = await ticket(server, ada)
    assert await knock(server, path=f"/ws?ticket={used}") == 101
    if ada_is == "signed out":
        await sign_out(server, ada)
    own, old = token_of(eve), token_of(gone)
    forged = [token for forge in FORGED.values() if (token := forge()).isascii()]
    attempts: list[dict[str, Any]] = [
        {"path": path}
        for path in ("/ws", "/ws?name=ada", f"/ws?ticket={used}", f"/ws?ticket={old_ticket}")
    ]
    for token in [*forged, old, own, f"{own} {old}", f"{old},{own}"]:
        attempts += [
            {"path": f"/ws?token={token[:100]}"},
            {"path": f"/ws?ticket={token[:100]}"},
            {"additional_headers": {"authorization": f"Bearer {token}"}},
            {"additional_headers": {"cookie": f"chat_session={token}"}},
            {"additional_headers": {"cookie": f"chat_session={token}; chat_session={own}"}},
            {"additional_headers": {"cookie": f"chat_session={own}; chat_session={token}"}},
            {"additional_headers": {**eve, "cookie": f"chat_session={token}"}},
            {"additional_headers": {**eve, "x-name": "ada", "x-forwarded-user": "ada"}},
            {"additional_headers": eve, "path": "/ws?name=ada&sub=ada"},
            {"additional_headers": eve, "subprotocols": [token.replace(" ", "") or "x"]}
            if re.fullmatch(r"[\w.-]+", token)
            else {"additional_headers": eve},
        ]
    heard: list[dict[str, Any]] = []
    async with server.connect(additional_headers=bob) as listener:
        let_in = 0
        for options in attempts:
            with suppress(InvalidStatus):
                async with server.connect(**options) as attacker:
                    let_in += 1
                    await attacker.send({"type": "say", "text": "I am ada", "name": "ada"})
                    await attacker.send({"type": "message", "text": "I am ada", "name": "ada"})
                    await attacker.send({"type": "joined", "name": "ada"})
                    # The answer to the last: all that is before it has been dealt with.
                    while (frame := await attacker.receive())["type"] != "error":
                        heard.append(frame)
        assert let_in  # as herself
        await listener.say("marker")
        while (frame := await listener.receive()).get("text") != "marker":
            heard.append(frame)
        names = Counter(frame["name"] for frame in heard if "name" in frame)
        assert names.keys() == {"bob", "eve"}


# Others


@pytest.mark.skipif(not shutil.which("curl"), reason="it is about curl")
def test_curl_can_do_it_too(serve: Serve, tmp_path: Path) -> None:
    server = serve(STEP9)
    page = (ROOT / "docs/steps/step09_signin.md").read_text("utf-8")
    commands = re.findall(r"^    (curl .+)$", page, re.MULTILINE)
    assert len(commands) == 3
    answers = []
    for command in commands:
        line = shlex.split(command.replace("http://127.0.0.1:8000", server.url))
        done = subprocess.run([*line, "-sS"], cwd=tmp_path, capture_output=True, check=True)
        answers.append(done.stdout)
    assert json.loads(answers[0])["name"] == "robot"
    assert answers[1:] == [b'{"delivered":0}', b""]
    assert not sessions.holders


# Settings and packages


def test_in_production_it_does_not_start_without_a_secret() -> None:
    command = [sys.executable, "-m", "uvicorn", "steps.step09_signin.main:app", "--port=0"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={"CHAT_ENVIRONMENT": "production"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "CHAT_SECRET is missing. Make one and keep it: "
        "python -c 'import secrets; print(secrets.token_urlsafe())'\n"
    )


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"CHAT_SECRET": "short"}, "CHAT_SECRET (signs the sign-ins): String should have at least"),
        ({"CHAT_SECRET": ""}, "CHAT_SECRET (signs the sign-ins): String should have at least 32"),
        ({"CHAT_SECRET": "", "CHAT_ENVIRONMENT": "production"}, "CHAT_SECRET (signs the sign-ins)"),
        ({"CHAT_ENVIRONMENT": "staging"}, "CHAT_ENVIRONMENT (in production the secret has to be"),
        ({"CHAT_SESSION_SECONDS": "0"}, "CHAT_SESSION_SECONDS (seconds that a sign-in lasts)"),
    ],
)
def test_a_wrong_value_stops_the_start_with_a_sentence_that_names_it(
    monkeypatch: Patch, given: dict[str, str], sentence: str
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        from_environment()
    assert str(ended.value).startswith(sentence)


def test_in_development_the_secret_is_another_one_in_each_process() -> None:
    assert from_environment().secret != from_environment().secret
    assert len(from_environment().secret) >= 32


def test_the_secret_is_not_printed_with_the_settings() -> None:
    assert "secret" not in repr(Settings.model_validate({"secret": "x" * 32}))


def test_the_steps_before_need_no_package_for_tokens_and_this_one_names_it() -> None:
    program = """
import sys
from importlib import import_module
from pathlib import Path

sys.modules["jwt"] = None  # as if it were not installed
for folder in sorted(Path("steps").glob("step0[1-8]_*")):
    import_module(f"steps.{folder.name}.main")
try:
    import steps.step09_signin.main
except ModuleNotFoundError as missing:
    print(missing.name)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("jwt\n", "")


# The table: what can be asked without a browser. The rest is in browser/test_step09_signin_page.py.

WAYS = ("Cookie", "Bearer token", "Ticket", "First message")


def table() -> dict[tuple[str, str], str]:
    """Return the cells of the page's table, by their row and their column."""
    page = (ROOT / "docs/steps/step09_signin.md").read_text("utf-8")
    rows = [
        [cell.strip(" *") for cell in line.strip("|").split("|")]
        for line in re.findall(r"^\|.*\|$", page, re.MULTILINE)
    ]
    [start] = [number for number, row in enumerate(rows) if row[0] == "Proof"]
    cells: dict[tuple[str, str], str] = {}
    for row in rows[start + 2 :][: len(WAYS)]:
        cells |= {
            (row[0], asked): cell for asked, cell in zip(rows[start][1:], row[1:], strict=True)
        }
    return cells


def app_for(way: str) -> str | FastAPI:
    """Return what takes this proof."""
    return first_message.app if way == "First message" else STEP9


async def prove(server: Server, way: str, headers: Headers, stack: AsyncExitStack) -> Client:
    """Connect as a program, with one of the four proofs."""
    if way == "First message":
        client = await stack.enter_async_context(server.connect())
        await client.send(token_of(headers))
        return client
    options = await way_in(server, headers, way.split()[0].lower())
    return await stack.enter_async_context(server.connect(**options))


async def a_program_can_use_it(server: Server, way: str, _: Log) -> bool:
    async with AsyncExitStack() as stack:
        headers = await sign_in(server, "ada")
        return await welcomed(await prove(server, way, headers, stack)) == "ada"


async def strangers_get_an_http_status(server: Server, way: str, _: Log) -> bool:
    nobody = {"authorization": f"Bearer {signed(key='another key of thirty-two letters')}"}
    try:
        async with AsyncExitStack() as stack:
            if way == "Ticket":
                path = "/ws?ticket=of-my-own-making"
                client = await stack.enter_async_context(server.connect(path))
            else:
                client = await prove(server, way, nobody, stack)
            assert (await client.closed())[0] == 4401
            return False
    except InvalidStatus as refused:
        return refused.response.status_code == 401


async def it_is_in_no_address_and_no_log(server: Server, way: str, caplog: Log) -> bool:
    secrets = []
    caplog.set_level(logging.INFO)
    async with AsyncExitStack() as stack:
        headers = await sign_in(server, "ada")
        client = await prove(server, way, headers, stack)
        assert await welcomed(client) == "ada"
        request = client.connection.request
        assert request
        secrets = [token_of(headers), *re.findall(r"ticket=(.+)", request.path)]
    await asyncio.to_thread(server.stop)
    assert "/ws" in caplog.text
    return not any(secret in caplog.text for secret in secrets)


ASKED: dict[str, Callable[[Server, str, Log], Awaitable[bool]]] = {
    "A program can use it": a_program_can_use_it,
    "Strangers get an HTTP status": strangers_get_an_http_status,
    "It is in no address and no log": it_is_in_no_address_and_no_log,
}


@pytest.mark.parametrize(("way", "asked"), [*product(WAYS, ASKED)])
async def test_the_table_tells_programs_the_truth(
    serve: Serve, caplog: Log, way: str, asked: str
) -> None:
    answer = await ASKED[asked](serve(app_for(way)), way, caplog)
    assert table()[way, asked] == ("yes" if answer else "no")


@pytest.mark.parametrize("way", ["First message", "Cookie"])
async def test_a_first_message_lets_strangers_in_to_wait_for_what_they_say(
    serve: Serve, monkeypatch: Patch, way: str
) -> None:
    monkeypatch.setattr(first_message, "PATIENCE", 0.2)
    server = serve(app_for(way))
    async with AsyncExitStack() as stack:
        silent = []
        with suppress(InvalidStatus):
            for _ in range(20):
                silent.append(await stack.enter_async_context(server.connect()))
        assert len(silent) == (20 if way == "First message" else 0)
        for client in silent:
            assert await client.closed() == (4401, "Nobody has said who you are.")
