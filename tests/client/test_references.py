"""What stands for futures, jobs and references in arguments, and what pages say of it."""

import gc
import pickle
import threading
import weakref

import numpy as np
import pytest

from tests.client.line import framed, pickled, plain
from tests.client.opened import FakeSession, opened, pages
from tests.tools import until
from twistcluster.client.items import ItemRecord
from twistcluster.client.jobs import Job
from twistcluster.client.options import JobOptions
from twistcluster.client.references import Collector, Reference
from twistcluster.errors import Cancelled, ClusterUnreachable, DependencyFailed, NotPicklable, ObjectLost
from twistcluster.wire.definitions import Definitions
from twistcluster.wire.limits import PAGE_STORED_BYTES
from twistcluster.wire.messages import (
    Cancel,
    CloseJob,
    Edge,
    ErrorInfo,
    Failed,
    Keep,
    Page,
    Stored,
    Values,
    Wanted,
)
from twistcluster.wire.messages import Cancelled as CancelledItems
from twistcluster.wire.pages import FramedPacker, Packed, framed_items, stored_row, unpack_plain
from twistcluster.wire.values import dumps, loads

RAISED = ErrorInfo("raised", "ValueError", "three", "Traceback: three")


class Resolved:
    """Says what stood there."""

    def stored(self, name, nbytes):
        return ("stored", name, nbytes)

    def input(self, number):
        return ("input", number)


@pytest.fixture
def session():
    return FakeSession()


def items_of(session, number):
    """What the items of a job would be called with."""
    found = []
    for message, buffers in session.sent:
        if getattr(message, "job", None) == number and type(message).__name__ == "Page":
            packed = Packed(message.kind, message.count, tuple(buffers))
            if packed.packing:
                found += [
                    loads(data, parts, session.definitions, resolve=Resolved()) for data, parts in framed_items(packed)
                ]
            else:
                found += unpack_plain(packed)
    return found


def stored(*names, nbytes=1000):
    packer = FramedPacker()
    for name in names:
        packer.add(stored_row(name, nbytes))
    packed = packer.packed()
    objects = tuple(Stored(place, name, nbytes) for place, name in enumerate(names))
    return Packed(packed.kind, packed.count, packed.buffers, (), objects)


A, B = b"a" * 16, b"b" * 16


# ---- what a future becomes -------------------------------------------------------------------------------------------


def test_a_future_that_is_not_done_is_an_edge(session):
    future = session.submit(abs, -1)
    session.turn()
    consumer = session.submit(pow, future, [future, {"k": (future,)}], z=future)
    (page,) = pages(session.turn())
    assert page.edges == [Edge(0, 0, 1, 0)] and page.objects == []
    ((number, args, kwargs),) = items_of(session, 2)
    assert (number, args, kwargs) == (0, (("input", 0), [("input", 0), {"k": (("input", 0),)}]), {"z": ("input", 0)})
    assert not consumer.done()


def test_edges_name_items_of_their_own_batch_and_count_in_their_page(session):
    futures = [session.submit(abs, 1)]
    for _ in range(4):
        futures.append(session.submit(abs, futures[-1]))
    (plain_page, page) = pages(session.turn())
    assert plain_page.first == 0 and page.first == 1
    assert page.edges == [Edge(i, 0, 1, i) for i in range(4)]


def test_inputs_are_numbered_for_each_item_alone(session):
    job = session.map(abs, [1, 2, 3])
    items = [[job.future(0), job.future(1)], [job.future(2), job.future(2), job.future(0)]]
    session.turn()
    consumer = session.map(sum, items)
    (page, *more) = pages(session.turn())
    edges = [
        (each.first + edge.item, edge.input, edge.job, edge.index) for each in (page, *more) for edge in each.edges
    ]
    assert edges == [(0, 0, 1, 0), (0, 1, 1, 1), (1, 0, 1, 2), (1, 1, 1, 0)]
    assert items_of(session, consumer.number)[1] == [("input", 0), ("input", 0), ("input", 1)]


@pytest.mark.parametrize("asked", [False, True])
def test_a_small_result_travels_with_the_argument(session, asked):
    futures = [session.submit(abs, n) for n in range(3)]
    session.turn()
    array = np.arange(2000)
    futures[0]._owner.succeeded(0, plain(None, "text"))
    futures[0]._owner.succeeded(2, framed({"x": array}))
    if asked:
        assert [future.result() is not future for future in futures]
    session.submit(max, *futures)
    (page,) = pages(session.turn())
    assert page.edges == [] == page.objects
    ((_, (nothing, text, framed_one), _),) = items_of(session, 2)
    assert nothing is None and text == "text" and (framed_one["x"] == array).all()
    assert framed_one["x"].flags.writeable


