"""The portal's addresses."""

from django.urls import URLPattern, URLResolver, path

from awportal.api import api

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1/", api.urls),
]
