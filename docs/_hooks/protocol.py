"""`::protocol` and `::asyncapi`: the frames of the newest step, from its Pydantic models."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import pairwise
from types import ModuleType
from typing import Any

from fastapi.testclient import TestClient
from project import ROOT, PageError, boxed, fenced, files, steps
from pydantic import TypeAdapter

SIDES = {"ClientMessage": "From the client", "ServerMessage": "From the server"}
NO_BOUNDS = {"type", "items", "title", "description", "default", "examples"}
# What stands for a value in an example, by its format, or else its type, in JSON Schema.
STAND_INS: dict[str, Any] = {
    "uuid": "0b9d4a3e-5d0c-4a55-9d59-3f4d1c1f6a5e",
    "date-time": "2026-01-01T12:00:00Z",
    "string": "...",
    "array": ["..."],
    "integer": 1,
    "number": 0.5,
    "boolean": True,
}
Schema = dict[str, Any]


def asyncapi() -> str:
    """Show the description of the socket that the newest step serves, as its clients get it."""
    step = max(steps())
    with imported_anew(step, "main") as main:
        answer = TestClient(main.app, "http://127.0.0.1:8000").get("/asyncapi.json")
    if answer.status_code != 200:
        raise PageError(f"{step} answers {answer.status_code} for /asyncapi.json")
    text = json.dumps(answer.json(), indent=2)
    lines = text.count("\n") + 1
    return boxed(f'??? example "asyncapi.json · {lines} lines"', fenced(text, "json"))


def protocol() -> str:
    """Describe every frame of the newest step: its fields, and since which step it has them."""
    return "\n\n".join(part for side in SIDES for part in described(side))


def described(side: str) -> Iterator[str]:
    """Describe the frames that one side sends."""
    history = {step: frames(step, side) for step in steps() if "messages.py" in files(step)}
    if not history:
        raise PageError("no step has a messages.py")
    yield f"## {SIDES[side]}"
    for kind, schema in history[max(history)].items():
        versions = {step: kinds[kind] for step, kinds in history.items() if kind in kinds}
        yield f"### `{kind}` {{ #{side.lower()}-{kind} }}"
        yield f"Since {linked(min(versions))}. {schema.get('description', '')}"
        yield fenced(example(schema), "json")
        rows = ["| Field | JSON | |", "|---|---|---|"]
        for name, field in schema["properties"].items():
            old = {step: kind["properties"].get(name) for step, kind in versions.items()}
            # What the server sends is complete, whatever has a default in the model.
            optional = side == "ClientMessage" and name not in schema.get("required", ())
            said = ["Optional."] if optional else []
            said += [*news(old), *field.get("description", "").split()]
            if name != "type":
                rows.append(f"| `{name}` | {words(field)} | {' '.join(said)} |")
        if rows[2:]:
            yield "\n".join(rows)


def news(field: dict[str, Schema | None]) -> Iterator[str]:
    """Say since when there is a field, by what it is in each step; likewise each of its options."""
    steps = sorted(step for step, schema in field.items() if schema)
    if steps[0] > min(field):
        yield f"Since {linked(steps[0])}."
    options = [(step, (field[step] or {}).get("enum", ())) for step in steps]
    for (_, before), (step, now) in pairwise(options):
        if new := [f"`{json.dumps(option)}`" for option in now if option not in before]:
            yield f"{', '.join(new)} since {linked(step)}."


def frames(step: str, side: str) -> dict[str, Schema]:
    """Return the JSON schema of each kind of frame that one side sends, by its `type`."""
    try:
        with imported_anew(step, "messages") as messages:
            schema = TypeAdapter(getattr(messages, side)).json_schema()
    except (ImportError, AttributeError) as error:
        raise PageError(f"steps/{step}/messages.py must have {side}: {error}") from error
    kinds = [schema["$defs"][one["$ref"].split("/")[-1]] for one in schema.get("oneOf", [])]
    return {kind["properties"]["type"]["const"]: kind for kind in kinds or [schema]}


@contextmanager
def imported_anew(step: str, module: str) -> Iterator[ModuleType]:
    """Import a module of a step, whose files may have changed since; leave what was imported."""
    package = f"steps.{step}"
    sys.path.insert(0, str(ROOT))
    before = set_aside(package)
    try:
        yield import_module(f"{package}.{module}")
    finally:
        sys.path.remove(str(ROOT))
        set_aside(package)
        sys.modules.update(before)
        if package in before:
            setattr(sys.modules["steps"], step, before[package])


def set_aside(package: str) -> dict[str, ModuleType]:
    """Take a package and its modules out of those that are imported, and return them."""
    names = [name for name in sys.modules if f"{name}.".startswith(f"{package}.")]
    return {name: sys.modules.pop(name) for name in names}


def words(field: Schema) -> str:
    """Put a field's JSON type and bounds into words, the bounds by their names in JSON Schema."""
    if "anyOf" in field:
        return " or ".join(map(words, field["anyOf"]))
    if "enum" in field:
        return f"one of {', '.join(f'`{json.dumps(option)}`' for option in field['enum'])}"
    items = f" of {words(field['items'])}" if "items" in field else ""
    bounds = (f", {key} `{json.dumps(field[key])}`" for key in field if key not in NO_BOUNDS)
    return f"{field.get('type', 'any')}{items}{''.join(bounds)}"


def example(schema: Schema) -> str:
    """Return the model's own example, else one made of its fields' examples and stand-ins."""
    made = {name: value(field) for name, field in schema["properties"].items()}
    return json.dumps(schema.get("examples", [made])[0], ensure_ascii=False)


def value(field: Schema) -> object:
    """Return an example of a field."""
    if "anyOf" in field:
        return value(field["anyOf"][0])
    own = [*field.get("examples", []), field.get("const"), *field.get("enum", [])]
    known = (option for option in own if option is not None)
    kinds = (field.get(key) for key in ("format", "type"))
    return next(known, next((STAND_INS[kind] for kind in kinds if kind in STAND_INS), {}))


def linked(step: str) -> str:
    """Return a link to a step's page from a page in docs/reference."""
    return f"[step {int(step[4:6])}](../steps/{step}.md)"
