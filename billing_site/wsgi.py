"""The WSGI application that gunicorn serves."""

import os

from django.core.wsgi import get_wsgi_application

from billing_site.requests import Utf8Request

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "billing_site.settings")
application = get_wsgi_application()
application.request_class = Utf8Request
