"""Fails if a migration of the apps named on the command line cannot run beside the old code.

The linter's own command would have to be an installed app, in production too, and would take over
`makemigrations`.
"""

import logging
import os
import sys
from pathlib import Path

import django

EXEMPT = [
    "0003_versions_and_drafts",  # its unique keys hold already: the narrower one that it removes implied them
]
ROOT = Path(__file__).resolve().parent.parent


def main(apps: list[str]) -> int:
    """0 if all is well. What the linter found, it has printed."""
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "billing_site.settings")
    django.setup()
    logging.getLogger("django_migration_linter").setLevel(logging.WARNING)
    from django_migration_linter import MigrationLinter

    linter = MigrationLinter(str(ROOT), include_apps=apps, no_cache=True, ignore_name=EXEMPT, quiet=["ok", "ignore"])
    linter.lint_all_migrations()
    linter.print_summary()
    return int(linter.has_errors)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
