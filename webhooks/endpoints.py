"""Add an endpoint, switch it off and on, give it another secret: each with a row in the audit trail."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction

from accounts.audit import write_audit
from accounts.models import Account
from accounts.refusals import Refused
from webhooks.models import Endpoint, EventType
from webhooks.signing import new_secret
from webhooks.targets import BadTarget, target_of

PREVIOUS_SECRET_SIGNS_FOR: Final = timedelta(days=7)
"""How long the secret before signs too: so long may a receiver take to learn the new one."""


@transaction.atomic
def create(
    url: str,
    *,
    account: Account | None,
    types: Iterable[str],
    actor: str,
    now: datetime,
    description: str = "",
) -> Endpoint:
    """A new endpoint, with the secret that may be shown this once. Raises `Refused` (`bad_url`, `unknown_type`)."""
    check_url(url)
    wanted = set(types)
    if unknown := wanted - set(EventType.values):
        detail = f"There is no type {min(unknown)}; there are {', '.join(EventType.values)}."
        raise Refused("unknown_type", detail, field="types", status=400)
    row = Endpoint.objects.create(
        account=account,
        url=url,
        types=[about.value for about in EventType if about in wanted],
        description=description,
        secret=new_secret(),
        created_at=now,
    )
    after = {"endpoint": row.pk, "url": url, "types": row.types}
    write_audit(account, "webhook_endpoint.created", actor=actor, at=now, before={}, after=after)
    return row


@transaction.atomic
def delete(endpoint: Endpoint, *, actor: str, now: datetime) -> None:
    """Remove an endpoint that nothing was ever written for. Raises ProtectedError for any other."""
    before = {"endpoint": endpoint.pk, "url": endpoint.url, "types": endpoint.types}
    endpoint.delete()
    write_audit(endpoint.account, "webhook_endpoint.deleted", actor=actor, at=now, before=before, after={})


def check_url(url: str) -> None:
    """Raises `Refused` (`bad_url`) for a URL that no webhook goes to."""
    try:
        target_of(url)
    except BadTarget as error:
        raise Refused("bad_url", str(error), field="url", status=400) from error


@transaction.atomic
def rotate_secret(endpoint: Endpoint, *, actor: str, now: datetime) -> Endpoint:
    """Give an endpoint a new secret, which may be shown this once; the present one signs beside it for a week."""
    row = Endpoint.objects.select_for_update().get(pk=endpoint.pk)
    row.previous_secret, row.previous_secret_until = row.secret, now + PREVIOUS_SECRET_SIGNS_FOR
    row.secret = new_secret()
    row.save(update_fields=["secret", "previous_secret", "previous_secret_until"])
    after = {"endpoint": row.pk, "previous_secret_until": row.previous_secret_until}
    write_audit(row.account, "webhook_endpoint.secret_rotated", actor=actor, at=now, before={}, after=after)
    return row


def signing_secrets(endpoint: Endpoint, now: datetime) -> list[str]:
    """What a message of this moment is signed with: the secret, and for a week the one before."""
    until = endpoint.previous_secret_until
    return [endpoint.secret] if until is None or until <= now else [endpoint.secret, endpoint.previous_secret]


@transaction.atomic
def disable(endpoint: Endpoint, because: str, *, actor: str, now: datetime) -> bool:
    """Send nothing more to an endpoint; False if nothing was sent to it before."""
    was = Endpoint.objects.filter(pk=endpoint.pk, enabled=True)
    if not was.update(enabled=False, disabled_at=now, disabled_because=because):
        return False
    before, after = {"endpoint": endpoint.pk, "enabled": True}, {"enabled": False}
    write_audit(
        endpoint.account,
        "webhook_endpoint.disabled",
        actor=actor,
        at=now,
        before=before,
        after=after,
        reason=because,
    )
    return True


@transaction.atomic
def enable(endpoint: Endpoint, *, actor: str, now: datetime) -> bool:
    """Send to an endpoint again, what happens from now on; False if it was enabled."""
    was = Endpoint.objects.filter(pk=endpoint.pk, enabled=False)
    if not was.update(enabled=True, disabled_at=None, disabled_because="", silences=0, rests_until=None):
        return False
    before, after = {"endpoint": endpoint.pk, "enabled": False}, {"enabled": True}
    write_audit(endpoint.account, "webhook_endpoint.enabled", actor=actor, at=now, before=before, after=after)
    return True