def test_a_map_s_result_travels_as_it_came_even_if_it_was_changed_since(session):
    record = session.map(abs, [1])
    session.turn()
    record.succeeded(0, framed([1]))
    future = record.future(0)
    future.result().append(2)
    session.submit(len, future)
    session.turn()
    assert items_of(session, 2) == [(0, ([1],), {})]


def test_a_result_of_a_notebook_s_class_brings_its_definition(session, notebook):
    notebook.cell("class Mine:\n    pass")
    encoded = dumps(notebook["Mine"](), session.definitions)
    packer = FramedPacker()
    packer.add(encoded.data)
    future = session.submit(abs, 1)
    session.turn()
    future._owner.succeeded(0, packer.packed(definitions=encoded.definitions))
    session.submit(len, [future])
    (page,) = pages(session.turn())
    assert page.definitions == [*encoded.definitions]
    slot = Definitions(in_slot=True)
    slot.learn(encoded.definitions[0], session.definitions.blob(encoded.definitions[0]))
    _, buffers = session.sent[-1]
    ((data, _),) = framed_items(Packed(page.kind, 1, tuple(buffers)))
    assert type(loads(data, (), slot, resolve=Resolved())[1][0][0]).__name__ == "Mine"


@pytest.mark.parametrize("how", ["failed", "given up"])
def test_one_that_came_to_nothing_is_an_edge_for_the_cluster_to_judge(session, how):
    record = session.map(abs, [1, 2])
    future = record.future(0)
    session.turn()
    if how == "failed":
        record.failed(0, RAISED, pickled(ValueError("three")))
    else:
        future.give_up(KeyError("x"))
    session.submit(abs, future)
    (page,) = pages(session.turn())
    assert page.edges == [Edge(0, 0, 1, 0)]


def test_what_waits_for_one_that_was_cancelled_here_is_cancelled_once_it_is_sent(session):
    future = session.submit(abs, 1)
    session.turn()
    future.cancel()
    submitted = session.submit(abs, [future])
    further = session.submit(abs, submitted)
    alone = session.opener.submit_alone(abs, (future,), {}, JobOptions())
    job = session.map(abs, [[1], future, [2]])
    lazy = session.map(abs, iter([[1], future]))
    until(lambda: lazy.count == 2)
    session.turn()
    sent = [message for message, _ in session.sent]
    for number, index in ((2, 0), (2, 1), (3, 0), (job.number, 1), (lazy.number, 1)):
        cancel = sent.index(Cancel(number, index, index + 1))
        assert any(isinstance(message, Page) and message.job == number for message in sent[:cancel])
    assert submitted.cancelled() and further.cancelled() and alone.cancelled()
    assert job.future(1).cancelled() and not job.future(0).done() and not job.future(2).done()
    assert edges_of(session) == []


def test_a_result_in_a_store_is_named(session):
    record = session.map(abs, [1, 2])
    session.turn()
    record.succeeded(0, stored(A, B))
    consumer = session.map(abs, [record.future(0), [record.future(1), record.future(0)]])
    messages = pages(session.turn())
    objects = [(message.first + each.item, each.id, each.nbytes) for message in messages for each in message.objects]
    assert objects == [(0, A, 1000), (1, B, 1000), (1, A, 1000)] and not any(each.edges for each in messages)
    assert items_of(session, consumer.number) == [("stored", A, 1000), [("stored", B, 1000), ("stored", A, 1000)]]


def test_a_future_by_name_is_the_one_that_was_submitted(session):
    future = session.submit(abs, 1)
    session.turn()
    found = Job(ItemRecord(session, "x", future))
    session.submit(max, found, found[0])
    (page,) = pages(session.turn())
    assert page.edges == [Edge(0, 0, 1, 0)]
    assert items_of(session, 2) == [(0, ([("input", 0)], ("input", 0)), {})]


# ---- jobs ------------------------------------------------------------------------------------------------------------


def test_a_job_is_an_edge_to_all_of_it(session):
    running, done = session.map(abs, [1, 2]), session.map(abs, [1])
    session.turn()
    done.succeeded(0, plain(1))
    session.submit(max, [Job(running)], Job(done))
    (page,) = pages(session.turn())
    assert page.edges == [Edge(0, 0, 1, -1), Edge(0, 1, 2, -1)]


