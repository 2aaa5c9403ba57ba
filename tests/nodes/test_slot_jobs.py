"""What a slot keeps of what it was sent: results that items waited for, and how an item gets at them."""

import pytest

from twistcluster.errors import ProtocolError
from twistcluster.nodes.slot_jobs import ItemInputs, JobPage, SlotJob, Store
from twistcluster.storage.layout import ObjectGone
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


def input_of(store: Store, job: SlotJob, item: int, number: int) -> object:
    return ItemInputs(store, job.page(item), item).input(number)


def test_an_input_is_the_result_that_its_edge_names() -> None:
    store = Store()
    job = job_with(store, Edge(0, 0, 7, 4), Edge(0, 1, 7, 8), Edge(2, 0, 9, 0))
    keep(store, 7, 7, framed([1], {"two": 2}))
    keep(store, 7, 3, pack_plain(["three", "four"]))
    keep(store, 9, 0, pack_plain([None]))
    assert input_of(store, job, 10, 0) == "four"
    assert input_of(store, job, 10, 1) == {"two": 2}
    assert input_of(store, job, 12, 0) is None


def test_each_item_gets_an_input_of_its_own() -> None:
    store = Store()
    job = job_with(store, Edge(0, 0, 7, 0), Edge(1, 0, 7, 0), Edge(2, 0, 7, -1))
    keep(store, 7, 0, framed([1]))
    input_of(store, job, 10, 0).append(2)
    assert input_of(store, job, 11, 0) == [1]
    input_of(store, job, 12, 0).append(3)
    assert input_of(store, job, 12, 0) == [[1]]


def test_a_whole_job_is_the_list_of_its_results_in_order() -> None:
    store = Store()
    job = job_with(store, Edge(0, 0, 7, -1), Edge(0, 1, 8, -1))
    keep(store, 7, 4, pack_plain([4]))
    keep(store, 7, 0, framed([0], [1]))
    keep(store, 7, 2, pack_plain([2, 3]))
    assert input_of(store, job, 10, 0) == [[0], [1], 2, 3, 4]
    assert input_of(store, job, 10, 1) == []


def test_what_was_dropped_is_gone_and_can_come_again() -> None:
    store = Store()
    job = job_with(store, Edge(0, 0, 7, 0), Edge(0, 1, 7, 1))
    keep(store, 7, 0, pack_plain(["a"]))
    keep(store, 7, 1, pack_plain(["b"]))
    store.drop_values(DropValues(7, [0]))
    assert input_of(store, job, 10, 1) == "b"
    with pytest.raises(ProtocolError, match="never sent"):
        input_of(store, job, 10, 0)
    store.drop_values(DropValues(7, [1]))
    assert not store.results
    keep(store, 7, 0, pack_plain(["c", "d"]))
    assert input_of(store, job, 10, 0) + input_of(store, job, 10, 1) == "cd"


@pytest.mark.parametrize(("item", "number"), [(10, 1), (11, 0)])
def test_an_input_that_no_edge_names(item: int, number: int) -> None:
    store = Store()
    with pytest.raises(ProtocolError, match="has no input"):
        input_of(store, job_with(store, Edge(0, 0, 7, 4)), item, number)


def test_a_stored_result_is_looked_up_in_the_store_of_this_host() -> None:
    store = Store()
    job = job_with(store, Edge(0, 0, 7, 0))
    packer = FramedPacker()
    packer.add(stored_row(b"o" * 16, 1 << 20))
    keep(store, 7, 0, packer.packed())
    with pytest.raises(ObjectGone, match="another host"):
        input_of(store, job, 10, 0)
