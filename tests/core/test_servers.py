"""Servers: set up, asked, replaced, ended, and there again after the scheduler died."""

import pytest

from tests.core.desk import CONTEXT, FUNCTION, Desk
from twistcluster.testing.paper import Paper
from twistcluster.wire import messages as m
from twistcluster.wire.limits import SERVER_NAME_CHARACTERS, SERVERS

OTHER = b"g" * 16
DEFINITION = b"d" * 16


def serve(client, name="labels", request=1, function=FUNCTION, **options):
    call = m.OpenJob(0, [function], CONTEXT.digest, label="label", **options)
    return client.say(m.Ask(request, m.Serve(name, call)))


def ask(client, number=1, count=1, server="labels", **options):
    client.say(m.OpenJob(number, [], b"", f"{server}-{number}", count=count, server=server, **options))
    client.say(m.Page(number, 0, count, 0), b"items")
    return next((job for job in client.desk.scheduler.jobs.values() if job.number == number), None)


def asker(desk):
    """A client that sends nothing of what the server is made of."""
    return desk.connect("client")


def listed(client):
    (answer,) = client.say(m.Ask(99, m.ListServers()))
    return answer.servers


def named():
    return Desk("lab", Paper(), idle_timeout_s=5.0)


# ---- asking ---------------------------------------------------------------------------------------------------------


def test_who_asks_sends_nothing_of_what_answers():
    desk = Desk()
    maker, client, worker = desk.client(), asker(desk), desk.worker()
    assert serve(maker) == [m.Answer(1)]
    ask(client, 5, 3)
    worker.work()
    (opened,) = worker.got(m.OpenJob)
    assert (opened.functions, opened.context, opened.label) == ([FUNCTION], CONTEXT.digest, "labels-5")
    assert opened.server == ""
    assert worker.got(m.Blob) == [m.Blob(FUNCTION)]
    assert sum(message.count for message in client.got(m.Results)) == 3
    assert not maker.got(m.Results)


def test_what_the_server_was_set_up_with_holds():
    desk = Desk()
    maker, client = desk.client(), asker(desk)
    options = {"retries": 2, "max_crashes": 5, "priority": 7, "resources": {"gpu": 1.0}, "together": 8}
    serve(maker, **options)
    info = ask(client).info
    assert {name: getattr(info, name) for name in options} == options
    assert (info.job, info.count, info.named) == (1, 1, False)


def test_jobs_of_several_askers_are_of_one_kind():
    desk = Desk()
    serve(desk.client(), together=8)
    one, other = ask(asker(desk)), ask(asker(desk), 2)
    assert one.kind == other.kind is not None
    assert one.pace is other.pace


def test_a_server_outlives_who_set_it_up():
    desk = Desk()
    maker, client, worker = desk.client(), asker(desk), desk.worker()
    serve(maker)
    maker.leave()
    ask(client)
    worker.work()
    assert client.got(m.Results)


def test_an_unknown_one_fails_each_and_says_which_there_are():
    desk = Desk()
    maker, client = desk.client(), asker(desk)
    job = ask(client, 1, 2)
    assert [(each.index, each.error.why) for each in client.got(m.Failed)] == [(0, "server"), (1, "server")]
    assert "There is none" in client.got(m.Failed)[0].error.message
    assert job.over
    serve(maker, "faces")
    serve(maker, "digits", 2)
    ask(client, 2)
    assert "'digits', 'faces'" in client.got(m.Failed)[-1].error.message
    client.heard.clear()
    client.say(m.Retry(1))
    assert [each.index for each in client.got(m.Failed)] == [0, 1]
    assert job.over


def test_an_unknown_ones_items_that_wait_for_others_fail_too():
    desk = Desk()
    client = desk.client()
    client.job(1, 1)
    client.say(m.OpenJob(2, [], b"", count=1, server="none"))
    client.say(m.Page(2, 0, 1, 0, edges=[m.Edge(0, 0, 1, 0)]), b"items")
    assert [(each.job, each.error.why) for each in client.got(m.Failed)] == [(2, "server")]
    desk.worker().work()


