"""Django's PostgreSQL backend, but the first connection that finds nobody home starts the embedded server.

So a command that needs no database starts none, and a server that died under a running site comes back.
"""

from pathlib import Path
from typing import Any, override

import psycopg
from django.core.management.base import CommandError
from django.db.backends.postgresql import base
from django.db.utils import OperationalError

from billing_site import devdb


class EmbeddedDatabaseUnavailable(OperationalError, CommandError):
    """A database error to whoever handles those; on the command line a sentence instead of a traceback."""


class DatabaseWrapper(base.DatabaseWrapper):
    """As its parent, but DATABASES has a DATA_DIR, whose server a failing connection starts."""

    @override
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        try:
            return super().get_new_connection(conn_params)
        except psycopg.OperationalError:
            try:
                devdb.start(Path(self.settings_dict["DATA_DIR"]))
            except devdb.DevdbError as error:
                raise EmbeddedDatabaseUnavailable(str(error)) from error
            return super().get_new_connection(conn_params)