def test_a_map_over_a_job_has_a_source_and_no_pages(session):
    source = session.map(abs, [1, 2, 3])
    over = session.map(abs, [4])
    session.turn()
    over.succeeded(0, plain(4))
    first, second = session.map(len, Job(source)), session.map(len, Job(over), name="named")
    messages = session.turn()
    assert [(each.job, each.source, each.count, each.named) for each in opened(messages)] == [
        (3, 1, 3, False),
        (4, 2, 1, True),
    ]
    assert not pages(messages) and first.count == 3 and second.count == 1 and not first.is_over


def test_a_map_over_a_lazy_job_has_its_count_when_that_is_known(session):
    go_on = threading.Event()

    def items():
        yield 1
        go_on.wait(60)
        raise KeyError("x")

    source = session.map(abs, items())
    consumer = session.map(len, Job(source))
    assert consumer.count is None
    go_on.set()
    until(lambda: source.count == 1)
    assert consumer.count == 1 and consumer.input_error is source.input_error is not None
    late = session.map(len, Job(source))
    assert late.count == 1 and late.input_error is source.input_error


def test_a_cancelled_source_cancels(session):
    source = session.map(abs, iter([]))
    lazy = session.map(abs, iter(lambda: 1, 2))
    consumer = session.map(len, Job(lazy))
    lazy.cancel()
    session.turn()
    session.hear(CloseJob(lazy.number, 0))
    assert consumer.is_over and consumer.state == "cancelled" and isinstance(consumer.input_error, Cancelled)
    assert source.number == 1


def test_of_several_iterables_a_job_gives_its_futures(session):
    source = session.map(abs, [1, 2, 3])
    consumer = session.map(pow, Job(source), [7, 8, 9])
    until(lambda: len(edges_of(session)) == 3)
    assert edges_of(session) == [Edge(i, 0, 1, i) for i in range(3)] and consumer.count == 3
    assert items_of(session, 2) == [(("input", 0), 7), (("input", 0), 8), (("input", 0), 9)]


def edges_of(session):
    """What all items wait for, each by its number in the job."""
    session.turn()
    sent = [message for message, _ in session.sent if isinstance(message, Page)]
    return [
        Edge(message.first + edge.item, edge.input, edge.job, edge.index) for message in sent for edge in message.edges
    ]


def test_futures_of_a_lazy_job_come_as_its_items_are_known(session):
    source = session.map(abs, iter(range(2)))
    until(lambda: source.count == 2)
    consumer = session.map(pow, Job(source), iter([5, 6, 7]))
    until(lambda: consumer.count is not None)
    assert edges_of(session) == [Edge(0, 0, 1, 0), Edge(1, 0, 1, 1)] and consumer.count == 2


def test_futures_in_a_lazy_source_are_edges(session):
    source = session.map(abs, [1, 2])
    consumer = session.map(len, (future for future in (source.future(0), source.future(1))))
    until(lambda: consumer.count == 2)
    assert edges_of(session) == [Edge(0, 0, 1, 0), Edge(1, 0, 1, 1)]


# ---- references ------------------------------------------------------------------------------------------------------


def test_put_gives_a_reference_that_names_the_value(session):
    reference = session.opener.put([1, 2])
    assert session.turn() == [Keep([Stored(0, bytes(16), 1000)])]
    assert reference.nbytes == 1000 and reference.id == "0" * 32 and reference.result() == [1, 2]
    assert repr(reference) == f"<Reference {'0' * 32}: 1,000 bytes>"
    future = session.submit(len, {"k": reference}, reference)
    (page,) = pages(session.turn())
    assert page.objects == [Stored(0, bytes(16), 1000)]
    assert items_of(session, 1) == [(0, ({"k": ("stored", bytes(16), 1000)}, ("stored", bytes(16), 1000)), {})]
    del reference
    gc.collect()
    assert session.store.dropped == [], "the item that names it isn't done"
    future._owner.succeeded(0, plain(1))
    gc.collect()
    assert session.store.dropped == [bytes(16)]


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x]])
def test_a_reference_is_no_part_of_a_result(session, wrap):
    reference = session.opener.put(1)
    for call in (lambda: pickle.dumps(wrap(reference)), lambda: dumps(wrap(reference), name="the result")):
        with pytest.raises(NotPicklable, match="can't be part of a result"):
            call()


