"""What is taken for a notification: nothing that anybody may send can do more than be ignored."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from shared.models.notifications import LifecycleEvent, Notification
from shared.models.parts import CATALOGUE, PartName
from shared.models.subscriptions import collections_of, parts_of, with_derived

SUBSCRIPTION, TENANT = UUID(int=1), UUID(int=2)
ITEM = {"subscriptionId": str(SUBSCRIPTION), "tenantId": str(TENANT), "clientState": "secret"}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.sampled_from(["subscriptionId", "tenantId", "clientState", "lifecycleEvent", "changeType"])
SOME_PARTS = st.frozensets(st.sampled_from(PartName))


def test_a_notification_is_who_it_says_it_is_and_what_is_told_of_the_subscription() -> None:
    assert Notification.of(ITEM) == Notification(str(SUBSCRIPTION), str(TENANT), "secret")
    told = Notification.of(ITEM | {"lifecycleEvent": "missed", "subscriptionId": str(SUBSCRIPTION).upper()})
    assert told == Notification(str(SUBSCRIPTION), str(TENANT), "secret", LifecycleEvent.MISSED)


@given(ANYTHING | st.dictionaries(MEMBERS, ANYTHING))
def test_what_is_no_notification_is_ignored(item: Any) -> None:
    assert Notification.of(item) is None or {"subscriptionId", "tenantId", "clientState"} <= item.keys()


@given(SOME_PARTS)
def test_only_what_is_synchronized_is_subscribed_to(enabled: frozenset[PartName]) -> None:
    for name in collections_of(enabled):
        assert set(parts_of(name, enabled)) <= enabled
        assert parts_of(name, enabled)
    assert "sites" not in collections_of(enabled)


@given(SOME_PARTS, SOME_PARTS)
def test_what_is_derived_of_a_changed_part_is_read_with_it(
    changed: frozenset[PartName], enabled: frozenset[PartName]
) -> None:
    read = with_derived(changed, enabled)
    assert set(read) == {name for name in enabled if name in changed or CATALOGUE[name].source in changed}
    assert list(read) == [name for name in CATALOGUE if name in read]