def test_the_definitions_that_answers_name_are_there():
    desk = Desk()
    maker, client, worker = desk.client(), asker(desk), desk.worker()
    maker.say(m.Blob(DEFINITION), b"class")
    serve(maker, definitions=[DEFINITION])
    maker.leave()
    ask(client)
    (lease,) = worker.take(m.Lease)
    worker.say(m.Report(lease.lease, 0, 1, 0, 0.1, [DEFINITION]), b"results")
    assert client.got(m.Blob) == [m.Blob(DEFINITION)]


# ---- replaced, ended ------------------------------------------------------------------------------------------------


def test_another_takes_its_place_and_what_was_asked_before_is_answered():
    desk = Desk()
    maker, client = desk.client(), asker(desk)
    maker.say(m.Blob(OTHER), b"another")
    serve(maker)
    before = ask(client)
    serve(maker, function=OTHER)
    after = ask(client, 2)
    maker.leave()
    assert (before.info.functions, after.info.functions) == ([FUNCTION], [OTHER])
    worker = desk.worker()
    worker.work()
    assert {message.job for message in client.got(m.Results)} == {1, 2}
    client.say(m.Release(1))
    assert desk.scheduler.supply.data(FUNCTION) is None  # nobody needs it now
    assert desk.scheduler.supply.data(OTHER) is not None


def test_it_ends_and_what_was_asked_before_is_answered():
    desk = Desk()
    maker, client = desk.client(), asker(desk)
    serve(maker)
    ask(client)
    assert client.say(m.Ask(2, m.Unserve("labels"))) == [m.Answer(2)]
    assert listed(client) == []
    (declined,) = client.say(m.Ask(3, m.Unserve("labels")))
    assert (declined.code, "There is none" in declined.message) == ("server", True)
    maker.leave()
    desk.worker().work()
    assert client.got(m.Results)


def test_a_question_is_taken_back():
    desk = Desk()
    client = asker(desk)
    serve(desk.client())
    ask(client, 1, 2)
    client.say(m.Cancel(1, 0, 1))
    assert client.got(m.Cancelled) == [m.Cancelled(1, [(0, 1)])]
    desk.worker().work()
    assert [message.first for message in client.got(m.Results)] == [1]


def test_the_list():
    desk = Desk()
    maker, client = desk.client(name="notebook"), asker(desk)
    serve(maker, "labels", together=8)
    serve(maker, "faces")
    ask(client, 1, 3)
    desk.wait(2.0)
    faces, labels = listed(maker)
    assert (faces.name, faces.asked, faces.together) == ("faces", 0, 0)
    assert (labels.name, labels.function, labels.asked, labels.together) == ("labels", "label", 3, 8)
    assert (labels.client, labels.yours, labels.age) == ("notebook", True, 2.0)
    assert not listed(client)[0].yours


# ---- what can't be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", " labels", "labels ", "la\nbels", "x" * (SERVER_NAME_CHARACTERS + 1)])
def test_a_name_can_be_printed(name):
    desk = Desk()
    maker = desk.client()
    (declined,) = serve(maker, name)
    assert declined.code == "invalid"
    assert len(declined.message) < 500
    serve(maker, "x" * SERVER_NAME_CHARACTERS)
    assert len(listed(maker)) == 1


def test_there_are_so_many_and_no_more():
    desk = Desk()
    maker = desk.client()
    for number in range(SERVERS):
        assert serve(maker, f"{number}") == [m.Answer(1)]
    (declined,) = serve(maker, "another")
    assert (declined.code, "unserve" in declined.message) == ("invalid", True)
    assert serve(maker, "7") == [m.Answer(1)]  # in the place of another


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ({"functions": []}, "one function"),
        ({"functions": [FUNCTION, FUNCTION]}, "one function"),
        ({"functions": [OTHER]}, "not sent"),
        ({"definitions": [OTHER]}, "not sent"),
        ({"context": OTHER}, "context"),
        ({"server": "another"}, "one function"),
        ({"resources": {"gpu": -1.0}}, "above 0"),
        ({"max_crashes": 0}, "crashes"),
    ],
)
def test_what_it_is_made_of_must_be_there(call, text):
    desk = Desk()
    maker = desk.client()
    whole = {"job": 0, "functions": [FUNCTION], "context": CONTEXT.digest, **call}
    maker.say(m.Ask(1, m.Serve("labels", m.OpenJob(**whole))))
    assert text in maker.closed
    assert listed(desk.client()) == []