def test_a_shared_value_counts_once_for_a_page_and_others_close_it(session):
    def reference(letter):
        return Reference(session, session.store, letter * 16, PAGE_STORED_BYTES)

    shared, other = reference(b"a"), reference(b"b")
    session.map(len, [[shared, n] for n in range(100)])
    assert max(page.count for page in pages(session.turn())) > 50
    session.map(len, [[each, n] for n in range(8) for each in (shared, other)])
    messages = pages(session.turn())
    assert [page.count for page in messages] == [1] * 16
    assert all([each.item for each in page.objects] == [0] for page in messages)
    for each in (shared, other, shared, shared):
        session.submit(len, each)
    assert [page.count for page in pages(session.turn())] == [1, 1, 2]


def test_what_items_name_counts_in_their_page(session):
    record = session.map(abs, [1])
    reference = session.opener.put("x")
    session.turn()
    session.map(len, [[reference, record.future(0), bytes(9000)] for _ in range(30)])
    messages = pages(session.turn())
    assert len(messages) > 3
    for page in messages:
        assert [each.item for each in page.objects] == [*range(page.count)]
        assert [each.item for each in page.edges] == [*range(page.count)]


def test_with_options_it_is_the_same(session):
    future, reference = session.submit(abs, 1), session.opener.put(1)
    session.turn()
    session.opener.submit_alone(pow, (future, reference), {}, JobOptions(name="one"))
    (page,) = pages(session.turn())
    assert page.edges == [Edge(0, 0, 1, 0)] and page.objects == [Stored(0, bytes(16), 1000)]


# ---- what can't be an argument ---------------------------------------------------------------------------------------


def test_what_belongs_to_another_cluster_is_refused(session):
    other = FakeSession()
    job = other.map(abs, [1])
    for argument in (other.submit(abs, 1), Job(job), Job(job)[0], other.opener.put(1)):
        for call in (lambda a=argument: session.submit(abs, [a]), lambda a=argument: session.map(abs, [a, a])):
            with pytest.raises(ValueError, match=r"belongs to another cluster: pass its results?\(\)"):
                call()
    assert session.submit(abs, -1).name == "abs-1", "the batch isn't harmed"


def test_what_belonged_to_a_cluster_that_is_gone_is_refused(session):
    other = FakeSession()
    future = other.submit(abs, 1)
    other.turn()
    reference = other.opener.put(1)
    other.lost = ClusterUnreachable("gone")
    told = (
        r"the future abs-1 belongs to a cluster whose link is gone: if it was done, pass its result\(\); else submit it"
    )
    with pytest.raises(ClusterUnreachable, match=told):
        session.submit(abs, future)
    told = (
        rf"the reference {reference.id} belongs to a cluster whose link is gone: cluster.put its value again, in this"
    )
    with pytest.raises(ClusterUnreachable, match=told):
        session.submit(abs, reference)


def test_a_map_over_another_cluster_s_job_reads_its_results(session):
    other = FakeSession()
    job = other.map(abs, [1, 2])
    job.succeeded(0, plain(1, 2))
    consumer = session.map(len, Job(job))
    until(lambda: consumer.count == 2)
    session.turn()
    assert items_of(session, 1) == [1, 2]


def test_a_refusal_in_the_middle_of_a_map_leaves_what_was_before(session):
    mine, theirs = session.submit(abs, 1), FakeSession().submit(abs, 1)
    session.turn()
    with pytest.raises(ValueError, match="another cluster"):
        session.map(len, [mine, mine, theirs])
    assert edges_of(session) == [Edge(0, 0, 1, 0), Edge(1, 0, 1, 0)]


@pytest.mark.parametrize("whole", [False, True])
def test_an_item_can_t_wait_for_itself(session, whole):
    jobs = {}

    def items():
        until(lambda: "a" in jobs)
        yield 0
        yield Job(jobs["a"]) if whole else jobs["a"].future(1)

    jobs["a"] = record = session.map(abs, items(), name="a")
    until(lambda: record.count is not None)
    assert record.count == 1 and "a[1] would wait for itself" in str(record.input_error)
    assert edges_of(session) == []


def test_waiting_for_one_s_own_earlier_items_is_no_cycle(session):
    jobs = {}

    def items():
        until(lambda: "a" in jobs)
        yield 0
        for index in range(50):
            yield [jobs["a"].future(index)]

    jobs["a"] = record = session.map(abs, items(), name="a")
    until(lambda: record.count is not None)
    assert record.input_error is None and len(edges_of(session)) == 50


# ---- what is held ----------------------------------------------------------------------------------------------------


