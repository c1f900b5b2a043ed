"""The context of a session: the project to which results belong, and who may see them."""

from __future__ import annotations

from awclient.client import Portal
from awclient.errors import UsageProblem

LEVELS = {1: "MyDB", 2: "project", 3: "all users", 4: "world", 5: "Virtual Observatory"}


class SessionContext:
    """What ``context`` is at the prompt; it begins as the one that the portal has of the user."""

    def __init__(self, portal: Portal) -> None:
        who = portal.whoami()
        self.user = str(who["user"])
        self.project = str(who["project"])
        self.privileges = int(who["privilege"])
        self.projects = [str(name) for name in who["projects"]]

    def set_project(self, name: str) -> None:
        """Let results belong to a project from now on ("" to none).

        Raises
        ------
        UsageProblem
            The user is not in it.
        """
        if name and name not in self.projects:
            raise UsageProblem(
                f"you are in no project {name}", hint=f"yours are: {', '.join(self.projects) or 'none; ask a manager'}"
            )
        self.project = name

    def set_privileges(self, level: int) -> None:
        """Let results be seen by: 1 oneself (MyDB), 2 the project, 3 all users, 4 the world, 5 the VO.

        Raises
        ------
        UsageProblem
            There is no such level.
        """
        if level not in LEVELS:
            raise UsageProblem(f"there is no level {level}", hint=f"{LEVELS}")
        self.privileges = level

    def __repr__(self) -> str:
        level = f"{self.privileges} ({LEVELS[self.privileges]})"
        return f"user {self.user}, project {self.project or 'none'}, privileges {level}"