@pytest.mark.parametrize("options", [{"resources": {"gpu": 1.0}}, {"source": 1}])
def test_who_asks_has_no_say_in_what_an_answer_needs(options):
    desk = Desk()
    client = desk.client()
    client.job(1, 1)
    client.say(m.OpenJob(2, [], b"", count=1, server="labels", **options))
    assert "is for a server" in client.closed


# ---- the journal ----------------------------------------------------------------------------------------------------


def test_it_is_answered_once_it_is_recorded():
    desk = named()
    maker = desk.client()
    maker.job(1, 1)
    desk.worker().work()
    assert serve(maker) == []
    desk.write()
    assert maker.got(m.Answer) == [m.Answer(1)]
    assert maker.say(m.Ask(2, m.Unserve("labels"))) == []
    desk.write()
    assert maker.got(m.Answer)[-1] == m.Answer(2)


def test_it_is_there_again_after_the_scheduler_died():
    desk = named()
    maker = desk.client()
    maker.say(m.Blob(DEFINITION), b"class")
    serve(maker, definitions=[DEFINITION], together=8, retries=1)
    serve(maker, "faces", 2)
    serve(maker, "gone", 3)
    maker.say(m.Ask(4, m.Unserve("gone")))
    desk.write()
    desk = desk.again()
    client, worker = asker(desk), desk.worker()
    faces, labels = listed(client)
    assert (faces.name, labels.name, labels.function) == ("faces", "labels", "label")
    job = ask(client)
    assert (job.info.together, job.info.retries, job.info.definitions) == (8, 1, [DEFINITION])
    worker.work()
    assert worker.got(m.Blob) == [m.Blob(FUNCTION)]
    assert client.got(m.Results)
    assert desk.scheduler.supply.data(DEFINITION) == b"class"


def test_a_question_is_there_again_though_its_server_ended():
    desk = named()
    maker, client = desk.client(), asker(desk)
    maker.say(m.Blob(DEFINITION), b"class")
    serve(maker, definitions=[DEFINITION])
    ask(client, 1, 2)
    maker.say(m.Ask(2, m.Unserve("labels")))
    desk.write()
    desk = desk.again()
    (job,) = desk.scheduler.jobs.values()
    assert {FUNCTION, DEFINITION} <= {*desk.paper.names(job.key)}  # so the journal has them still
    other = desk.client()
    other.say(m.Blob(DEFINITION), b"class")
    other.say(m.Forget([DEFINITION, FUNCTION]))
    desk.worker().work()
    assert job.state == "done"
    assert job.info.functions == [FUNCTION]
    assert desk.scheduler.supply.data(DEFINITION) == b"class"


def test_it_keeps_a_cluster_from_being_idle():
    desk = named()
    maker = desk.client()
    serve(maker)
    desk.write()
    maker.leave()
    desk.wait(20.0)
    assert not desk.ended
    desk = desk.again()
    desk.scheduler.idle_timeout_s = 5.0
    desk.wait(20.0)
    assert not desk.ended
    client = asker(desk)
    client.say(m.Ask(1, m.Unserve("labels")))
    client.leave()
    desk.wait(20.0)
    assert desk.ended


def test_a_journal_that_cant_be_written():
    desk = named()
    maker = desk.client()
    serve(maker)
    desk.carry_out(desk.scheduler.journal_trouble("The disk is full", desk.now))
    (declined,) = maker.take(m.Declined)
    assert (declined.code, declined.request) == ("full", 1)
    assert "The disk is full" in declined.message and "holds while" in declined.message
    assert [message.request for message in serve(maker, "faces", 2)] == [2]
    assert [each.name for each in listed(maker)] == ["faces", "labels"]
    desk.carry_out(desk.scheduler.journal_trouble("", desk.now))
    desk.write()
    assert serve(maker, "digits", 3) == []
    desk.write()
    assert m.Answer(3) in maker.got(m.Answer)


def test_who_has_left_waits_for_nothing():
    desk = named()
    maker = desk.client()
    serve(maker)
    maker.leave()
    desk.write()
    assert len(listed(desk.client())) == 1
