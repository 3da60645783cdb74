"""`::protocol`: the frames of the newest step, from its Pydantic models."""

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from project import ROOT, PageError, fenced, files, steps
from pydantic import TypeAdapter

SIDES = {"ClientMessage": "From the client", "ServerMessage": "From the server"}
NO_BOUNDS = {"type", "items", "title", "description", "default", "examples"}
Schema = dict[str, Any]


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
            since = min(step for step, old in versions.items() if name in old["properties"])
            new = "" if since == min(versions) else f"Since {linked(since)}. "
            meaning = new + " ".join(field.get("description", "").split())
            if name != "type":
                rows.append(f"| `{name}` | {words(field)} | {meaning} |")
        if rows[2:]:
            yield "\n".join(rows)


def frames(step: str, side: str) -> dict[str, Schema]:
    """Return the JSON schema of each kind of frame that one side sends, by its `type`."""
    # A fresh import: in a live preview the file may have changed since.
    sys.modules.pop(name := f"steps.{step}.messages", None)
    sys.path.insert(0, str(ROOT))
    try:
        schema = TypeAdapter(getattr(import_module(name), side)).json_schema()
    except (ImportError, AttributeError) as error:
        raise PageError(f"steps/{step}/messages.py must have {side}: {error}") from error
    finally:
        sys.path.remove(str(ROOT))
    kinds = [schema["$defs"][one["$ref"].split("/")[-1]] for one in schema.get("oneOf", [])]
    return {kind["properties"]["type"]["const"]: kind for kind in kinds or [schema]}


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
    stand_ins = {"string": "...", "array": ["..."], "integer": 1, "number": 0.5, "boolean": True}
    made = {}
    for name, field in schema["properties"].items():
        own = [*field.get("examples", []), field.get("const"), *field.get("enum", [])]
        known = (value for value in own if value is not None)
        made[name] = next(known, stand_ins.get(field.get("type", ""), {}))
    return json.dumps(schema.get("examples", [made])[0], ensure_ascii=False)


def linked(step: str) -> str:
    """Return a link to a step's page from a page in docs/reference."""
    return f"[step {int(step[4:6])}](../steps/{step}.md)"
