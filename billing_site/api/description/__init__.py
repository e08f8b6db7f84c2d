"""What the API says of itself, a file for each resource; `contents` has all of it.

`make openapi` makes `billing_site/api/openapi.json` from it. Nothing here answers a request.
"""
