"""The archive's tables: products with their measurements and lineage, projects and people's contexts.

A column's name is never a word that Oracle reserves and has at most 30 characters (checked in CI).
"""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models


class Privilege(models.IntegerChoices):
    """Who sees a product, as in Astro-WISE."""

    MYDB = 1, "MyDB: its creator"
    PROJECT = 2, "project: its members"
    ALL_USERS = 3, "all users"
    WORLD = 4, "world"
    VO = 5, "Virtual Observatory"


class Validity(models.IntegerChoices):
    """A person's verdict on a product."""

    BAD = 0, "bad"
    GOOD = 1, "good"
    PROPOSED = 2, "proposed"


class Project(models.Model):
    """A group of people who share products."""

    name = models.CharField(max_length=100, unique=True)
    description = models.TextField(blank=True)
    created = models.DateTimeField(auto_now_add=True)
    is_listed = models.BooleanField(default=True, help_text="whether all users know of it, who may then ask to join")

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """Somebody's place in a project."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    is_manager = models.BooleanField(default=False)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["project", "user"], name="membership_once")]

    def __str__(self) -> str:
        return f"{self.user} in {self.project}"


class Profile(models.Model):
    """What a user may do (type) and the context in which they work now."""

    class UserType(models.IntegerChoices):
        """Astro-WISE's four kinds of users."""

        STANDARD = 1, "standard recipes with the managers' settings"
        CHOOSES = 2, "chooses units and parameters"
        SHIPS_CODE = 3, "ships code of their own"
        BRINGS_UNIT = 4, "brings a unit of their own"

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="profile")
    user_type = models.PositiveSmallIntegerField(choices=UserType, default=UserType.CHOOSES)
    project = models.ForeignKey(Project, on_delete=models.SET_NULL, null=True, blank=True)
    privilege = models.PositiveSmallIntegerField(choices=Privilege, default=Privilege.MYDB)
    directory = models.CharField(max_length=20, blank=True, help_text="where the account comes from; empty: made here")

    def __str__(self) -> str:
        return f"profile of {self.user}"


