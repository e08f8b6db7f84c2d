from typing import override

from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    name = "notifications"

    @override
    def ready(self) -> None:
        from notifications import tasks  # noqa: F401 - registers them
