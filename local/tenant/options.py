"""What can be set at run time about how the tenant answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(slots=True)
class Options:
    """Defaults show each of Graph's habits now and then; set probabilities to 0 or 1 to pin them down."""

    page_size: int = 200
    member_slice: int = 200
    page_links: int = 2000
    replay_probability: float = 0.02
    empty_page_probability: float = 0.02
    announce_hard_deleted_links: bool = False
    removed_in_initial_round: bool = False
    bare_site_ids: bool = False
    latency_ms: int = 0
    delivery_retry_ms: int = 1000

    def as_json(self) -> dict[str, Any]:
        return {_camel(name): value for name, value in asdict(self).items()}

    def change(self, values: dict[str, Any]) -> None:
        """Set options by their JSON names; all or none."""
        kinds = {_camel(field.name): (field.name, type(getattr(self, field.name))) for field in fields(self)}
        chosen: dict[str, Any] = {}
        for key, value in values.items():
            if key not in kinds:
                raise ValueError(f"There is no option '{key}'; known: {', '.join(kinds)}.")
            name, kind = kinds[key]
            if kind is float and type(value) is int:
                value = float(value)
            if type(value) is not kind or (kind is not bool and value < 0):
                raise ValueError(f"Option '{key}' takes a {kind.__name__} that is not negative.")
            if name in ("page_size", "member_slice", "page_links") and value < 1:
                raise ValueError(f"Option '{key}' must be at least 1.")
            chosen[name] = value
        for name, value in chosen.items():
            setattr(self, name, value)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)
