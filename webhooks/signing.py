"""Secrets and signatures, as the Standard Webhooks specification has them."""

import secrets
from base64 import b64encode
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from standardwebhooks import Webhook

SECRET_BYTES: Final = 32


def new_secret() -> str:
    """A secret that nobody knows yet, as receivers give it to their library."""
    return "whsec_" + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signed_headers(message_id: str, body: str, signing: Iterable[str], now: datetime) -> dict[str, str]:
    """The headers that go with a body: its id, the time of this attempt, and a signature by each secret."""
    now = now.astimezone(UTC)
    signatures = [Webhook(secret).sign(message_id, now, body) for secret in signing]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
