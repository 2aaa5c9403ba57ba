import pytest

from twistcluster.errors import ProtocolError
from twistcluster.net.states import TRANSITIONS, LinkEvent, LinkState, next_state


def test_every_state_but_closed_ends_when_the_connection_does():
    for state in LinkState:
        if state is not LinkState.CLOSED:
            assert next_state(state, LinkEvent.LOST) is LinkState.CLOSED


def test_what_the_table_lacks_is_an_error_that_names_the_state():
    with pytest.raises(ProtocolError, match="Welcome passes, which may not happen on a link that is opening"):
        next_state(LinkState.OPENING, LinkEvent.WELCOME)


def test_every_state_can_be_reached():
    assert {LinkState.OPENING} | set(TRANSITIONS.values()) == set(LinkState)
