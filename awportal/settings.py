"""The one place where the environment is read. Every name begins with ``AWPORTAL_``; docs/managers.md lists them."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from awportal.secret_files import given_secret, secret
from dataserver.signing import read_keys

BASE_DIR = Path(__file__).resolve().parent.parent


def _text(name: str, default: str = "") -> str:
    return os.environ.get(f"AWPORTAL_{name}", default)


def _flag(name: str, default: bool = False) -> bool:
    text = _text(name, "yes" if default else "no").lower()
    if text in {"1", "yes", "true", "on"}:
        return True
    if text in {"0", "no", "false", "off", ""}:
        return False
    raise ImproperlyConfigured(f"AWPORTAL_{name} is {text!r}; write yes or no")


def _whole_number(name: str, default: int) -> int:
    text = _text(name, str(default))
    if not text.isdigit():
        raise ImproperlyConfigured(f"AWPORTAL_{name} is {text!r}; write a whole number")
    return int(text)


def _seconds(name: str, default: float) -> float:
    try:
        return float(_text(name, str(default)))
    except ValueError:
        raise ImproperlyConfigured(f"AWPORTAL_{name} is {_text(name)!r}; write a number of seconds") from None


def _read_file(name: str) -> str:
    """Return the secret in the file that a setting names."""
    path = _text(name)
    try:
        return Path(path).read_text().strip() if path else ""
    except OSError as problem:
        raise ImproperlyConfigured(f"AWPORTAL_{name}: {problem}; name a file that the portal can read") from None


def _database(url: str) -> dict[str, object]:
    """Return Django's settings for a database's URL: sqlite:///PATH, postgresql://USER:PASSWORD@HOST:PORT/NAME, oracle://..."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": unquote(parts.path[1:]),
            "OPTIONS": {
                # One writer at a time, readers never wait; IMMEDIATE so that a transaction that will write queues at
                # its beginning and does not fail in the middle.
                "transaction_mode": "IMMEDIATE",
                "timeout": 30,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536;",
            },
        }
    engines = {"postgresql": "django.db.backends.postgresql", "oracle": "django.db.backends.oracle"}
    if parts.scheme not in engines:
        raise ImproperlyConfigured(
            f"AWPORTAL_DATABASE_URL begins with {parts.scheme!r}; write sqlite:///PATH, postgresql://... or oracle://..."
        )
    database: dict[str, object] = {
        "ENGINE": engines[parts.scheme],
        "NAME": unquote(parts.path[1:]),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "CONN_HEALTH_CHECKS": True,
    }
    if parts.scheme == "postgresql":
        # A pool, because a portal thread would otherwise open a connection a request. Binding by the server, because
        # only so can a unit's frontend have its statements prepared (unit_server.py).
        usual = {"pool": {"min_size": 1, "max_size": 8, "timeout": 20}, "server_side_binding": True}
        database["OPTIONS"] = {**usual, **dict(parse_qsl(parts.query))}
        if not database["HOST"]:
            database["HOST"] = dict(parse_qsl(parts.query)).get("host", "")
    return database


def _group_projects(text: str) -> dict[str, str]:
    """Return project by group, of ``GROUP=PROJECT; GROUP=PROJECT``; the last = of an entry divides it."""
    pairs = [entry.rpartition("=") for entry in text.split(";") if entry.strip()]
    if any(not group.strip() or not project.strip() for group, _, project in pairs):
        raise ImproperlyConfigured(f"AWPORTAL_GROUP_PROJECTS is {text!r}; write GROUP=PROJECT; GROUP=PROJECT")
    return {group.strip(): project.strip() for group, _, project in pairs}


def _given(name: str, what: str) -> str:
    try:
        return given_secret(SECRETS / name, what)
    except ValueError as problem:
        raise ImproperlyConfigured(str(problem)) from None


HOME = Path(_text("HOME", str(BASE_DIR / "var"))).resolve()
SECRETS = HOME / "secrets"
DATA_ROOT = Path(_text("DATA_ROOT", str(HOME / "data")))
PREVIEW_ROOT = HOME / "previews"

SECRET_KEY = secret(SECRETS / "django")
secret(SECRETS / "data-server")
DATA_KEYS = read_keys(SECRETS / "data-server")  # the first one signs, all are accepted
DATA_KEY = DATA_KEYS[0]
DEBUG = _flag("DEBUG")

