"""The embedded PostgreSQL: `places` (who runs it and where), `server` (start, stop), `base` (for Django).

The package's name contains "postgresql" because other packages tell the database by DATABASES' ENGINE.
"""
