"""The site itself as a Django app: it holds the commands and the system checks."""

from typing import override

from django.apps import AppConfig


class BillingSiteConfig(AppConfig):
    """Only wires the checks."""

    name = "billing_site"
    verbose_name = "Headcount"

    @override
    def ready(self) -> None:
        from billing_site import checks  # noqa: F401 - importing registers them
