"""The description of the socket at /asyncapi.json, from step 12 on: valid, complete, and true."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from jsonschema import Draft7Validator, FormatChecker

from tests.conftest import ROOT, STEPS, Client, Serve, browse, sign_in

Document = dict[str, Any]
Change = Callable[[Document], object]

# The official schema; asyncapi/LICENSE is its licence.
SCHEMA = json.loads((ROOT / "tests/asyncapi/schema.json").read_text("utf-8"))
KEY = "6fa0be2a-3f4c-4f0e-9d0c-2c6f4a1b7d55"

described = pytest.mark.parametrize("step", [step for step in STEPS if step >= "step12"])


def description(module: str) -> Document:
    """Return what an app says of its socket."""
    app = import_module(f"{module}.main").app
    document: Document = TestClient(app).get("/asyncapi.json").raise_for_status().json()
    return document


def is_valid(document: Document) -> bool:
    """Return whether this is a description in AsyncAPI 3.1."""
    return Draft7Validator(SCHEMA).is_valid(document)


def at(document: Document, reference: str) -> Any:
    """Return what a reference leads to. Raises `KeyError` if it leads nowhere."""
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def references(part: Any) -> Iterator[str]:
    """Yield each reference in a part of a description."""
    if isinstance(part, dict):
        yield from [part["$ref"]] if "$ref" in part else []
    for inner in part.values() if isinstance(part, dict) else part:
        if isinstance(inner, dict | list):
            yield from references(inner)


def names(document: Document, operation: str) -> list[str]:
    """Return the names of the messages of an operation."""
    return [one["$ref"].split("/")[-1] for one in document["operations"][operation]["messages"]]


def meant(document: Document, operation: str, frame: Document) -> list[str]:
    """Return which messages of an operation a frame may be: it has to be one."""
    fits = []
    for message in document["operations"][operation]["messages"]:
        schema = at(document, message["$ref"])["payload"] | {"components": document["components"]}
        if Draft7Validator(schema, format_checker=FormatChecker()).is_valid(frame):
            fits.append(message["$ref"].split("/")[-1])
    return fits


@described
def test_the_description_is_valid_asyncapi(step: str) -> None:
    Draft7Validator(SCHEMA).validate(description(f"steps.{step}"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: document.pop("info"),
        lambda document: document.update(asyncapi="3.0.0"),
        lambda document: document["servers"]["this"].pop("protocol"),
        lambda document: document["servers"]["this"]["security"].append({"type": "cookie"}),
        lambda document: document["operations"]["send"].update(action="publish"),
        lambda document: document["operations"]["send"].pop("channel"),
        lambda document: document["operations"]["send"].update(messages=[{"payload": {}}]),
        lambda document: document["channels"]["room"].update(query={}),
        lambda document: document["channels"]["room"]["parameters"].update(room={"schema": {}}),
        lambda document: document["channels"]["room"]["bindings"]["ws"].update(subprotocol="chat"),
        lambda document: document["channels"]["room"]["messages"].update(Say={"schema": {}}),
        lambda document: document["components"]["schemas"]["Say"].update(type="frame"),
    ],
)
def test_the_schema_sees_what_is_wrong_with_a_description(spoil: Change) -> None:
    document = description(f"steps.{STEPS[-1]}")
    assert is_valid(document)
    spoil(document)
    assert not is_valid(document)


@described
def test_every_reference_leads_somewhere_and_every_schema_is_used(step: str) -> None:
    document = description(f"steps.{step}")
    found = set(references(document))
    for reference in found:
        assert at(document, reference)
    assert {f"#/components/schemas/{name}" for name in document["components"]["schemas"]} <= found


@described
async def test_a_client_that_knows_nothing_but_the_description_gets_in(
    serve: Serve, step: str
) -> None:
    server = serve(step)
    proof = await sign_in(server, "ada")
    token = proof["authorization"].removeprefix("Bearer ")
    async with browse(server) as http:
        document = (await http.get("/asyncapi.json")).json()
        [place], [channel] = document["servers"].values(), document["channels"].values()
        assert (place["protocol"], place["host"]) == ("ws", server.address)
        path = channel["address"].format(**dict.fromkeys(channel["parameters"], "kitchen"))
        async with server.connect("/ws/kitchen", additional_headers=proof) as ada:
            await ada.say("one")
            await ada.say("two")
            while (await ada.receive()).get("text") != "two":
                pass
        for scheme in place["security"]:
            headers, query = {}, dict.fromkeys(channel["bindings"]["ws"]["query"]["properties"], 1)
            match scheme:
                case {"type": "httpApiKey", "in": "cookie", "name": name}:
                    headers = {"cookie": f"{name}={token}"}
                case {"type": "http", "scheme": "bearer"}:
                    headers = proof
                case {"type": "httpApiKey", "in": "query", "name": name}:
                    query[name] = (await http.post("/ticket", headers=proof)).json()["ticket"]
            asked = "&".join(f"{name}={value}" for name, value in query.items())
            async with server.connect(f"{path}?{asked}", additional_headers=headers) as ada:
                assert (await ada.receive())["name"] == "ada", scheme
                assert await ada.hears() == "two"


async def until(client: Client, kind: str) -> list[Document]:
    """Return the frames that a client receives, up to one of this type."""
    frames = [await client.receive()]
    while frames[-1]["type"] != kind:
        frames.append(await client.receive())
    return frames


@described
async def test_every_frame_of_a_conversation_is_one_of_the_description_and_none_is_missing(
    serve: Serve, step: str
) -> None:
    document = description(f"steps.{step}")
    said: list[Document] = [
        {"type": "say", "text": "hello", "key": KEY},
        {"type": "say", "text": "hello again"},
        {"type": "typing"},
        {"type": "whisper", "to": "bob", "text": "psst"},
        {"type": "whisper", "to": "eve", "text": "psst"},
    ]
    server = serve(step)
    ada_is, bob_is = await sign_in(server, "ada"), await sign_in(server, "bob")
    async with server.connect(additional_headers=ada_is) as ada:
        heard = await until(ada, "welcome")
        async with server.connect(additional_headers=bob_is) as bob:
            for frame in said:
                await ada.send(frame)
            heard += await until(ada, "error")
            await ada.send("junk")
            await ada.send(b"\x00")
            async with browse(server) as http:
                await http.post("/announce", json={"text": "Lunch"}, headers=ada_is)
            heard += await until(bob, "notice")
        heard += await until(ada, "left")
    # Each is exactly one of those described (AsyncAPI 3.1, Operation Object), and all are there.
    for operation, frames in (("receive", said), ("send", heard)):
        kinds = [(meant(document, operation, frame), frame) for frame in frames]
        assert not [each for each in kinds if len(each[0]) != 1]
        assert {kind for [kind], _ in kinds} == set(names(document, operation))


@described
def test_the_bounds_of_a_frame_are_in_the_description(step: str) -> None:
    document = description(f"steps.{step}")
    for frame in (
        {"type": "say", "text": ""},
        {"type": "say", "text": "x" * 2001},
        {"type": "say", "text": "hello", "key": "17"},
        {"type": "whisper", "text": "psst"},
        {"type": "shout", "text": "hello"},
        {"text": "hello"},
    ):
        assert meant(document, "receive", frame) == []
    for frame in (
        {"type": "joined"},
        {"name": "ada"},
        {"type": "error", "code": "?", "detail": ""},
    ):
        assert meant(document, "send", frame) == []


@described
def test_a_model_that_joins_a_union_is_described_without_a_line_more(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / f"{step}_and_more"
    shutil.copytree(ROOT / "steps" / step, copy)
    messages = copy / "messages.py"
    models = """
