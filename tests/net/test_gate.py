"""Whatever comes and goes, who says `Hello` soon gets in, and the counts hold."""

from hypothesis import given
from hypothesis import strategies as st

from twistcluster.net.gate import Gate

CONNECTIONS, UNWELCOMED = 6, 3
EVENTS = st.lists(st.tuples(st.sampled_from(["enter", "greet", "leave", "oldest"]), st.integers(0, 20)), max_size=80)


class House:
    """A gate, and who is where by the plainest account."""

    def __init__(self):
        self.gate = Gate(CONNECTIONS, UNWELCOMED)
        self.silent, self.known, self.going = [], [], []
        self.comers = 0

    def enter(self, _):
        self.comers += 1
        full = len(self.silent) + len(self.known) + len(self.going) >= CONNECTIONS
        gone = self.gate.enter(self.comers)
        if full and not self.silent:
            assert gone == self.comers
            return
        if full or len(self.silent) >= UNWELCOMED:
            assert gone == self.silent[0]
            self.going.append(self.silent.pop(0))
        else:
            assert gone is None
        self.silent.append(self.comers)

    def greet(self, choice):
        if self.silent:
            who = self.silent.pop(choice % len(self.silent))
            self.gate.greeted(who)
            self.known.append(who)

    def leave(self, choice):
        for room in (self.going, self.known, self.silent)[choice % 3 :]:
            if room:
                self.gate.left(room.pop(choice % len(room)))
                return

    def oldest(self, _):
        gone = self.gate.oldest()
        assert gone == (self.silent[0] if self.silent else None)
        if gone is not None:
            self.going.append(self.silent.pop(0))


@given(EVENTS)
def test_the_counts_hold(events):
    house = House()
    for event, choice in events:
        getattr(house, event)(choice)
        assert len(house.gate) == len(house.silent) + len(house.known) + len(house.going)
        assert house.gate.waiting == len(house.silent) <= UNWELCOMED


@given(st.integers(0, 100), st.integers(0, UNWELCOMED - 1))
def test_silent_ones_keep_out_nobody_who_says_hello_before_so_many_others_came(before, meanwhile):
    gate = Gate(CONNECTIONS, UNWELCOMED)
    turned_out = set()

    def stranger(name):
        gone = gate.enter(name)
        turned_out.add(gone)
        gate.left(gone)

    for number in range(before):
        stranger(number)
    stranger("honest")
    for number in range(meanwhile):
        stranger(f"later {number}")
    assert "honest" not in turned_out
    gate.greeted("honest")
    for number in range(50):
        stranger(f"last {number}")
    assert "honest" not in turned_out


def test_only_those_who_said_hello_fill_the_house():
    gate = Gate(2, 2)
    for who in "ab":
        assert gate.enter(who) is None
        gate.greeted(who)
    assert gate.enter("c") == "c"
    assert len(gate) == 2
    gate.left("a")
    assert gate.enter("d") is None
