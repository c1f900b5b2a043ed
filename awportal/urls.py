"""The portal's addresses."""

from django.contrib.auth.views import LogoutView
from django.urls import URLPattern, URLResolver, path

from awportal.api import api
from awportal.views import (
    account,
    archive,
    code,
    data_servers,
    errors,
    home,
    jobs,
    joining,
    products,
    recipes,
    runs,
    units,
    upload,
)

urlpatterns: list[URLPattern | URLResolver] = [
    path("", home.home, name="home"),
    path("login/", account.LogIn.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("account/", account.account, name="account"),
    path("account/password/", account.change_password, name="change-password"),
    path("account/context/", account.change_context, name="change-context"),
    path("account/environment/", account.bring_environment, name="bring-environment"),
    path("account/environment/remove/", account.remove_environment, name="remove-environment"),
    path("account/tokens/", account.new_token, name="new-token"),
    path("account/tokens/<int:pk>/revoke/", account.end_token, name="end-token"),
    path("archive/", archive.archive, name="archive"),
    path("archive/use/", archive.use, name="use-products"),
    path("archive/upload/", upload.upload, name="upload"),
    path("products/<int:pk>/", products.product, name="product"),
    path("products/<int:pk>/header/", products.product_header, name="product-header"),
    path("products/<int:pk>/inputs/<slug:role>/", products.product_inputs, name="product-inputs"),
    path("products/<int:pk>/verdict/", products.judge, name="judge"),
    path("products/<int:pk>/publish/", products.publish_product, name="publish-product"),
    path("products/<int:pk>/picture/<slug:size>.png", products.product_picture, name="product-picture"),
    path("products/<int:pk>/download/<slug:format_name>/", products.download, name="download"),
    path("recipes/", recipes.recipes, name="recipes"),
    path("recipes/<slug:name>/", recipes.recipe, name="recipe"),
    path("recipes/<slug:name>/run/", recipes.run_recipe, name="run-recipe"),
    path("recipes/<slug:name>/inputs/", recipes.recipe_inputs, name="recipe-inputs"),
    path("code/", code.code, name="code"),
    path("code/<int:pk>/", code.bundle, name="bundle"),
    path("code/<int:pk>/recipes/", code.bundle_recipes, name="bundle-recipes"),
    path("code/<int:pk>/accept/", code.accept, name="accept-bundle"),
    path("code/<int:pk>/remove/", code.remove, name="remove-bundle"),
    path("runs/", runs.runs, name="runs"),
    path("runs/cancel/", runs.cancel_all, name="cancel-runs"),
    path("runs/<int:pk>/", runs.run, name="run"),
    path("runs/<int:pk>/cancel/", runs.cancel, name="cancel-run"),
    path("runs/<int:pk>/move/", runs.move, name="move-run"),
    path("runs/<int:pk>/retry/", runs.retry, name="retry-run"),
    path("runs/<int:pk>/again/", runs.again, name="run-again"),
    path("runs/<int:pk>/publish/", runs.publish_products, name="publish-run"),
    path("runs/<int:pk>/log/", runs.run_log, name="run-log"),
    path("runs/<int:pk>/products.zip", runs.run_products, name="run-products"),
    path("runs/<int:pk>/<int:ordinal>/", jobs.job, name="job"),
    path("runs/<int:pk>/<int:ordinal>/log/", jobs.job_log, name="job-log"),
    path("units/", units.units, name="units"),
    path("units/<slug:name>/", units.unit, name="unit"),
    path("data-servers/", data_servers.data_servers, name="data-servers"),
    path("awworker", joining.awworker, name="awworker"),
    path("units/<slug:name>/settings/", units.unit_settings, name="unit-settings"),
    path("units/<slug:name>/machines/", units.unit_machines, name="unit-machines"),
    path("units/<slug:name>/cancel/", units.cancel_all, name="cancel-unit"),
    path("api/v1/", api.urls),
]

handler400 = errors.bad_request
handler403 = errors.forbidden
handler404 = errors.not_found
handler500 = errors.server_error
