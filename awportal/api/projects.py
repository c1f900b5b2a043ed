"""Projects: which there are, who is in them, asking to join, letting in, roles."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from django.http import HttpRequest
from ninja import Router, Status
from pydantic import BaseModel, ConfigDict, Field

from awportal.api.authentication import context_of_request
from awportal.people import projects as people
from awportal.people.project_page import ProjectLook, listed_rows, look_at_project
from processing_units.contract import Text

router = Router(tags=["projects"])

Name = Annotated[Text, Field(min_length=1, max_length=150)]
Words = Annotated[Text, Field(max_length=people.LONGEST_WORDS)]


class ProjectInformation(BaseModel):
    """A project; ``role`` is yours (empty: you are not in it), ``asked`` whether you ask to join, or were declined."""

    name: str
    description: str
    role: str
    members: int
    asked: Literal["", "waiting", "declined"]
    waiting: int = Field(description="how many ask to join, where you may answer")


class ProjectList(BaseModel):
    """Projects."""

    items: list[ProjectInformation]


class MemberInformation(BaseModel):
    """Somebody in a project, and what of theirs is in it."""

    user: str
    role: str
    files: int
    bytes: int
    waiting_jobs: int
    running_jobs: int


class Asking(BaseModel):
    """Somebody who asks to join."""

    user: str
    words: str
    made: datetime.datetime


class ProjectDetails(BaseModel):
    """A project; members, files by level and who asks are told to those whom it concerns."""

    name: str
    description: str
    role: str
    managers: list[str]
    members: list[MemberInformation]
    files: dict[int, int]
    bytes: dict[int, int]
    asking: list[Asking]
    asked: Literal["", "waiting", "declined"]
    answer: str


class ProjectRequest(BaseModel):
    """A new project."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[Text, Field(min_length=1, max_length=people.LONGEST_NAME)]
    description: Annotated[Text, Field(max_length=2000)] = ""
    listed: bool = True
    manager: Annotated[Text, Field(max_length=150)] = ""


class JoinWords(BaseModel):
    """Why one wants to join."""

    model_config = ConfigDict(extra="forbid")

    words: Words = ""


class JoinAnswer(BaseModel):
    """Whether somebody who asked is let in, and a word about why not."""

    model_config = ConfigDict(extra="forbid")

    user: Name
    accept: bool
    words: Words = ""


class RoleRequest(BaseModel):
    """The role somebody is to have: member, manager, or none (they are taken out, or leave)."""

    model_config = ConfigDict(extra="forbid")

    user: Name
    role: Literal["member", "manager", "none"]


@router.get("/projects", response=ProjectList)
def list_projects(request: HttpRequest) -> ProjectList:
    """List your projects, then the others that you may ask to join."""
    mine, others = listed_rows(context_of_request(request))
    return ProjectList(
        items=[
            ProjectInformation(
                name=row.project.name, description=row.project.description or "", role=row.role, members=row.members,
                asked="" if row.request is None else "declined" if row.request.declined else "waiting",
                waiting=row.waiting,
            )
            for row in (*mine, *others)
        ]
    )  # fmt: skip


@router.post("/projects", response={201: ProjectDetails})
def new_project(request: HttpRequest, wanted: ProjectRequest) -> Status[ProjectDetails]:
    """Make a project (administrators, and whom the settings let)."""
    context = context_of_request(request)
    people.make_project(wanted.name, wanted.description, context, is_listed=wanted.listed, manager=wanted.manager)
    return Status(201, project(request, wanted.name))


@router.get("/projects/{name}", response=ProjectDetails)
def project(request: HttpRequest, name: str) -> ProjectDetails:
    """Show a project: to its members whole, to others what it is about."""
    context = context_of_request(request)
    return _described(look_at_project(people.find_project(name, context), context))


@router.post("/projects/{name}/join", response=ProjectDetails)
def ask_to_join(request: HttpRequest, name: str, wanted: JoinWords) -> ProjectDetails:
    """Ask its managers to be let in."""
    context = context_of_request(request)
    people.ask_to_join(people.find_project(name, context), wanted.words, context)
    return project(request, name)


@router.delete("/projects/{name}/join", response=ProjectDetails)
def withdraw(request: HttpRequest, name: str) -> ProjectDetails:
    """Take your request back."""
    context = context_of_request(request)
    people.withdraw(people.find_project(name, context), context)
    return project(request, name)


@router.post("/projects/{name}/answer", response=ProjectDetails)
def answer_request(request: HttpRequest, name: str, wanted: JoinAnswer) -> ProjectDetails:
    """Let somebody in who asked, or not (managers)."""
    context = context_of_request(request)
    people.answer_request(people.find_project(name, context), wanted.user, wanted.accept, wanted.words, context)
    return project(request, name)


@router.post("/projects/{name}/members", response={200: ProjectDetails, 204: None})
def set_member(request: HttpRequest, name: str, wanted: RoleRequest) -> Status[ProjectDetails | None]:
    """Give somebody a role (managers), or take them out; one takes oneself out by the role none."""
    context = context_of_request(request)
    found = people.find_project(name, context)
    if wanted.role == "none":
        people.remove_member(found, wanted.user, context)
    elif found.memberships.filter(user__username=wanted.user).exists() and people.may_look_inside(found, context):
        people.set_role(found, wanted.user, wanted.role, context)
    else:
        people.add_member(found, wanted.user, wanted.role, context)
    if not people.visible_projects(context).filter(pk=found.pk).exists():
        return Status(204, None)  # who left a project that is not listed knows of it no more
    return Status(200, project(request, name))


def _described(look: ProjectLook) -> ProjectDetails:
    request = look.request
    return ProjectDetails(
        name=look.project.name,
        description=look.project.description or "",
        role=look.role,
        managers=look.managers,
        members=[
            MemberInformation(
                user=each.membership.user.get_username(), role=people.role_of(each.membership), files=each.files,
                bytes=each.size, waiting_jobs=each.waiting, running_jobs=each.running,
            )
            for each in look.members
        ],
        files={held.level: held.files for held in look.levels},
        bytes={held.level: held.size for held in look.levels},
        asking=[Asking(user=each.user.get_username(), words=each.words or "", made=each.made) for each in look.waiting],
        asked="" if request is None else "declined" if request.declined else "waiting",
        answer=request.answer or "" if request else "",
    )  # fmt: skip
