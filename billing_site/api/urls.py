"""The addresses of the API, below `/api/v1/`."""

from django.urls import path

from billing_site.api.accounts import Accounts, OneAccount, OneConnection, UsageLink
from billing_site.api.connections import Connections
from billing_site.api.contacts import Contacts, Export, OneContact
from billing_site.api.docs import Docs, Schema
from billing_site.api.events import Events
from billing_site.api.ledgers import Gaps, Held, Notifications, Plans, Subscriptions
from billing_site.api.people import EraseContact, Members, VoidEvent
from billing_site.api.steering import Close, Downgrade, Pause, Replay, Resume, Upgrade
from billing_site.api.usage import ConnectionStatus, Daily, OnePeriod, Periods, Usage
from billing_site.api.what_if import WhatIf

urlpatterns = [
    path("events", Events.as_view()),
    path("accounts", Accounts.as_view()),
    path("accounts/<str:slug>", OneAccount.as_view()),
    path("accounts/<str:slug>/connections/<str:key>", OneConnection.as_view()),
    path("accounts/<str:slug>/usage-link", UsageLink.as_view()),
    path("accounts/<str:slug>/pause", Pause.as_view()),
    path("accounts/<str:slug>/resume", Resume.as_view()),
    path("accounts/<str:slug>/upgrade", Upgrade.as_view()),
    path("accounts/<str:slug>/downgrade", Downgrade.as_view()),
    path("accounts/<str:slug>/replay", Replay.as_view()),
    path("accounts/<str:slug>/close", Close.as_view()),
    path("usage", Usage.as_view()),
    path("usage/daily", Daily.as_view()),
    path("usage/periods", Periods.as_view()),
    path("usage/periods/<str:start>", OnePeriod.as_view()),
    path("usage/contacts", Contacts.as_view()),
    path("usage/contacts/<path:subject>", OneContact.as_view()),  # a channel user id may hold slashes
    path("usage/export", Export.as_view()),
    path("usage/what-if", WhatIf.as_view()),
    path("connections", Connections.as_view()),
    path("connections/<str:key>/status", ConnectionStatus.as_view()),
    path("subscription", Subscriptions.as_view()),
    path("plans", Plans.as_view()),
    path("notifications", Notifications.as_view()),
    path("gaps", Gaps.as_view()),
    path("held", Held.as_view()),
    # What was wrong, who is to be forgotten, and who is a member: `people`.
    path("events/void", VoidEvent.as_view()),
    path("accounts/<str:slug>/erase", EraseContact.as_view()),
    path("accounts/<str:slug>/connections/<str:key>/members", Members.as_view()),
    path("schema/", Schema.as_view(), name="api-schema"),
    path("docs/", Docs.as_view(), name="api-docs"),
]
