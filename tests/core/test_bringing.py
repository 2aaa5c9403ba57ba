"""Values that may lie on another host: who misses one waits until its node has tried to bring it."""

from tests.core.desk import Desk
from tests.core.test_objects import name, work
from twistcluster.core.effects import Bring
from twistcluster.wire import messages as m


class Slow(Desk):
    """A desk that brings nothing by itself."""

    def __init__(self, *args, **options):
        self.asked = []
        super().__init__(*args, **options)

    def carry_out(self, effects):
        self.asked += [effect.name for effect in effects if isinstance(effect, Bring)]
        super().carry_out([effect for effect in effects if not isinstance(effect, Bring)])

    def brought(self, value, **how):
        self.carry_out(self.scheduler.brought(name(value), self.now, **how))


def scene():
    desk = Slow()
    worker, client = desk.worker(1), desk.client()
    client.job(count=2)
    work(worker, 10)
    return desk, worker, client


def test_all_who_miss_a_value_wait_for_it_and_it_is_asked_for_once():
    desk, worker, client = scene()
    client.say(m.Ask(1, m.Restore(name(10))))
    client.say(m.Ask(2, m.Restore(name(10))))
    worker.say(m.Bring(name(10)))
    assert desk.asked == [name(10)] and not client.take(m.Answer) and not worker.take(m.Brought)
    desk.brought(10, there=True)
    assert client.take(m.Answer) == [m.Answer(1), m.Answer(2)]
    assert worker.take(m.Brought) == [m.Brought(name(10), there=True)]
    desk.brought(10, there=True)  # nobody waits
    assert not client.take(m.Answer)


def test_what_is_nowhere_is_made_again_for_a_client_and_a_worker_is_told():
    desk, worker, client = scene()
    client.say(m.Ask(1, m.Restore(name(10))))
    worker.say(m.Bring(name(10)))
    desk.brought(10, there=False)
    assert worker.take(m.Brought) == [m.Brought(name(10), there=False)]
    assert len(worker.take(m.Lease)) == 1 and not client.take(m.Answer)


def test_what_has_no_room_is_not_made_again():
    desk, worker, client = scene()
    client.say(m.Ask(1, m.Restore(name(10))))
    worker.say(m.Bring(name(10)))
    desk.brought(10, there=False, full="no room: delete something")
    assert worker.take(m.Brought) == [m.Brought(name(10), there=False, full="no room: delete something")]
    assert client.take(m.Declined) == [m.Declined(1, "room", "no room: delete something")]
    assert not worker.take(m.Lease)


def test_who_is_gone_is_told_nothing():
    desk, worker, client = scene()
    client.say(m.Ask(1, m.Restore(name(10))))
    worker.say(m.Bring(name(11)))
    worker.leave()
    client.leave()
    for value in (10, 11):
        desk.brought(value, there=True)
    assert not client.take(m.Answer) and not worker.take(m.Brought)
