"""What is left of a missing-child alert when the child may no longer be known by it: "girl, 13", where and when, and whom to call.

Everything is taken out but what is named here, so that a field that is added later goes, too. The words of the place stay, but for her
name: without them nobody can look for her. What is internal stays with the case, for those who work on it.
"""

from __future__ import annotations

import re

from alertd.model.alert import Alert, Info
from alertd.model.case import Case, Child
from alertd.model.redaction import pattern_of_words, without

#: Of a child, and of a case, what is still told or never was.
OF_CHILD = ("id", "age", "sex")
OF_CASE = ("number", "verification", "best_interests", "protection", "last_seen", "contact")

#: What goes, as paths.
RESTRICTED = (
    *(f"case/children/*/{name}" for name in Child.model_fields if name not in OF_CHILD),
    *(f"case/{name}" for name in Case.model_fields if name not in (*OF_CASE, "children")),
    *(f"info/*/{name}" for name in Info.model_fields if name != "source"),
    "event",
    "sender_name",
)


def restricted(alert: Alert) -> Alert:
    """The alert without name, looks, clothes, photos, persons sought, vehicles and whatever was written freely. Its languages stay
    as they are, so that what is queued in one of them can be told in it.
    """
    case = alert.case
    children = tuple(Child(**{name: getattr(child, name) for name in OF_CHILD}) for child in case.children)
    left = Case(**{name: getattr(case, name) for name in OF_CASE}, children=children)
    return alert.model_copy(
        update={
            "case": without(left, called(case)),
            "info": {tag: Info(source=text.source) for tag, text in alert.info.items()},
            "event": None,
            "sender_name": None,
        }
    )


def called(case: Case) -> re.Pattern[str] | None:
    """What finds its children by any word of their names; None where it has none."""
    return pattern_of_words(child.name for child in case.children if child.name)
