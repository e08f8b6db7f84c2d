"""The HTTP API: thin translators between requests and the domain (DESIGN section 7)."""
