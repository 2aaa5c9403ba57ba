"""What a slot keeps of what it was sent: results that items waited for, and how an item gets at them."""

import pytest

from twistcluster.errors import ObjectLost, ProtocolError
from twistcluster.nodes.slot_jobs import JobPage, SlotJob, Store
from twistcluster.wire.messages import DropValues, Edge, OpenJob, Page, Values
from twistcluster.wire.pages import FramedPacker, Packed, pack_plain, stored_row
from twistcluster.wire.values import dumps


def framed(*values: object) -> Packed:
    packer = FramedPacker()
    for value in values:
        encoded = dumps(value)
        packer.add(encoded.data, encoded.buffers)
    return packer.packed()


def keep(store: Store, job: int, first: int, packed: Packed) -> None:
    store.keep_values(Values(job, first, packed.count, packed.kind), [*packed.buffers])


def job_with(store: Store, *edges: Edge) -> SlotJob:
    job = SlotJob(store, OpenJob(1, [], b"c" * 16))
    packed = pack_plain([0, 1, 2])
    job.add(JobPage(Page(1, 10, 3, packed.kind, edges=[*edges]), [*packed.buffers]))
    return job


def test_an_input_is_the_result_that_its_edge_names() -> None:
    store = Store()
    job = job_with(store, Edge(0, 0, 7, 4), Edge(0, 1, 7, 8), Edge(2, 0, 9, 0))
    keep(store, 7, 7, framed([1], {"two": 2}))
    keep(store, 7, 3, pack_plain(["three", "four"]))
    keep(store, 9, 0, pack_plain([None]))
    assert job.input(10, 0) == "four"
    assert job.input(10, 1) == {"two": 2}
    assert job.input(12, 0) is None


def test_each_item_gets_an_input_of_its_own() -> None:
    store = Store()
    job = job_with(store, Edge(0, 0, 7, 0), Edge(1, 0, 7, 0), Edge(2, 0, 7, -1))
    keep(store, 7, 0, framed([1]))
    job.input(10, 0).append(2)
    assert job.input(11, 0) == [1]
    job.input(12, 0).append(3)
    assert job.input(12, 0) == [[1]]


def test_a_whole_job_is_the_list_of_its_results_in_order() -> None:
    store = Store()
    job = job_with(store, Edge(0, 0, 7, -1), Edge(0, 1, 8, -1))
    keep(store, 7, 4, pack_plain([4]))
    keep(store, 7, 0, framed([0], [1]))
    keep(store, 7, 2, pack_plain([2, 3]))
    assert job.input(10, 0) == [[0], [1], 2, 3, 4]
    assert job.input(10, 1) == []


def test_what_was_dropped_is_gone_and_can_come_again() -> None:
    store = Store()
    job = job_with(store, Edge(0, 0, 7, 0), Edge(0, 1, 7, 1))
    keep(store, 7, 0, pack_plain(["a"]))
    keep(store, 7, 1, pack_plain(["b"]))
    store.drop_values(DropValues(7, [0]))
    assert job.input(10, 1) == "b"
    with pytest.raises(ProtocolError, match="never sent"):
        job.input(10, 0)
    store.drop_values(DropValues(7, [1]))
    assert not store.values
    keep(store, 7, 0, pack_plain(["c", "d"]))
    assert job.input(10, 0) + job.input(10, 1) == "cd"


@pytest.mark.parametrize(("item", "number"), [(10, 1), (11, 0)])
def test_an_input_that_no_edge_names(item: int, number: int) -> None:
    with pytest.raises(ProtocolError, match="has no input"):
        job_with(Store(), Edge(0, 0, 7, 4)).input(item, number)


def test_a_stored_result_is_read_from_the_store() -> None:
    store = Store()
    job = job_with(store, Edge(0, 0, 7, 0))
    packer = FramedPacker()
    packer.add(stored_row(b"o" * 16, 1 << 20))
    keep(store, 7, 0, packer.packed())
    with pytest.raises(ObjectLost, match="1,048,576 B"):
        job.input(10, 0)
    store.read_stored = lambda name, nbytes: (name, nbytes)
    assert job.input(10, 0) == (b"o" * 16, 1 << 20)
