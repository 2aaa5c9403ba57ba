from twistcluster.jupyter.plot import Plot


def draw(ax, new_results, state):
    ax.clear()
    ax.plot(new_results)
    ax.set(title="a title", xlabel="below", ylabel="beside")


def fits(plot):
    room = plot.figure.bbox
    box = plot.axes.get_tightbbox()
    return box.x0 >= room.x0 and box.y0 >= room.y0 and box.x1 <= room.x1 and box.y1 <= room.y1


def test_labels_that_come_with_the_first_results_have_room_at_once():
    plot = Plot(draw)
    plot.png(1.0, passing=True)
    plot.add([1, 2, 3])
    plot.png(1.0, passing=True)
    assert fits(plot)


def test_ticks_with_more_digits_have_room_at_once():
    plot = Plot(draw)
    for results in ([1, 2, 8], [1, 2, 90], [1, 2, 80_000]):
        plot.add(results)
        plot.png(1.0, passing=True)
        assert fits(plot)
