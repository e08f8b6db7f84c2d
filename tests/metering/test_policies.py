"""What happens at the limit, by the truth table of DESIGN section 5; without a database."""

from itertools import product

import pytest

from metering.limits import Action, Policy, Why, at_limit, standing

POLICIES: tuple[Policy, ...] = ("by_replayability", "upgrade", "hold", "pause", "limit_new")


def decided(
    plan: Policy,
    own: Policy | None = None,
    *,
    counts_events: bool = False,
    trial: bool = False,
    auto_upgrade: bool = True,
    replayable: tuple[bool, ...] = (True, False),
) -> tuple[Action, Why]:
    return at_limit(
        plan_policy=plan,
        own_policy=own,
        counts_events=counts_events,
        trial=trial,
        auto_upgrade=auto_upgrade,
        replayable=replayable,
    )


@pytest.mark.parametrize(
    ("replayable", "action"),
    [
        ((), "hold"),
        ((True,), "hold"),
        ((True, True), "hold"),
        ((False,), "upgrade"),
        ((True, False, True), "upgrade"),
    ],
)
def test_one_connection_that_cannot_be_replayed_decides_for_an_upgrade(replayable: tuple[bool, ...], action: str):
    assert decided("by_replayability", replayable=replayable) == (action, "replayability")


@pytest.mark.parametrize("policy", ["upgrade", "hold", "pause", "limit_new"])
def test_any_other_policy_is_what_it_says(policy: Policy):
    assert decided(policy) == (policy, "plan")
    assert decided("by_replayability", policy) == (policy, "account")


@pytest.mark.parametrize(("plan", "own"), list(product(POLICIES, (None, *POLICIES))))
def test_a_trial_limits_new_contacts_or_pauses_and_never_upgrades(plan: Policy, own: Policy | None):
    action, why = decided(plan, own, trial=True)

    expected = (
        ("limit_new", "plan" if own is None else "account") if (own or plan) == "limit_new" else ("pause", "trial")
    )
    assert (action, why) == expected


@pytest.mark.parametrize(("plan", "own"), list(product(POLICIES, (None, *POLICIES))))
def test_who_opted_out_is_paused_where_others_are_upgraded_or_decided_by_replayability(
    plan: Policy, own: Policy | None
):
    chosen = own or plan
    action, why = decided(plan, own, auto_upgrade=False)

    if chosen in ("by_replayability", "upgrade"):
        assert (action, why) == ("pause", "opted_out")
    else:
        assert (action, why) == (chosen, "plan" if own is None else "account")


@pytest.mark.parametrize("plan", ["by_replayability", "upgrade", "hold", "pause"])
@pytest.mark.parametrize("auto_upgrade", [True, False])
@pytest.mark.parametrize("trial", [True, False])
def test_events_cannot_be_limited_to_known_contacts_so_the_plan_decides(plan: Policy, auto_upgrade: bool, trial: bool):
    with_own = decided(plan, "limit_new", counts_events=True, auto_upgrade=auto_upgrade, trial=trial)

    assert with_own == decided(plan, counts_events=True, auto_upgrade=auto_upgrade, trial=trial)


@pytest.mark.parametrize(
    ("used", "limit_state", "paused", "expected"),
    [
        (10, "holding", True, "paused"),
        (12, "over_top_tier", False, "over_top_tier"),
        (10, "holding", False, "holding"),
        (10, "limiting", False, "limiting"),
        (10, "paused", False, "paused"),
        (10, "", False, "limit_reached"),
        (8, "", False, "warning"),
        (7, "", False, "ok"),
        (0, "", True, "paused"),
    ],
)
def test_the_first_state_that_applies_is_shown(used: int, limit_state: str, paused: bool, expected: str):
    assert standing(used, 10, limit_state=limit_state, paused=paused) == expected
