"""`manage.py export_catalogue`: the published catalogue as CSV."""

from typing import Any, override

from django.core.management.base import BaseCommand

from plans.exchange import exported


class Command(BaseCommand):
    """Prints it; nothing else goes to stdout."""

    help = "Print the published plans and tiers as CSV, as import_catalogue and the admin take them in."

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(exported(), ending="")
