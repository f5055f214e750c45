"""As much of JSON Schema as the control API's shapes use: does a value fit, and what would fit."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st

from proxy.control.shapes import SHAPES

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,),
    "number": (int, float), "boolean": (bool,), "null": (type(None),),
}  # fmt: skip
_KNOWN = frozenset(
    (
        "$ref", "type", "properties", "required", "additionalProperties", "items", "anyOf", "enum",
        "format", "minimum", "maximum", "exclusiveMinimum", "minLength", "maxLength",
        "minProperties",
    )
)  # fmt: skip
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
Shape = Mapping[str, Any]


def resolved(shape: Shape) -> Shape:
    """What a reference refers to."""
    name = shape.get("$ref")
    return shape if name is None else SHAPES[name.removeprefix("#/components/schemas/")]


def misfits(value: object, shape: Shape, at: str = "$") -> list[str]:
    """Why `value` is not of `shape`; empty: it is."""
    shape = resolved(shape)
    unknown = shape.keys() - _KNOWN
    assert not unknown, f"this validator does not know {unknown}"
    if "anyOf" in shape:
        options = [misfits(value, option, at) for option in shape["anyOf"]]
        return [] if [] in options else min(options, key=len)
    if "enum" in shape and value not in shape["enum"]:
        return [f"{at}: {value!r} is none of the words"]
    kind = shape.get("type")
    if kind is not None and not _is_of_type(value, kind):
        return [f"{at}: {value!r} is no {kind}"]
    found = [f"{at}: {value!r} breaks {rule}" for rule in _broken_bounds(value, shape)]
    if isinstance(value, dict):
        found += _object_misfits(value, shape, at)
    if isinstance(value, list):
        for place, item in enumerate(value):
            found += misfits(item, shape.get("items", {}), f"{at}[{place}]")
    return found


def _is_of_type(value: object, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _broken_bounds(value: Any, shape: Shape) -> list[str]:
    checks: dict[str, Callable[[Any], bool]] = {
        "minimum": lambda bound: value < bound,
        "maximum": lambda bound: value > bound,
        "exclusiveMinimum": lambda bound: value <= bound,
        "minLength": lambda bound: len(value) < bound,
        "maxLength": lambda bound: len(value) > bound,
        "minProperties": lambda bound: len(value) < bound,
        "format": lambda _: not _TIME.fullmatch(value),
    }
    return [name for name, breaks in checks.items() if name in shape and breaks(shape[name])]


def _object_misfits(value: dict[str, Any], shape: Shape, at: str) -> list[str]:
    fields = shape.get("properties", {})
    more = shape.get("additionalProperties", True)
    found = [f"{at}.{name} is missing" for name in shape.get("required", ()) if name not in value]
    for name, item in value.items():
        if name in fields:
            found += misfits(item, fields[name], f"{at}.{name}")
        elif more is False:
            found.append(f"{at}.{name} is not known")
        elif isinstance(more, Mapping):
            found += misfits(item, more, f"{at}.{name}")
    return found


def fitting(shape: Shape) -> st.SearchStrategy[Any]:
    """Values of `shape`."""
    shape = resolved(shape)
    if "anyOf" in shape:
        return st.one_of([fitting(option) for option in shape["anyOf"]])
    if "enum" in shape:
        return st.sampled_from(shape["enum"])
    least, most = shape.get("minimum", shape.get("exclusiveMinimum")), shape.get("maximum")
    match shape.get("type"):
        case "integer":
            return st.integers(least, most)
        case "number":
            return st.floats(
                least, most, exclude_min="exclusiveMinimum" in shape, allow_nan=False,
                allow_infinity=False,
            )  # fmt: skip
        case "string":
            return st.text(min_size=shape.get("minLength", 0), max_size=30)
        case "null":
            return st.none()
        case "object":
            fields = {name: fitting(field) for name, field in shape["properties"].items()}
            required = {name: fields.pop(name) for name in shape.get("required", ())}
            return st.fixed_dictionaries(required, optional=fields)
    raise AssertionError(f"no strategy for {shape}")


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
