"""Griffe extension: the default of a field of attrs or msgspec, without converter and validator."""

from __future__ import annotations

from typing import Any

import griffe


class FieldDefaults(griffe.Extension):
    """Replaces calls like `attrs.field(default=1, validator=...)` by the default."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        call = attr.value
        if isinstance(call, griffe.ExprCall) and str(call.function).endswith("field"):
            given = {
                part.name: part.value
                for part in call.arguments
                if isinstance(part, griffe.ExprKeyword)
            }
            factory = f"{given['factory']}()" if "factory" in given else None
            attr.value = given.get("default", factory)
