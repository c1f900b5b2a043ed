"""What the portal itself keeps: tokens of the command line and of scripts, `Environment.cfg`, requests to join."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from archive.models import Project


class ApiToken(models.Model):
    """A token of a user; only its sha256 is kept, so that it can be shown once and revoked at any time."""

    class Scope(models.TextChoices):
        """What a token opens; ``awportal.tokens`` knows which addresses that are."""

        READ = "read", "read: see and download what you see"
        WORK = "work", "work: read, bring frames in, make and handle runs"
        EVERYTHING = "all", "all: whatever you may do"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")
    label = models.CharField(max_length=100)
    scope = models.CharField(max_length=10, choices=Scope, default=Scope.EVERYTHING)
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


class JoinRequest(models.Model):
    """Somebody's wish to be in a project; gone when they are, kept with the answer when it was no."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="join_requests")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="join_requests")
    words = models.CharField(max_length=500, blank=True)
    made = models.DateTimeField()
    declined = models.DateTimeField(null=True, blank=True)
    answer = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["project", "user"], name="join_request_once")]

    def __str__(self) -> str:
        return f"{self.user} to {self.project}"