class Product(models.Model):
    """A file in the data server and what is known of it: raw frames and all that recipes made.

    ``kind`` is a name of ``recipes/kinds.py``. Times are UT. ``night`` is the date of the local noon that began it.
    ``timestamp_start`` and ``timestamp_end`` bound the validity of a calibration.
    """

    kind = models.CharField(max_length=40)
    name = models.CharField(max_length=200)
    sha256 = models.CharField(max_length=64)
    file_size = models.BigIntegerField()
    instrument = models.CharField(max_length=60)
    chip = models.CharField(max_length=40)
    filter_name = models.CharField(max_length=40, blank=True)
    readout_mode = models.CharField(max_length=60, default="default")
    date_obs = models.DateTimeField(null=True, blank=True)
    night = models.DateField(null=True, blank=True)
    exposure_time = models.FloatField(null=True, blank=True)
    # Two attributes by which calibrations are told apart, so that choosing reads no JSON.
    temperature = models.FloatField(null=True, blank=True, help_text="detector, degree Celsius")
    overscan_correction = models.PositiveSmallIntegerField(null=True, blank=True, help_text="method 0-8, recipes.md")
    object_name = models.CharField(max_length=100, blank=True)
    ra = models.FloatField(null=True, blank=True)
    dec = models.FloatField(null=True, blank=True)
    healpix = models.BigIntegerField(null=True, blank=True)
    attributes = models.JSONField(default=dict)
    creator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="products")
    project = models.ForeignKey(Project, on_delete=models.PROTECT, null=True, blank=True, related_name="products")
    privilege = models.PositiveSmallIntegerField(choices=Privilege, default=Privilege.MYDB)
    is_valid = models.PositiveSmallIntegerField(choices=Validity, default=Validity.PROPOSED)
    quality_flags = models.PositiveIntegerField(default=0)
    # See archive.staleness, which alone writes it. By number: the product that is named may be seen by fewer people.
    stale_because = models.BigIntegerField(null=True, blank=True, help_text="a product called bad that it rests on")
    timestamp_start = models.DateTimeField(null=True, blank=True)
    timestamp_end = models.DateTimeField(null=True, blank=True)
    created = models.DateTimeField(auto_now_add=True)
    recipe = models.CharField(max_length=40, blank=True)
    recipe_version = models.CharField(max_length=20, blank=True)
    parameters = models.JSONField(default=dict)
    code_digest = models.CharField(max_length=64, blank=True)
    # The job that made it, by number: the archive knows nothing of jobs, the frontend looks the other way.
    made_by_run = models.BigIntegerField(null=True, blank=True)
    made_by_job = models.BigIntegerField(null=True, blank=True)
    made_without = models.JSONField(default=list)
    # What there is once: a job's product of a name, a creator's raw frame of a content and chip. One nullable column,
    # because Oracle knows no partial index and takes (NULL, name) twice for a duplicate.
    identity = models.CharField(max_length=255, unique=True, null=True, blank=True, editable=False)

    inputs = models.ManyToManyField(
        "self", through="Lineage", through_fields=("product", "source"), symmetrical=False, related_name="made_from_it"
    )

    class Meta:
        indexes: ClassVar = [
            models.Index(
                fields=["kind", "instrument", "chip", "filter_name", "timestamp_start", "timestamp_end"],
                name="product_calibration",
            ),
            models.Index(fields=["instrument", "filter_name", "date_obs"], name="product_observed"),
            models.Index(fields=["night", "kind"], name="product_night"),
            models.Index(fields=["healpix"], name="product_healpix"),
            models.Index(fields=["sha256"], name="product_sha256"),
            # The first page of what one may see: in order of time, the rule of archive.context decided from the index
            # alone. None begins with privilege: SQLite would take it for every query, as each asks what may be seen.
            models.Index(fields=["date_obs", "id", "privilege", "project", "creator"], name="product_latest"),
            models.Index(fields=["creator", "created"], name="product_creator"),
            models.Index(fields=["made_by_run"], name="product_run"),
            # What the archive page filters by or sorts by, each with the order in time that breaks its ties.
            models.Index(fields=["name", "date_obs", "id"], name="product_by_name"),
            models.Index(fields=["kind", "date_obs", "id"], name="product_by_kind"),
            models.Index(fields=["instrument", "date_obs", "id"], name="product_by_instrument"),
            models.Index(fields=["chip", "date_obs", "id"], name="product_by_chip"),
            models.Index(fields=["filter_name", "date_obs", "id"], name="product_by_filter"),
            models.Index(fields=["object_name", "date_obs", "id"], name="product_by_object"),
            models.Index(fields=["exposure_time", "date_obs", "id"], name="product_by_exposure"),
            models.Index(fields=["night", "date_obs", "id"], name="product_by_night"),
            models.Index(fields=["project", "date_obs", "id"], name="product_by_project"),
            models.Index(fields=["is_valid", "date_obs", "id"], name="product_by_verdict"),
            # What is usually asked for together. The last also tells verdict, flags and validity from the index alone.
            models.Index(fields=["kind", "filter_name", "date_obs", "id"], name="product_kind_filter"),
            models.Index(fields=["instrument", "chip", "filter_name", "date_obs", "id"], name="product_of_chip"),
            models.Index(
                fields=["kind", "chip", "quality_flags", "is_valid", "timestamp_start", "timestamp_end"],
                name="product_kind_chip",
            ),
            models.Index(fields=["quality_flags", "date_obs", "id"], name="product_by_flags"),
            models.Index(fields=["stale_because"], name="product_stale"),
        ]

    def __str__(self) -> str:
        return self.name


class FacetValue(models.Model):
    """A value that occurs among products, and whom it may be told to (``archive.facets``)."""

    scope = models.CharField(max_length=40)
    name = models.CharField(max_length=20)
    text = models.CharField(max_length=100)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["scope", "name", "text"], name="facet_value_once")]

    def __str__(self) -> str:
        return f"{self.name} {self.text} for {self.scope}"


class FacetsMark(models.Model):
    """Up to which product the table of values knows all; who writes values holds its row."""

    name = models.CharField(max_length=20, unique=True)
    until = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name} until {self.until}"


class SavedSelection(models.Model):
    """A selection with a name: filters, asked anew each time, or chosen products (the filter ``ids``), which stay.

    ``key`` is its address; it opens nothing by itself where ``sharing`` does not say so.
    """

    class Sharing(models.TextChoices):
        """Who may open it; each sees of its products what they may see."""

        OWNER = "owner", "you alone"
        PROJECT = "project", "the members of its project"
        LINK = "link", "whoever has its link"

    key = models.CharField(max_length=32, unique=True)
    name = models.CharField(max_length=100)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="selections")
    project = models.ForeignKey(Project, on_delete=models.SET_NULL, null=True, blank=True, related_name="selections")
    sharing = models.CharField(max_length=10, choices=Sharing, default=Sharing.OWNER)
    filters = models.JSONField(default=dict)
    changed = models.DateTimeField(auto_now=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["owner", "name"], name="selection_once")]

    def __str__(self) -> str:
        return self.name

    @property
    def is_fixed(self) -> bool:
        """Whether it holds chosen products, not filters."""
        return "ids" in self.filters


