"""What the page of an account says above its settings, in words. Reads; changes nothing."""

from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils.html import format_html

from metering.standing import Standing, recent_changes, recent_mails
from metering.standing_words import in_figures, notes
from metering.steering_pages import offered
from notifications.at_limit import what_happens
from notifications.words import plain


def context(standing: Standing, *, may_steer: bool) -> dict[str, Any]:
    """For the templates of the account's page."""
    return {
        **in_figures(standing),
        "account": standing.account,
        "notes": notes(standing),
        "at_limit": what_happens(standing.facts),
        "steps": [(step, address(standing, step.key)) for step in offered(standing)] if may_steer else [],
        "mails": _mails(standing),
        "changes": _changes(standing),
    }


def address(standing: Standing, step: str) -> str:
    """The page of a step."""
    return reverse("admin:accounts_account_steer", args=[standing.account.pk, step])


def _mails(standing: Standing) -> dict[str, Any]:
    rows = [
        [
            _moment(row.created_at),
            format_html(
                '<a href="{}" class="underline">{}</a>',
                reverse("admin:notifications_notification_change", args=[row.pk]),
                f"{row.get_kind_display()} {row.percent} %" if row.percent else row.get_kind_display(),
            ),
            row.get_audience_display(),
            row.get_state_display(),
        ]
        for row in recent_mails(standing.account)
    ]
    return {"headers": ["Written (UTC)", "Kind", "To", "State"], "rows": rows}


def _changes(standing: Standing) -> dict[str, Any]:
    rows = [
        [
            _moment(row.at),
            format_html(
                '<a href="{}" class="underline">{}</a>',
                reverse("admin:accounts_auditentry_change", args=[row.pk]),
                row.action,
            ),
            row.actor,
            plain(row.reason, 60),
        ]
        for row in recent_changes(standing.account)
    ]
    return {"headers": ["At (UTC)", "Change", "By", "Reason"], "rows": rows}


def _moment(at: datetime) -> dict[str, str]:
    return {"content": f"{at:%Y-%m-%d %H:%M}", "class": "whitespace-nowrap"}
