"""The project as a cluster of tests runs it: impatient, and with tasks that are poison."""

from billing_site.settings import *  # noqa: F403
from billing_site.settings import INSTALLED_APPS, Q_CLUSTER

INSTALLED_APPS = [*INSTALLED_APPS, "tests.jobs.poison.PoisonConfig"]
Q_CLUSTER = Q_CLUSTER | {"timeout": 5, "retry": 6, "poll": 0.2, "guard_cycle": 0.5, "workers": 2}