class Place(BaseModel):
    floor: int

class Wave(BaseModel):
    type: Literal["wave"]
    at: Place

class Waved(BaseModel):
    type: Literal["waved"] = "waved"

ClientMessage ="""
    text = messages.read_text("utf-8").replace("\nClientMessage =", models)
    messages.write_text(text.replace("| Whisper,", "| Whisper | Wave,").replace("| Ack", "| Waved"))
    monkeypatch.syspath_prepend(tmp_path)
    document = description(copy.name)
    for name in [name for name in sys.modules if name.startswith(copy.name)]:
        monkeypatch.delitem(sys.modules, name)
    assert is_valid(document)
    assert names(document, "receive")[-1] == "Wave"
    assert "Waved" in names(document, "send")
    assert "Ack" not in names(document, "send")
    assert meant(document, "receive", {"type": "wave", "at": {"floor": 3}}) == ["Wave"]
    assert meant(document, "receive", {"type": "wave", "at": {"floor": "up"}}) == []
    # What is only a part of a message is no message.
    assert "Place" not in document["channels"]["room"]["messages"]
    for reference in references(document):
        assert at(document, reference)


@described
async def test_over_tls_the_description_leads_to_wss(serve: Serve, step: str) -> None:
    # To uvicorn such a request is from a proxy, and proxies on this machine are believed.
    async with browse(serve(step)) as http:
        headers = {"host": "chat.example", "x-forwarded-proto": "https"}
        document = (await http.get("/asyncapi.json", headers=headers)).json()
    [place] = document["servers"].values()
    assert (place["protocol"], place["host"]) == ("wss", "chat.example")
