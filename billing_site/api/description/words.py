"""The words that several answers use."""

from typing import Final, get_args

from metering.catalogue import BY_NAME, Reason
from metering.facts import Outcome
from metering.limits import Action, Standing
from plans.models import Unit

UNITS: Final = Unit.values
OUTCOMES: Final = get_args(Outcome)
STATES: Final = get_args(Standing)
ACTIONS: Final = get_args(Action)
TYPES: Final = list(BY_NAME)
REASONS: Final = [reason.label for reason in Reason]

UNIT: Final = (
    "What the plan charges by: `app_connector_events` (every billable event), `active_contacts` (each contact once a "
    "period) or `activated_contacts` (each contact once a month that an automation touched)."
)
STATE: Final = (
    "How the account stands, the first that applies: `paused` (what arrives is dropped), `over_top_tier` (no higher "
    "tier fits; counting goes on), `holding` (what would raise the count is held), `limiting` (new contacts are not "
    "served), `limit_reached` (100 %), `warning` (80 %), `ok`."
)
