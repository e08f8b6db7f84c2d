"""All that is described: each endpoint and method, each schema, and the order of the chapters."""

from collections.abc import Mapping
from typing import Final

from billing_site.api.description import accounts, contacts, events, ledgers, problems, steering, usage
from billing_site.api.description.operation import Operation
from billing_site.api.description.values import Schema
from billing_site.api.endpoint import Endpoint

TAGS: Final = {
    events.TAG: "What connections did, as CloudEvents.",
    usage.TAG: "How much, of what, and why.",
    contacts.TAG: "Who counts, and why.",
    ledgers.TAG: "Subscriptions, plans, mails, gaps, and what is held.",
    accounts.TAG: "Accounts, as the product's own workers push them.",
    accounts.TAG_OF_CONNECTIONS: "Connections of accounts, and the members of contact syncs.",
    steering.TAG: "What is done to an account: pause, resume, upgrade, downgrade, replay, close.",
}

_RESOURCES: Final = (events, usage, contacts, ledgers, accounts, steering)

OPERATIONS: Final[Mapping[tuple[type[Endpoint], str], Operation]] = {
    key: operation for resource in _RESOURCES for key, operation in resource.OPERATIONS.items()
}

SCHEMAS: Final[Mapping[str, Schema]] = {
    name: schema for resource in (*_RESOURCES, problems) for name, schema in resource.SCHEMAS.items()
}