def test_inputs_are_held_until_the_item_has_its_result(session):
    record = session.map(abs, [1, 2])
    inputs = [record.future(0), record.future(1)]
    session.turn()
    consumer = session.map(len, inputs)
    gone = weakref.ref(record)
    number = record.number
    session.turn()
    record.succeeded(0, plain(1, 2))
    session.shelf.fetched(record)
    del record, inputs
    gc.collect()
    assert gone() is not None and session.shelf.get(number) is gone()
    consumer.succeeded(0, plain(1))
    gc.collect()
    assert gone() is not None
    consumer.succeeded(1, plain(1))
    gc.collect()
    assert gone() is None


def test_a_failed_item_of_a_job_keeps_its_inputs_for_a_retry(session):
    future = session.submit(abs, 1)
    session.turn()
    consumer = session.map(len, [future])
    session.turn()
    consumer.failed(0, RAISED, [])
    assert consumer.is_over and consumer.inputs
    assert consumer.retry() == 1
    consumer.succeeded(0, plain(1))
    assert consumer.is_over and not consumer.inputs


def test_a_lost_job_holds_nothing(session):
    future = session.submit(abs, 1)
    session.turn()
    consumer = session.map(len, [future])
    consumer.was_lost(ClusterUnreachable("gone"))
    assert not consumer.inputs


# ---- what the cluster asks for again ---------------------------------------------------------------------------------


def answers(session):
    session.turn()
    found = [(message, buffers) for message, buffers in session.sent if isinstance(message, Values)]
    session.sent.clear()
    return found


def test_wanted_results_of_a_map_go_back_in_whole_pages(session):
    record = session.map(abs, range(6))
    record.succeeded(0, plain(0, 1, 2))
    record.succeeded(3, framed([3], [4]))
    session.hear(Wanted(record.number, [(1, 2), (4, 5)]))
    (first, values), (second, rows) = answers(session)
    assert (first.first, first.count, second.first, second.count) == (0, 3, 3, 2)
    assert unpack_plain(Packed(first.kind, 3, tuple(values))) == [0, 1, 2]
    assert [loads(data) for data, _ in framed_items(Packed(second.kind, 2, tuple(rows)))] == [[3], [4]]


def test_wanted_results_in_a_store_are_named_again(session):
    record = session.map(abs, range(2))
    record.succeeded(0, stored(A, B))
    session.hear(Wanted(record.number, [(0, 2)]))
    ((message, _),) = answers(session)
    assert message.objects == [Stored(0, A, 1000), Stored(1, B, 1000)]


@pytest.mark.parametrize("asked", [False, True])
def test_wanted_results_of_submits_are_those_that_an_item_holds(session, asked):
    futures = [session.submit(abs, n) for n in range(3)]
    session.turn()
    consumer = session.submit(sum, [futures[1]])
    record = futures[1]._owner
    futures[1]._owner.succeeded(0, framed([0], [1], [2]))
    if asked:
        assert futures[1].result() == [1]
    del futures
    gc.collect()
    session.hear(Wanted(record.number, [(1, 2)]))
    ((message, rows),) = answers(session)
    values = [loads(data) for data, _ in framed_items(Packed(message.kind, message.count, tuple(rows)))]
    assert message.first == 1 and values == [[1]] and not consumer.done()


def test_what_is_held_no_more_is_said(session):
    record = session.map(abs, range(6))
    record.succeeded(2, plain(2, 3))
    for number, ranges, expected in (
        (record.number, [(0, 6)], [(0, 2, 0), (2, 2, 1), (4, 2, 0)]),
        (99, [(1, 3)], [(1, 2, 0)]),
    ):
        session.hear(Wanted(number, ranges))
        found = [(message.first, message.count, len(buffers)) for message, buffers in answers(session)]
        assert found == expected


# ---- failures --------------------------------------------------------------------------------------------------------

INPUT = ErrorInfo("input", "DependencyFailed", "its input abs-1 failed")


def test_a_failed_input_s_exception_is_the_cause(session):
    future = session.submit(abs, 1)
    session.turn()
    session.hear(
        Failed(1, 0, ErrorInfo("input", "ValueError", "its input g-1 failed", "Traceback: g")),
        pickled(ValueError("three")),
    )
    with pytest.raises(DependencyFailed, match="abs-1: its input g-1 failed") as caught:
        future.result()
    cause = caught.value.__cause__
    assert type(cause) is ValueError and str(cause) == "three" and cause.__cause__.text == "Traceback: g"


