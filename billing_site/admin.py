"""The queue is no staff page: whoever may edit its rows may run code, as django-q2 unpickles them."""

from django.contrib import admin
from django_q.models import Failure, OrmQ, Schedule, Success

admin.site.unregister([Failure, OrmQ, Schedule, Success])
