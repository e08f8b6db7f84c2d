from typing import override

from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    name = "webhooks"

    @override
    def ready(self) -> None:
        from webhooks import tasks  # noqa: F401 - registers them
