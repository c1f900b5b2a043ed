"""What the portal itself keeps: tokens of the command line and of scripts, and users' `Environment.cfg`."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class ApiToken(models.Model):
    """A token of a user; only its sha256 is kept, so that it can be shown once and revoked at any time."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")
    label = models.CharField(max_length=100)
    token_hash = models.CharField(max_length=64, unique=True)
    created = models.DateTimeField(auto_now_add=True)
    last_used = models.DateTimeField(null=True, blank=True)
    revoked = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.label} of {self.user}"


class KeptEnvironment(models.Model):
    """What a user's ``Environment.cfg`` says, for the runs of the web; the file itself is not kept.

    ``entries`` are as in ``contract.Submission``; ``passed_over`` names what the file had besides.
    """

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="environment")
    entries = models.JSONField(default=dict)
    passed_over = models.JSONField(default=list)
    brought = models.DateTimeField()

    def __str__(self) -> str:
        return f"Environment.cfg of {self.user}"
