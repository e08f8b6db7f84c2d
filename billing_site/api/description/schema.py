"""What drf-spectacular calls while it walks the addresses of the API: `manage.py spectacular`."""

from pathlib import Path
from typing import Any, Final

from drf_spectacular.openapi import AutoSchema

from accounts.models import Scope
from billing_site.api.description import contents, problems
from billing_site.api.description.operation import described
from billing_site.api.endpoint import Endpoint
from metering.catalogue import BY_NAME

_INTRODUCTION: Final = Path(__file__).with_name("introduction.md")


class Undescribed(LookupError):
    """An endpoint that answers and is not described in `contents`."""


class Described(AutoSchema):
    """Operations as `contents` describes them; views have no serializers that could be asked."""

    def get_operation(self, path: str, path_regex: str, path_prefix: str, method: str, registry: Any) -> dict[str, Any]:
        view = type(self.view)
        assert issubclass(view, Endpoint)  # noqa: S101 - every view of the API is one
        operation = contents.OPERATIONS.get((view, method))
        if operation is None:
            raise Undescribed(f"{method} {path} ({view.__name__}) is in no file of billing_site/api/description.")
        return described(operation, view, method, path, contents.SCHEMAS)


def complete(result: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Add what belongs to no operation: the introduction, where we are, the schemas, and how to authenticate."""
    introduction = _INTRODUCTION.read_text(encoding="utf-8")
    result["info"]["description"] = introduction.replace("[[codes]]", problems.table()).replace("[[types]]", _types())
    result["servers"] = [{"url": "/api/v1", "description": "Where this page comes from."}]
    result["tags"] = [{"name": name, "description": text} for name, text in contents.TAGS.items()]
    result["components"] = {
        "schemas": dict(contents.SCHEMAS),
        "responses": problems.shared_answers(),
        "securitySchemes": {
            "key": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "hc_live_…",
                "description": f"A key with the scope that the operation names: {', '.join(Scope.values)}.",
            }
        },
    }
    return result


def _types() -> str:
    """The catalogue of event types, in Markdown."""
    rows = [
        f"| `{kind.name}` | {'yes' if kind.billable else ''} "
        f"| {f'`{kind.reason.label}`' if kind.reason else ''} "
        f"| {f'{kind.unit.name.lower()} contacts' if kind.unit else ''} |"
        for kind in BY_NAME.values()
    ]
    return "\n".join(["| type | billable event | reason | counts a contact for |", "|---|---|---|---|", *rows])
