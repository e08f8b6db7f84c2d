"""`manage.py load_catalogue`: the plans that Headcount ships."""

from typing import Any, override

from django.core.management.base import BaseCommand
from django.utils import timezone

from plans.catalogue import load


class Command(BaseCommand):
    """Makes what is missing; what is there already is left as it is."""

    help = "Make and publish the shipped plans and tiers that are missing. Running it again changes nothing."

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        made = load(timezone.now())
        self.stdout.write(f"{made} plans and tiers made" if made else "all plans and tiers are there")
