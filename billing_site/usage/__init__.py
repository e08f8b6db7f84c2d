"""The customer's window: pages that show an account's usage to whoever holds a signed link (docs/decisions/0022).

`visit` lets in and turns errors into pages. Each other file is a page or two: it asks the functions that the API asks,
and puts their answers into words (`words`) and pictures (`charts`, `gauge`).
"""