BASE_URL = _text("BASE_URL", "http://127.0.0.1:8000").rstrip("/")
# Where browsers, nodes and the command line reach the data server; by default it is part of the portal.
DATA_URL = _text("DATA_URL", f"{BASE_URL}/data").rstrip("/")
BROKER_URL = _text("BROKER_URL", "redis://127.0.0.1:6379/0")
MAX_UPLOAD_BYTES = _whole_number("MAX_UPLOAD_MIB", 2048) * 1024 * 1024
LEASE_SECONDS = _seconds("LEASE_SECONDS", 20.0)
HEARTBEAT_SECONDS = _seconds("HEARTBEAT_SECONDS", 5.0)
SWEEP_SECONDS = _seconds("SWEEP_SECONDS", 5.0)
# What one user may have at a time (0: no limit); `manage.py user set` overrules them for one user.
QUOTA_QUEUED_JOBS = _whole_number("QUOTA_QUEUED_JOBS", 20_000)
QUOTA_RUNNING_JOBS = _whole_number("QUOTA_RUNNING_JOBS", 0)
QUOTA_STORED_BYTES = _whole_number("QUOTA_STORED_BYTES", 0)
# Users from this type on make projects of their own; 0: administrators alone.
PROJECTS_FROM_USER_TYPE = _whole_number("PROJECTS_FROM_USER_TYPE", 0)
# A canary job goes to each unit with a free slot so often; 0: none are sent.
CANARY_SECONDS = _seconds("CANARY_SECONDS", 60.0)
# After a gap of its own longer than a lease a frontend reaps nothing for this long: nodes which waited keep their work.
GRACE_SECONDS = _seconds("GRACE_SECONDS", 30.0)

# Notices. Without a mail server none go by mail. The password is in a file, never in the environment.
EMAIL_HOST = _text("SMTP_HOST")
EMAIL_PORT = _whole_number("SMTP_PORT", 587)
EMAIL_HOST_USER = _text("SMTP_USER")
EMAIL_HOST_PASSWORD = _read_file("SMTP_PASSWORD_FILE")
_smtp_security = _text("SMTP_SECURITY", "starttls")
if _smtp_security not in {"starttls", "tls", "none"}:
    raise ImproperlyConfigured(f"AWPORTAL_SMTP_SECURITY is {_smtp_security!r}; write starttls, tls or none")
EMAIL_USE_TLS, EMAIL_USE_SSL = _smtp_security == "starttls", _smtp_security == "tls"
EMAIL_TIMEOUT = 30
DEFAULT_FROM_EMAIL = _text("MAIL_FROM", f"awportal@{urlsplit(BASE_URL).hostname}")
# Hosts and networks to which webhooks may go though they are not public, or not by https.
WEBHOOK_HOSTS = [host.strip() for host in _text("WEBHOOK_HOSTS").split(",") if host.strip()]

_secure = BASE_URL.startswith("https://")
_host = urlsplit(BASE_URL).hostname or "127.0.0.1"
ALLOWED_HOSTS = [host for host in _text("ALLOWED_HOSTS", f"{_host},127.0.0.1,localhost").split(",") if host]
CSRF_TRUSTED_ORIGINS = [BASE_URL] if _secure else []
if _secure:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _secure
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_NAME = "awportal_session"
CSRF_COOKIE_NAME = "awportal_csrf"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "font-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_htmx",
    "axes",
    "csp",
    "archive",
    "processing_units.frontend",
    "awportal",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
    "awportal.api.errors.methods_told",
]

