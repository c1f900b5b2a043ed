"""Of what one is told when it ends, and how: the choice, the confirmation of an address, the key of a webhook."""

from __future__ import annotations

import secrets
from datetime import timedelta

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from processing_units.frontend.clock import database_now
from processing_units.frontend.models import Notice, NoticeChoice
from processing_units.frontend.notices import texts, webhook
from processing_units.frontend.notices.writing import write
from recipes.errors import UsageError

# A mail to an address that nobody has confirmed may reach a stranger: no more than so many an hour.
CONFIRMATIONS_AN_HOUR = 5
TESTS_AN_HOUR = 10
SHOWN = 12


class ChoiceForm(forms.ModelForm):  # type: ignore[type-arg]
    """Of what, and to which addresses."""

    batches = forms.BooleanField(required=False, label="Tell me when a batch ends")

    class Meta:
        model = NoticeChoice
        fields = ("runs", "minutes", "address", "webhook")
        labels = {  # noqa: RUF012 - as Django has it
            "runs": "Tell me when these end",
            "minutes": "Long is from",
            "address": "By e-mail to",
            "webhook": "By webhook to",
        }
        help_texts = {  # noqa: RUF012
            "minutes": "minutes from submission to end",
            "address": "a link in a first mail confirms it; empty: no mail",
            "webhook": "https://HOST/PATH that takes JSON by POST; empty: none",
        }

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["batches"].initial = self.instance.batches_since is not None
        self.fields["batches"].help_text = "its runs are then not told singly"
        if not settings.EMAIL_HOST:
            self.fields["address"].disabled = True
            self.fields["address"].help_text = "this portal sends no mail: its manager has named no mail server"

    def clean_webhook(self) -> str:
        """Refuse an address that the portal would not send to."""
        url = str(self.cleaned_data["webhook"]).strip()
        if url:
            try:
                webhook.place_of(url)
            except UsageError as refused:
                raise forms.ValidationError(
                    f"{refused.message}; {refused.hint}" if refused.hint else refused.message
                ) from None
        return url


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def notices(request: HttpRequest) -> HttpResponse:
    """Show the choice, and keep a new one."""
    choice = NoticeChoice.objects.filter(user=request.user).first() or NoticeChoice(user=request.user)  # type: ignore[misc]
    if request.method != "POST":
        return _page(request, ChoiceForm(instance=choice))
    before = (choice.address, choice.webhook)
    form = ChoiceForm(request.POST, instance=choice)
    if not form.is_valid():
        return _page(request, form, status=422)
    key = _keep(choice, before, wants_batches=form.cleaned_data["batches"])
    messages.success(request, "Your choice is kept; it holds for what ends from now on.")
    if choice.address and choice.confirmed is None:
        _ask_to_confirm(request, choice.address)
    return _page(request, ChoiceForm(instance=choice), key=key) if key else redirect("notices")


@login_required
@require_POST
@never_cache
def new_key(request: HttpRequest) -> HttpResponse:
    """Make a new key for the webhook and show it this once; the old one signs nothing any more."""
    choice = NoticeChoice.objects.filter(user=request.user).exclude(webhook="").first()  # type: ignore[misc]
    if choice is None:
        messages.error(request, "There is no webhook to have a key: name its address first.")
        return redirect("notices")
    choice.webhook_salt = secrets.token_hex(16)
    choice.save(update_fields=["webhook_salt"])
    return _page(request, ChoiceForm(instance=choice), key=webhook.signing_key(choice))


@login_required
@require_POST
def test(request: HttpRequest) -> HttpResponse:
    """Send a notice that tells of nothing, each way."""
    choice = NoticeChoice.objects.filter(user=request.user).first()  # type: ignore[misc]
    hour_ago = database_now() - timedelta(hours=1)
    tests = Notice.objects.filter(user=request.user, occasion__contains=" test ", written__gt=hour_ago)  # type: ignore[misc]
    if choice is None or not choice.ways:
        messages.error(request, "There is no way to you yet: name an address and confirm it, or name a webhook.")
    elif tests.count() >= TESTS_AN_HOUR:
        messages.error(request, "That were many tests in an hour; wait a little.")
    else:
        write(choice, f"test {secrets.token_hex(8)}")
        messages.success(request, "A test is on its way; the list below tells what became of it.")
    return redirect("notices")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def confirm(request: HttpRequest, token: str) -> HttpResponse:
    """Confirm one's address: a page with a button, as programs that read mail follow links too."""
    found = texts.confirmed_address(token)
    address = found[1] if found is not None and found[0] == request.user.pk else ""
    waiting = NoticeChoice.objects.filter(user=request.user, address=address).exclude(address="")  # type: ignore[misc]
    if not waiting.exists():
        return render(request, "confirm_address.html", {}, status=404)
    if request.method == "POST":
        waiting.update(confirmed=database_now())
        messages.success(request, f"Notices go to {address} from now on.")
        return redirect("notices")
    return render(request, "confirm_address.html", {"address": address})


def _keep(choice: NoticeChoice, before: tuple[str, str], *, wants_batches: bool) -> str:
    """Write a choice; return the key of a webhook that is new."""
    if choice.address != before[0]:
        choice.confirmed = None
    choice.batches_since = (choice.batches_since or database_now()) if wants_batches else None
    is_new = bool(choice.webhook) and not (before[1] and choice.webhook_salt)
    if is_new:
        choice.webhook_salt = secrets.token_hex(16)
    choice.save()
    return webhook.signing_key(choice) if is_new else ""


def _ask_to_confirm(request: HttpRequest, address: str) -> None:
    hour_ago = database_now() - timedelta(hours=1)
    asked = Notice.objects.filter(user=request.user, written__gt=hour_ago).exclude(address="")  # type: ignore[misc]
    if asked.count() >= CONFIRMATIONS_AN_HOUR:
        messages.error(request, "Too many addresses in an hour: save it again later, and a mail will be sent.")
        return
    Notice.objects.create(
        user=request.user,  # type: ignore[misc]
        way=Notice.Way.MAIL,
        address=address,
        occasion=f"mail confirmation {secrets.token_hex(8)}",
    )
    messages.success(request, f"A mail is on its way to {address}: follow its link to confirm the address.")


def _page(request: HttpRequest, form: ChoiceForm, status: int = 200, key: str = "") -> HttpResponse:
    listed = Notice.objects.filter(user=request.user).select_related("run", "batch").order_by("-pk")[:SHOWN]  # type: ignore[misc]
    answer = {
        "form": form,
        "choice": form.instance,
        "key": key,
        "listed": listed,
        "can_mail": bool(settings.EMAIL_HOST),
        "page": reverse("notices"),
    }
    return render(request, "notices.html", answer, status=status)
