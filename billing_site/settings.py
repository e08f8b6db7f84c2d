"""Settings, all from the environment (and a `.env` file beside `manage.py`); nonsense is refused by name."""

from pathlib import Path
from urllib.parse import urlsplit

from django.utils.csp import CSP

from billing_site import devdb, environment

BASE_DIR = Path(__file__).resolve().parent.parent
environment.env.read_env(BASE_DIR / ".env")

DEBUG = environment.switch("DEBUG")
DATA_DIR = BASE_DIR / environment.text("DATA_DIR", ".data")  # an absolute path stands for itself

SECRET_KEY = environment.secret(
    "SECRET_KEY",
    development_value="development-only-secret-key-of-no-value-at-all-0123456789" if DEBUG else None,
)
KEY_PEPPER = environment.secret("KEY_PEPPER", development_value="development-only-pepper" if DEBUG else None)
KEY_PEPPERS_OLD = environment.old_secrets("KEY_PEPPERS_OLD", KEY_PEPPER)
READ_RATE = environment.whole_number("READ_RATE", 50, most=1_000_000)  # a second, by each key of an account
BASE_URL = environment.web_address("BASE_URL", "http://127.0.0.1:8000")
ALLOWED_HOSTS = environment.host_names(
    "ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]", urlsplit(BASE_URL).hostname or ""]
)
METRICS_TOKEN = environment.text("METRICS_TOKEN")
SUPPORT_EMAIL = environment.text("SUPPORT_EMAIL", "support@localhost")
DEFAULT_FROM_EMAIL = environment.text("DEFAULT_FROM_EMAIL", "headcount@localhost")
SERVER_EMAIL = DEFAULT_FROM_EMAIL
MAILERS = environment.mailers("EMAIL_URL", default="consolemail://")
# Who may show the page of a usage link in a frame: the product's own pages. Nothing else may be framed by
# anybody.
FRAME_ORIGINS = environment.origins("FRAME_ORIGINS")

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django.contrib.humanize",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_q",
    "accounts",
    "jobs",
    "plans",
    "notifications",
    "webhooks",
    "metering",
    "billing_site",
]
MIDDLEWARE = [
    "billing_site.health.answer_probes",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "billing_site.admin_scripts.allow_eval_in_admin",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
UNFOLD = {"SITE_TITLE": "Headcount", "SITE_HEADER": "Headcount", "SITE_SYMBOL": "groups"}
ROOT_URLCONF = "billing_site.urls"
WSGI_APPLICATION = "billing_site.wsgi.application"
AUTH_USER_MODEL = "accounts.User"
LOGIN_REDIRECT_URL = "admin:index"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"

# With DEBUG the files are served from where they lie; without, from what `collectstatic` (which `serve`
# runs) put together.
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
WHITENOISE_USE_FINDERS = DEBUG
WHITENOISE_AUTOREFRESH = DEBUG
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

# Every thread keeps its connection, and tests it before a request: a restarted database is noticed, not
# suffered. No pool: gunicorn's threads are as many as its connections, and a pool does not survive the
# forks of the task cluster.
DATABASES = {
    "default": {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}
    | (environment.database("DATABASE_URL") or devdb.database(DATA_DIR))
}

# Whether we are reached over TLS is told by BASE_URL, in one place.
_TLS = BASE_URL.startswith("https://")
SECURE_SSL_REDIRECT = environment.switch("SSL_REDIRECT", default=_TLS)
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$"]  # asked from inside, without TLS
SECURE_HSTS_SECONDS = environment.whole_number("HSTS_SECONDS", 365 * 24 * 3600 if _TLS else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SESSION_COOKIE_SECURE = _TLS
CSRF_COOKIE_SECURE = _TLS
CSRF_TRUSTED_ORIGINS = ["{0.scheme}://{0.netloc}".format(urlsplit(BASE_URL))]
X_FRAME_OPTIONS = "DENY"
# Only behind a proxy that always sets or removes the header: else any client could claim to come over TLS.
if _header := environment.request_header("PROXY_PROTO_HEADER"):
    SECURE_PROXY_SSL_HEADER = (_header, "https")
# Likewise: else any client could claim an address that its key may be used from.
PROXY_ADDRESS_HEADER = environment.request_header("PROXY_ADDRESS_HEADER")
# Putting a domain on the browsers' own lists is its owner's decision, and hard to undo.
SILENCED_SYSTEM_CHECKS = ["security.W021"]
SECURE_CSP: dict[str, list[str]] = {
    "default-src": [CSP.SELF],
    "style-src": [CSP.SELF, CSP.UNSAFE_INLINE],  # unfold's widgets carry style attributes
    "img-src": [CSP.SELF, "data:"],
    "object-src": [CSP.NONE],
    "base-uri": [CSP.SELF],
    "form-action": [CSP.SELF],
    "frame-ancestors": [CSP.NONE],
}
# Only inside the admin, where scripts of other hosts stay forbidden too (`admin_scripts`).
ADMIN_CSP: dict[str, list[str]] = SECURE_CSP | {"script-src": [CSP.SELF, CSP.UNSAFE_EVAL]}
# For the pages of a usage link: `csp_override(settings.FRAMED_CSP)` together with `xframe_options_exempt`. They have
# no script and no style but the one file.
FRAMED_CSP: dict[str, list[str]] = {
    "default-src": [CSP.NONE],
    "style-src": [CSP.SELF],
    "img-src": [CSP.SELF],
    "base-uri": [CSP.NONE],
    "form-action": [CSP.SELF],
    "frame-ancestors": FRAME_ORIGINS or [CSP.NONE],
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "lines": {
            "()": "billing_site.logs.Readable",
            "format": "{asctime} {levelname} {name}: {message}",
            "style": "{",
        }
        if DEBUG
        else {"()": "billing_site.logs.JsonLines"}
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "lines"}},
    "root": {"handlers": ["console"], "level": environment.text("LOG_LEVEL", "INFO").upper()},
    # Django gives these handlers of their own, which would show addresses and say everything twice.
    "loggers": {
        "django": {"handlers": [], "level": "NOTSET", "propagate": True},
        "django.server": {"handlers": [], "level": "NOTSET", "propagate": True},
    },
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["billing_site.api.auth.KeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["billing_site.api.auth.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    # A name for documentation; bodies are read by `billing_site.api.bodies`.
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "EXCEPTION_HANDLER": "billing_site.api.problems.problem_response",
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_SCHEMA_CLASS": "billing_site.api.description.schema.Described",
}
# Makes `billing_site/api/openapi.json` from `billing_site/api/description`: `make openapi`.
SPECTACULAR_SETTINGS = {
    "TITLE": "Headcount",
    "VERSION": "v1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SCHEMA_PATH_PREFIX_TRIM": True,
    "SORT_OPERATIONS": False,
    "POSTPROCESSING_HOOKS": ["billing_site.api.description.schema.complete"],
}

# retry must exceed the longest task plus its wait in a worker's own queue, or a task runs twice at once.
Q_CLUSTER = {
    "name": "headcount",
    "orm": "default",
    "workers": 2,
    "timeout": 300,
    "retry": 900,
    "max_attempts": 3,
    "bulk": 1,
    "queue_limit": 4,
    "save_limit": 1000,
    "poll": 0.5,
    "catch_up": False,
    "recycle": 500,
}
