"""What the commands say of distributors."""

from __future__ import annotations

from typing import get_args

from alertd.api.sharing.distributors import ShareReply
from alertd.commands.organisations.distributors import WHY_NOT


def test_each_reason_for_having_nothing_has_its_words():
    """One without would end the command in the middle of its answer."""
    told, _ = get_args(ShareReply.model_fields["why_not"].annotation)
    assert set(get_args(told)) == WHY_NOT.keys()
