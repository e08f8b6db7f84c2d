"""The addresses of the API, below `/api/v1/`."""

from django.urls import path

from billing_site.api.accounts import Accounts, OneAccount, OneConnection
from billing_site.api.events import Events
from billing_site.api.people import EraseContact, Members, VoidEvent
from billing_site.api.usage import ConnectionStatus, OnePeriod, Periods, Usage

urlpatterns = [
    path("events", Events.as_view()),
    path("accounts", Accounts.as_view()),
    path("accounts/<str:slug>", OneAccount.as_view()),
    path("accounts/<str:slug>/connections/<str:key>", OneConnection.as_view()),
    path("usage", Usage.as_view()),
    path("usage/periods", Periods.as_view()),
    path("usage/periods/<str:start>", OnePeriod.as_view()),
    path("connections/<str:key>/status", ConnectionStatus.as_view()),
    # What was wrong, who is to be forgotten, and who is a member: `people`.
    path("events/void", VoidEvent.as_view()),
    path("accounts/<str:slug>/erase", EraseContact.as_view()),
    path("accounts/<str:slug>/connections/<str:key>/members", Members.as_view()),
]
