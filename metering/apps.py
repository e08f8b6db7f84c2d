import gc

from django.apps import AppConfig


class MeteringConfig(AppConfig):
    name = "metering"

    def ready(self) -> None:
        from metering import tasks  # noqa: F401 - importing registers them

        # A batch makes tens of thousands of small objects and drops them all: collecting after every 700 of them,
        # Python's default, costs intake a tenth of its rate.
        gc.set_threshold(200_000, 20, 50)
