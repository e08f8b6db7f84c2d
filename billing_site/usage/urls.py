"""The addresses of the usage pages."""

from django.urls import path

from billing_site.usage.connections import connections, status
from billing_site.usage.contacts import contact, contacts, export
from billing_site.usage.help import help_page
from billing_site.usage.less import less
from billing_site.usage.lists import gaps, held, mails
from billing_site.usage.overview import overview
from billing_site.usage.periods import periods

app_name = "usage"
urlpatterns = [
    path("", overview, name="overview"),
    path("less", less, name="less"),
    path("contacts", contacts, name="contacts"),
    path("contacts/why", contact, name="contact"),
    path("contacts.csv", export, name="export"),
    path("connections", connections, name="connections"),
    path("connections/<str:key>", status, name="status"),
    path("periods", periods, name="periods"),
    path("notifications", mails, name="mails"),
    path("gaps", gaps, name="gaps"),
    path("held", held, name="held"),
    path("help", help_page, name="help"),
]
