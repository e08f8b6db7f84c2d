"""What an operator does to an account."""

from typing import Final

from billing_site.api.description.forms import schema_of
from billing_site.api.description.operation import Link, Operation, object_of
from billing_site.api.description.values import Schema, instant, number, one_of, or_null, record, text, yes_or_no
from billing_site.api.steering import (
    Action,
    Close,
    Downgrade,
    DownTo,
    Pause,
    Replay,
    Resume,
    Upgrade,
    UpTo,
    Why,
)
from metering.models import GapReason

TAG: Final = "Steering"

_WHY: Final = text("Why, for the audit trail.", "they asked for it")

SCHEMAS: Final[dict[str, Schema]] = {
    "Why": schema_of(Why, {"reason": _WHY}),
    "UpTo": schema_of(
        UpTo, {"reason": _WHY, "tier": text("The key of a higher tier of the account's plan.", "growth")}
    ),
    "DownTo": schema_of(
        DownTo,
        {
            "reason": _WHY,
            "tier": text("The key of a lower tier of the account's plan, or of any tier of another.", "starter"),
            "plan": text("The key of the plan. By default the account's own.", "connect"),
        },
    ),
    "PauseState": record(
        "Whether the account is paused.",
        {
            "paused": yes_or_no("Whether what arrives is dropped.", True),
            "reason": or_null(
                one_of(
                    "Why: by staff or operator, as its trial has ended, or at its limit.",
                    "paused_by_staff",
                    [GapReason.PAUSED_BY_STAFF, GapReason.TRIAL_ENDED, GapReason.LIMIT_REACHED],
                ),
                "it is not paused",
            ),
            "since": or_null(instant("Since when."), "it is not paused"),
        },
    ),
    "ReplayAnswer": record(
        "What was replayed.",
        {
            "replayed": number("Held events that count now.", 40),
            "held": number("Events that are still held; of many, some are replayed in the background.", 2),
        },
    ),
}

_AFTER: Final = [
    Link("getAccount", {"slug": "$request.path.slug"}),
    Link("getUsage", {"account": "$request.path.slug"}),
    Link("listSubscriptions", {"account": "$request.path.slug"}),
    Link("resumeAccount", {"slug": "$request.path.slug"}),
]


def _action(
    view: type[Action],
    operation: str,
    summary: str,
    text: str,
    component: str,
    refuses: tuple[str, ...] = (),
) -> Operation:
    given = {"reason": "they asked for it"}
    if view.form is not Why:
        given["tier"] = "growth" if view.form is UpTo else "starter"
    return Operation(
        id=operation,
        tag=TAG,
        summary=summary,
        text=f"{text} Asking for what already holds changes nothing.",
        answers={200: (component, "How things stand now.")},
        body=object_of(view.form, view.form.__name__, {"They asked": given}, "Why, and what is needed."),
        refuses=refuses,
        locks=True,
        links=_AFTER,
    )


OPERATIONS: Final = {
    (Pause, "POST"): _action(
        Pause,
        "pauseAccount",
        "Pause an account",
        "Everything that arrives is dropped until the account is resumed; what was dropped is told in the gaps and "
        "cannot be replayed.",
        "PauseState",
    ),
    (Resume, "POST"): _action(
        Resume,
        "resumeAccount",
        "Resume an account",
        "Ends a pause by staff or operator, and what the current period does at its limit.",
        "PauseState",
        ("trial_ended",),
    ),
    (Upgrade, "POST"): _action(
        Upgrade,
        "upgradeAccount",
        "Upgrade an account",
        "To a higher tier of its plan, at once. A downgrade that is pending is cancelled.",
        "Subscription",
        ("unknown_tier", "not_higher", "trial_tier", "account_closed"),
    ),
    (Downgrade, "POST"): _action(
        Downgrade,
        "downgradeAccount",
        "Downgrade an account",
        "To a lower tier, or to another plan, from the next billing period on.",
        "Subscription",
        ("unknown_plan", "unknown_tier", "over_target", "not_lower", "trial_tier", "account_closed"),
    ),
    (Replay, "POST"): _action(
        Replay,
        "replayHeld",
        "Count what is held",
        "As far as there is room, the oldest first.",
        "ReplayAnswer",
        ("paused",),
    ),
    (Close, "POST"): _action(
        Close,
        "closeAccount",
        "Close an account",
        "From the end of its billing period on nothing more is taken.",
        "Subscription",
    ),
}
