"""One sentence for a wrong key or value: which, what it is, what is allowed."""

from typing import Any

from pydantic import BaseModel, ValidationError

_BOUNDS = {
    "minimum": ">=",
    "exclusiveMinimum": ">",
    "maximum": "<=",
    "exclusiveMaximum": "<",
}


def sentence(error: ValidationError, model: type[BaseModel], prefix: str = "") -> str:
    """The first error as one sentence: key, value and allowed values; how many more there are.

    `prefix` stands before the key, for a section that was checked by itself.
    """
    schema = model.model_json_schema()
    first = error.errors()[0]
    place = _place(schema, first["loc"])
    key = prefix + ".".join(str(p) for p in place)
    more = len({tuple(_place(schema, e["loc"])) for e in error.errors()}) - 1
    tail = f" (and {more} more)" if more else ""
    if first["type"] == "missing":
        return f"{key} is missing: give {allowed(schema, place)}{tail}"
    if first["type"] == "extra_forbidden":
        keys = ", ".join(_at(schema, place[:-1]).get("properties", {}))
        return f"{key} = {first['input']!r} is not a key: allowed are {keys}{tail}"
    if first["type"] == "value_error":
        said = str(first.get("ctx", {}).get("error"))
        return f"{key}: {said}{tail}" if key else said + tail
    if "[key]" in first["loc"]:
        return f"{key}: this name may hold only lower-case letters, digits and _{tail}"
    return f"{key} = {first['input']!r} is not allowed: give {allowed(schema, place)}{tail}"


def allowed(schema: dict[str, Any], place: list[str | int]) -> str:
    """What the value at `place` may be, in words, read from the model's JSON schema."""
    return _words(schema, _at(schema, place))


def _place(schema: dict[str, Any], loc: tuple[str | int, ...]) -> list[str | int]:
    """Where an error is, without pydantic's words for which of several types was tried there."""
    place: list[str | int] = []
    for part in loc:
        kinds = [n for n in _at(schema, place).get("anyOf", []) if n.get("type") != "null"]
        if len(kinds) > 1:
            break
        if part != "[key]":
            place.append(part)
    return place


def _at(schema: dict[str, Any], place: list[str | int]) -> dict[str, Any]:
    node = _follow(schema, schema)
    for part in place:
        if isinstance(part, int):
            node = node.get("items", {})
        elif part in node.get("properties", {}):
            node = node["properties"][part]
        else:
            others = node.get("additionalProperties") or next(
                iter(node.get("patternProperties", {}).values()), {}
            )
            node = others if isinstance(others, dict) else {}
        node = _follow(schema, node)
    return node


def _follow(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return node


def _words(schema: dict[str, Any], node: dict[str, Any]) -> str:
    node = _follow(schema, node)
    if "enum" in node:
        return "one of " + ", ".join(map(str, node["enum"]))
    if "const" in node:
        return str(node["const"])
    kind = node.get("type")
    if kind in ("integer", "number"):
        bounds = [f"{sign} {node[name]:g}" for name, sign in _BOUNDS.items() if name in node]
        if "multipleOf" in node:
            bounds.append(f"a multiple of {node['multipleOf']}")
        name = "a whole number" if kind == "integer" else "a number"
        return " ".join([name, " and ".join(bounds)]).strip()
    if kind == "array":
        least, most = node.get("minItems"), node.get("maxItems")
        size = f" of {least}" if least and least == most else " of at least 1" if least else ""
        return f"a list{size}, each {_words(schema, node.get('items', {}))}"
    if kind == "object":
        return "a section with " + (", ".join(node.get("properties", {})) or "named entries")
    if "anyOf" in node:
        return " or ".join(_words(schema, n) for n in node["anyOf"])
    return {"boolean": "true or false", "null": "nothing (null)"}.get(kind or "", "text")
