"""Who sees and changes what: the one place where the archive's permissions are written.

A context is a user, the project and the privilege level that the user works in. Nobody sees anything unless a rule here
says so. What a user sees follows from the user; project and privilege say where new products go.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet

from archive.models import Membership, Privilege, Product, Profile, Project


@dataclass(frozen=True)
class Context:
    """User, project and privilege level; without a user it is a visitor's."""

    user: User | None = None
    project: Project | None = None
    privilege: int = Privilege.MYDB

    @property
    def is_visitor(self) -> bool:
        """Whether nobody is logged in."""
        return self.user is None


VISITOR = Context()


def context_of(user: User | AnonymousUser | Any) -> Context:
    """Return the context that `user` works in, as the profile says; a visitor's for who is not logged in or not active.

    A project that the user no longer belongs to is left out, and the privilege goes back to MyDB. Who may not publish
    works at level 3 at most, whatever the profile says.
    """
    if not isinstance(user, User) or not user.is_active:
        return VISITOR
    profile = Profile.objects.select_related("project").filter(user=user).first()
    if profile is None:
        return Context(user)
    if profile.project is not None and not is_member(user, profile.project):
        return Context(user)
    if profile.project is None and profile.privilege == Privilege.PROJECT:
        return Context(user)
    if profile.privilege >= Privilege.WORLD and not may_publish(user, profile.project):
        return Context(user, profile.project, Privilege.ALL_USERS)
    return Context(user, profile.project, profile.privilege)


def is_member(user: User | None, project: Project | None) -> bool:
    """Whether `user` belongs to `project`."""
    return bool(user and project) and Membership.objects.filter(user=user, project=project).exists()


def is_manager(user: User | None, project: Project | None) -> bool:
    """Whether `user` manages `project`."""
    if user is None or project is None:
        return False
    return Membership.objects.filter(user=user, project=project, is_manager=True).exists()


def may_publish(user: User | None, project: Project | None) -> bool:
    """Whether `user` may show products of `project` to the world: its managers and administrators."""
    return user is not None and user.is_active and (user.is_superuser or is_manager(user, project))


def readable(context: Context) -> Q:
    """Return the filter of :func:`visible`, for queries that reach products over a relation's own table."""
    public = Q(privilege__gte=Privilege.WORLD)
    if context.user is None or not context.user.is_active:
        return public
    projects = Membership.objects.filter(user=context.user).values("project_id")
    return (
        Q(privilege__gte=Privilege.ALL_USERS)
        | Q(creator_id=context.user.pk)
        | Q(privilege=Privilege.PROJECT, project_id__in=projects)
    )


def visible(context: Context) -> QuerySet[Product]:
    """Return the products that may be seen: of the world; by a user also all users', the own, and the projects'."""
    return Product.objects.filter(readable(context))


def may_see(context: Context, product: Product) -> bool:
    """Whether `product` may be seen and downloaded."""
    return visible(context).filter(pk=product.pk).exists()


def may_change(context: Context, product: Product) -> bool:
    """Whether `product` may be changed: by its creator, the managers of its project, and administrators."""
    user = context.user
    if user is None or not user.is_active:
        return False
    if user.is_superuser or product.creator_id == user.pk:
        return True
    return product.privilege >= Privilege.PROJECT and is_manager(user, product.project)


def why_not_raise(context: Context, product: Product, level: int, project: Project | None) -> str:
    """Return why this context may not raise a product that it sees to this level, or "".

    Its creator, the managers of its project and administrators raise it to all users; managers and administrators to
    the world. `project` is that of the product, or the one it is to belong to from now on.
    """
    if not may_change(context, product):
        return "only its creator, a manager of its project or an administrator publishes this product"
    if level == Privilege.PROJECT:
        if project is None:
            return "it belongs to no project: name one of yours, or choose one in your context"
        if not (is_member(context.user, project) or (context.user is not None and context.user.is_superuser)):
            return f"you are in no project {project}"
    if level >= Privilege.WORLD and not may_publish(context.user, project):
        whose = f"of {project}" if project else "of a project that it belongs to"
        return f"only a manager {whose} shows it to the world"
    return ""


def with_privilege(context: Context, privilege: int | None) -> Context:
    """Return `context` with the privilege level asked for new products, or raise PermissionDenied with the reason.

    Project level needs a project; to publish (level 4 and 5) is for its managers and administrators.
    """
    if context.user is None:
        raise PermissionDenied("log in first: visitors make no products")
    if privilege is None or privilege == context.privilege:
        return context
    wanted = Privilege(privilege)
    if wanted == Privilege.PROJECT and context.project is None:
        raise PermissionDenied("results cannot go to project level: you work in no project; choose one in your context")
    if wanted >= Privilege.WORLD and not may_publish(context.user, context.project):
        raise PermissionDenied(
            "results cannot be published: only a manager of the project may do that; choose level 3 or lower"
        )
    return replace(context, privilege=wanted)