ROOT_URLCONF = "awportal.urls"
WSGI_APPLICATION = "awportal.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "awportal" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": _database(_text("DATABASE_URL", f"sqlite:///{HOME / 'awportal.sqlite3'}"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
# Accounts that are somewhere else (docs/managers.md). A group there can stand for a project here.
GROUP_PROJECTS = _group_projects(_text("GROUP_PROJECTS"))
OIDC_URL = _text("OIDC_URL").rstrip("/")
OIDC_NAME = _text("OIDC_NAME", "your institute")
OIDC_GROUPS_CLAIM = _text("OIDC_GROUPS_CLAIM", "groups")
if OIDC_URL:
    INSTALLED_APPS += [
        "allauth",
        "allauth.account",
        "allauth.socialaccount",
        "allauth.socialaccount.providers.openid_connect",
    ]
    MIDDLEWARE += ["allauth.account.middleware.AccountMiddleware"]
    ACCOUNT_ADAPTER = "awportal.people.openid.AccountAdapter"
    ACCOUNT_EMAIL_VERIFICATION = SOCIALACCOUNT_EMAIL_VERIFICATION = "none"
    ACCOUNT_UNIQUE_EMAIL = False
    ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if _secure else "http"
    SOCIALACCOUNT_ADAPTER = "awportal.people.openid.SocialAdapter"
    # A link, not a form: the pages' policy lets forms go nowhere but here. The log-in's state guards the way back.
    SOCIALACCOUNT_LOGIN_ON_GET = True
    SOCIALACCOUNT_REQUESTS_TIMEOUT = 10
    SOCIALACCOUNT_PROVIDERS = {
        "openid_connect": {
            "OAUTH_PKCE_ENABLED": True,
            "APPS": [
                {
                    "provider_id": "sso",
                    "name": OIDC_NAME,
                    "client_id": _text("OIDC_CLIENT_ID", "awportal"),
                    "secret": _given("oidc", "the secret that the OpenID provider gave this portal"),
                    "settings": {"server_url": OIDC_URL},
                }
            ],
        }
    }

LDAP_URL = _text("LDAP_URL")
if LDAP_URL:
    try:
        import ldap
        from django_auth_ldap.config import GroupOfNamesType, LDAPSearch
    except ImportError as problem:
        raise ImproperlyConfigured(
            f"AWPORTAL_LDAP_URL is set, and {problem.name} is missing: pip install -r requirements-ldap.txt "
            "(it is compiled: apt-get install gcc libldap2-dev libsasl2-dev)"
        ) from None
    # Local passwords first: they are not shown to the directory, and go on working while it is away.
    AUTHENTICATION_BACKENDS += ["awportal.people.ldap.DirectoryBackend"]
    AUTH_LDAP_SERVER_URI = LDAP_URL
    AUTH_LDAP_START_TLS = LDAP_URL.startswith("ldap://") and _flag("LDAP_START_TLS", True)
    _in_clear = not LDAP_URL.startswith(("ldaps://", "ldapi://")) and not AUTH_LDAP_START_TLS
    if _in_clear and urlsplit(LDAP_URL).hostname not in {"127.0.0.1", "::1", "localhost"}:
        raise ImproperlyConfigured("AWPORTAL_LDAP_START_TLS=no sends passwords in the clear: write ldaps://")
    AUTH_LDAP_CONNECTION_OPTIONS = {ldap.OPT_NETWORK_TIMEOUT: 5, ldap.OPT_TIMEOUT: 10, ldap.OPT_REFERRALS: 0}
    AUTH_LDAP_BIND_DN = _text("LDAP_BIND_DN")
    AUTH_LDAP_BIND_PASSWORD = _given("ldap", "the password of AWPORTAL_LDAP_BIND_DN") if AUTH_LDAP_BIND_DN else ""
    AUTH_LDAP_USER_SEARCH = LDAPSearch(
        _text("LDAP_USERS"), ldap.SCOPE_SUBTREE, _text("LDAP_USER_FILTER", "(uid=%(user)s)")
    )
    AUTH_LDAP_USER_ATTR_MAP = {"first_name": "givenName", "last_name": "sn", "email": "mail"}
    AUTH_LDAP_GROUP_SEARCH = LDAPSearch(
        _text("LDAP_GROUPS") or _text("LDAP_USERS"), ldap.SCOPE_SUBTREE, "(objectClass=groupOfNames)"
    )
    AUTH_LDAP_GROUP_TYPE = GroupOfNamesType()

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_VERBOSE = False
AXES_LOCKOUT_TEMPLATE = "locked_out.html"

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = HOME / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
FILE_UPLOAD_TEMP_DIR = _text("UPLOAD_TMP") or None
DATA_UPLOAD_MAX_NUMBER_FIELDS = 20_000
DATA_UPLOAD_MAX_NUMBER_FILES = 2_000

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": _text("LOG_LEVEL", "INFO")},
    # httpx would log each address that it asks, and ours are signed.
    "loggers": {"axes": {"level": "WARNING"}, "httpx": {"level": "WARNING"}},
}
