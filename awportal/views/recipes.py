"""Recipes: the list, a page of documentation each, and the form that runs one."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from pydantic import ValidationError

from archive.context import Context, context_of
from archive.models import Privilege, Profile
from awportal.listing import facets
from awportal.numpydoc_html import sections
from awportal.parameter_start import limits_of
from awportal.recipe_form import RecipeForm, check_inputs, read_form
from processing_units.contract import Plan
from processing_units.frontend.chains import paths_from
from processing_units.frontend.own_recipes import find_recipe_of
from processing_units.frontend.parameter_sets import find_set, keep_set, remove_set
from processing_units.frontend.permissions import user_type
from processing_units.frontend.refusals import PlanChanged
from processing_units.frontend.submit import plan as plan_of
from processing_units.frontend.submit import submit
from processing_units.frontend.unit_choice import choose_unit, offered_units
from recipes.catalogue import all_recipes, find_recipe
from recipes.errors import UsageError
from recipes.recipe import Recipe

# So many jobs of a dry run are shown one by one.
_JOBS_SHOWN = 50


@require_safe
def recipes(request: HttpRequest) -> HttpResponse:
    """List the recipes in the order in which a night needs them."""
    return render(request, "recipes.html", {"recipes": all_recipes().values()})


@require_safe
def recipe(request: HttpRequest, name: str) -> HttpResponse:
    """Show a recipe's documentation, which is its docstring."""
    found = _find(name)
    return render(request, "recipe.html", {"recipe": found, "sections": sections(found.documentation)})


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def run_recipe(request: HttpRequest, name: str) -> HttpResponse:
    """Show the form; check it (a dry run); submit it."""
    context = context_of(request.user)
    data = request.POST if request.method == "POST" else request.GET
    found = _find(name, data.get("code", ""), context)
    form = read_form(found, data, context)
    action = request.POST.get("action", "")
    plan: Plan | None = None
    if action in {"keep-set", "remove-set"}:
        form = _change_sets(form, data, context, request)
    if action in {"plan", "submit"}:
        check_inputs(form)
        try:
            if form.is_good and action == "submit":
                return redirect("run", submit(form.submission(context), context).pk)
            if form.is_good:
                plan = plan_of(form.submission(context), context, _JOBS_SHOWN)
        except PlanChanged as changed:
            form.error, form.hint = changed.message, "below is what it would be now; run that, or change it"
            plan = plan_of(form.submission(context), context, _JOBS_SHOWN)
        except UsageError as refused:
            form.error, form.hint = refused.message, refused.hint
        except ValidationError:
            form.error = "the form was changed on its way; reload the page and fill it in again"
    status = 200 if form.is_good else 422
    return render(request, "run_recipe.html", _form_page(form, plan, request), status=status)


@login_required
@require_POST
def recipe_inputs(request: HttpRequest, name: str) -> HttpResponse:
    """Renew the part of the form where inputs are chosen, after a filter was changed."""
    context = context_of(request.user)
    form = read_form(_find(name, request.POST.get("code", ""), context), request.POST, context)
    return render(request, "parts/inputs.html", {"form": form, "recipe": form.recipe})


def _change_sets(form: RecipeForm, data: QueryDict, context: Context, request: HttpRequest) -> RecipeForm:
    """Keep what the form says under a name, or remove the chosen set; return the form as it is then."""
    if not form.is_good:
        return form
    then = data.copy()
    try:
        if data.get("action") == "keep-set":
            shared = bool(data.get("set-shared"))
            kept = keep_set(form.recipe, data.get("set-name", ""), form.changed_parameters, context, shared)
            then["set"] = kept.name
            messages.success(request, f"Kept as {kept.name}: choose it here, or write --params-set '{kept.name}'.")
        else:
            remove_set(find_set(form.recipe, data.get("set", ""), context), context)
            then["set"] = ""
            messages.success(request, "Removed; runs keep the parameters that they had from it.")
    except UsageError as refused:
        form.error, form.hint = refused.message, refused.hint
        return form
    return read_form(form.recipe, then, context)


def _find(name: str, code: str = "", context: Context | None = None) -> Recipe:
    """Return a recipe of the standard code, or as one's own code of that digest has it."""
    try:
        return find_recipe(name) if not code or context is None else find_recipe_of(name, code, context)
    except UsageError as error:
        raise Http404(error.message) from None


def _form_page(form: RecipeForm, plan: Plan | None, request: HttpRequest) -> dict[str, object]:
    context = context_of(request.user)
    try:
        default = choose_unit(None, form.recipe.name, context)
        unit_problem = None
    except UsageError as refused:
        default, unit_problem = None, refused
    return {
        "form": form,
        "recipe": form.recipe,
        "facets": facets(context),
        "given": form.given,
        "offers": offered_units(form.recipe.name, context),
        "default_unit": default,
        "unit_problem": unit_problem,
        "chains": [] if form.code else [(path, path.replace(">", " > ")) for path in paths_from(form.recipe)],
        "quality_limits": limits_of(form.recipe, form.given),
        "is_standard": form.recipe.name in all_recipes(),
        "project": context.project,
        "may_choose": user_type(context) >= Profile.UserType.CHOOSES,
        "privileges": [level for level in Privilege if level != Privilege.VO],
        "plan": plan,
        "plan_unit": next((unit for unit in plan.units if unit.chosen), None) if plan else None,
    }