class Change(models.Model):
    """Who changed what, from what to what, when: the one log of what people decided. Never changed, never removed.

    Written by ``archive.audit`` in the transaction of the change itself. No secret is ever a value.
    """

    class Subject(models.TextChoices):
        """What was changed."""

        PRODUCT = "product"
        PROJECT = "project"
        USER = "user"
        UNIT = "unit"
        DATA_SERVER = "data server"
        CODE = "code"

    made = models.DateTimeField()
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    who = models.CharField(max_length=150, help_text="how the user was called, or where the command was typed")
    subject = models.CharField(max_length=20, choices=Subject)
    # By number and name: what is told must stand when the thing itself is gone.
    subject_number = models.BigIntegerField(null=True, blank=True)
    subject_name = models.CharField(max_length=200)
    what = models.CharField(max_length=40)
    value_before = models.CharField(max_length=1000, blank=True)
    value_after = models.CharField(max_length=1000, blank=True)
    project = models.ForeignKey(
        Project, on_delete=models.SET_NULL, null=True, related_name="+", help_text="whose managers may read this"
    )

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["subject", "subject_number", "id"], name="change_of_subject"),
            models.Index(fields=["project", "id"], name="change_in_project"),
        ]

    def __str__(self) -> str:
        return f"{self.what} of {self.subject} {self.subject_name}: {self.value_before} to {self.value_after}"


class LimitSource(models.TextChoices):
    """Where a limit comes from: the recipes' own table, the history of a chip, or a person."""

    PUBLISHED = "published"
    LEARNED = "learned"
    SET = "set"


class QualityLimit(models.Model):
    """A limit that goes before the published one, for an instrument, one of its chips, or a chip and filter.

    An empty chip or filter means all of them; the one that says more goes before the one that says less.
    """

    kind = models.CharField(max_length=40)
    measurement = models.CharField(max_length=60)
    instrument = models.CharField(max_length=60)
    chip = models.CharField(max_length=40, blank=True)
    filter_name = models.CharField(max_length=40, blank=True)
    minimum = models.FloatField(null=True, blank=True)
    maximum = models.FloatField(null=True, blank=True)
    source = models.CharField(max_length=10, choices=LimitSource)
    since = models.DateTimeField()
    set_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="quality_limits")
    learned_from = models.PositiveIntegerField(default=0, help_text="products of its history")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["instrument", "kind", "measurement", "chip", "filter_name"], name="quality_limit_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.measurement} of {self.instrument} {self.chip} {self.filter_name}".rstrip()


class Measurement(models.Model):
    """One QC value of a product with the limits it was held to."""

    class Verdict(models.TextChoices):
        """Whether the value lies within its limits."""

        GOOD = "good"
        BAD = "bad"
        UNLIMITED = "unlimited"

    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="measurements")
    name = models.CharField(max_length=60)
    measured = models.FloatField(null=True, blank=True)
    error = models.FloatField(null=True, blank=True)
    unit = models.CharField(max_length=40, blank=True)
    lower_limit = models.FloatField(null=True, blank=True)
    upper_limit = models.FloatField(null=True, blank=True)
    verdict = models.CharField(max_length=10, choices=Verdict, default=Verdict.UNLIMITED)
    limit_source = models.CharField(max_length=10, choices=LimitSource, blank=True)
    limit_since = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["name", "measured"], name="measurement_trend")]
        constraints: ClassVar = [models.UniqueConstraint(fields=["product", "name"], name="measurement_once")]

    def __str__(self) -> str:
        measured = "not measured" if self.measured is None else f"{self.measured:g} {self.unit}"
        return f"{self.name} = {measured}".rstrip()


class Lineage(models.Model):
    """One input of a product, with its role."""

    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="lineage")
    source = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="descendants")
    role = models.CharField(max_length=40)
    ordinal = models.PositiveIntegerField(default=0)

    class Meta:
        ordering: ClassVar = ["role", "ordinal"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["product", "role", "ordinal"], name="lineage_once"),
        ]

    def __str__(self) -> str:
        return f"{self.source} as {self.role} of {self.product}"
