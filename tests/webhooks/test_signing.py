"""Signatures are those of the Standard Webhooks specification, and receivers verify them with its library."""

from base64 import b64decode
from datetime import UTC, datetime, timedelta, timezone

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from webhooks.signing import new_secret, signed_headers

AT = datetime(2021, 2, 25, 15, 2, 10, tzinfo=UTC)


def test_the_example_of_the_specification_comes_out():
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", '{"test": 2432232314}'

    assert signed_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", body, [secret], AT) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_time_of_another_zone_is_the_same_instant():
    secret = new_secret()
    there = AT.astimezone(timezone(timedelta(hours=9)))

    assert signed_headers("msg_1", "{}", [secret], there) == signed_headers("msg_1", "{}", [secret], AT)


def test_a_secret_has_256_random_bits():
    secrets = {new_secret() for _ in range(100)}

    assert len(secrets) == 100
    assert {len(b64decode(secret.removeprefix("whsec_"))) for secret in secrets} == {32}


def test_each_secret_signs_and_no_other_verifies():
    now, body = datetime.now(UTC), '{"a": "ü"}'
    old, new = new_secret(), new_secret()
    headers = signed_headers("msg_1", body, [new, old], now)

    assert Webhook(old).verify(body, headers) == Webhook(new).verify(body, headers) == {"a": "ü"}
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(body + " ", headers)