@pytest.mark.parametrize("kind", ["future", "job", "source", "chain"])
def test_a_cause_that_did_not_come_is_that_of_the_input_here(session, kind):
    source = session.map(abs, [1, 2])
    session.turn()
    consumer = {
        "future": lambda: session.map(len, [[source.future(0)]]),
        "job": lambda: session.map(len, [[Job(source)]]),
        "source": lambda: session.map(len, Job(source)),
        "chain": lambda: session.map(len, [session.submit(abs, source.future(0))]),
    }[kind]()
    session.turn()
    source.failed(0, RAISED, pickled(ValueError("three")))
    if kind == "chain":
        session.hear(Failed(2, 0, INPUT))
    session.hear(Failed(consumer.number, 0, INPUT))
    error = consumer.error(0)
    assert type(error) is DependencyFailed
    assert type(error.__cause__) is ValueError and error.__cause__.__cause__.text == "Traceback: three"


def test_the_cause_at_the_end_of_a_long_chain_is_found(session):
    future = session.submit(abs, 1)
    for _ in range(3000):
        future = session.submit(abs, future)
    session.turn()
    session.hear(Failed(1, 0, RAISED), pickled(ValueError("three")))
    for index in range(1, 3001):
        session.hear(Failed(1, index, INPUT))
    assert str(future.exception().__cause__) == "three"


def test_a_circle_has_no_cause_but_says_so(session):
    go_on = threading.Event()

    def items():
        go_on.wait(60)
        yield other

    record = session.map(abs, items())
    other = session.submit(abs, record.future(0))
    go_on.set()
    until(lambda: record.count == 1)
    session.turn()
    for number in (record.number, 2):
        session.hear(Failed(number, 0, INPUT))
    assert type(record.error(0)) is DependencyFailed and record.error(0).__cause__ is None


def test_without_any_cause_it_still_says_what_happened(session):
    future = session.submit(abs, 1)
    session.turn()
    session.hear(Failed(1, 0, INPUT))
    assert type(future.exception()) is DependencyFailed and future.exception().__cause__ is None


def test_a_value_that_is_gone_is_object_lost(session):
    future = session.submit(abs, 1)
    session.turn()
    session.hear(Failed(1, 0, ErrorInfo("gone", "ObjectLost", "the value of put 1 is in no store")))
    with pytest.raises(ObjectLost, match="in no store"):
        future.result()


def test_who_asks_for_the_dependent_hears_of_the_input_s_failure(session, caplog):
    future = session.submit(abs, 1)
    session.turn()
    consumer = session.submit(abs, [future])
    session.turn()
    session.hear(Failed(1, 0, RAISED), pickled(ValueError("three")))
    session.hear(Failed(2, 0, INPUT))
    assert isinstance(consumer.exception(), DependencyFailed)
    del future, consumer
    gc.collect()
    assert not caplog.records


def test_a_dependent_of_a_cancelled_one_is_cancelled(session):
    consumer = session.submit(abs, session.submit(abs, 1))
    session.turn()
    session.hear(CancelledItems(1, [(0, 2)]))
    with pytest.raises(Cancelled):
        consumer.result()


# ---- size and place --------------------------------------------------------------------------------------------------


def test_size_and_place_of_a_result(session):
    record = session.map(abs, range(5))
    futures = [record.future(index) for index in range(5)]
    assert [future.nbytes for future in futures] == [None] * 5 == [future.where for future in futures]
    array = np.zeros(5000)
    record.succeeded(0, plain("text"))
    record.succeeded(1, framed(array))
    record.succeeded(2, stored(A, nbytes=123_456))
    record.failed(3, RAISED, [])
    futures[4].cancel()
    sizes = [future.nbytes for future in futures]
    assert sizes[0] == len(pickle.dumps("text", 5)) and array.nbytes < sizes[1] < array.nbytes + 1000
    assert sizes[2:] == [123_456, None, None]
    places = [future.where for future in futures]
    assert places[:2] == ["client", "client"] and places[2].startswith("store of ") and places[3:] == [None, None]


def test_a_submit_s_size_is_known_after_it_was_decoded(session):
    future = session.submit(abs, 1)
    session.turn()
    future._owner.succeeded(0, framed([1, 2, 3]))
    before = future.nbytes
    assert future.result() == [1, 2, 3] and future.nbytes == before and future.where == "client"


def test_a_collector_adds_nothing_where_nothing_is_met(session):
    collector = Collector(session)
    page = framed([1])
    assert collector.page(page) is page and not collector.expected
