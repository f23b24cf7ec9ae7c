"""The figure of predictions says what each point is compared with."""

from benchmarks import figure, records


def test_a_point_has_the_marker_of_what_it_is_compared_with():
    def rows(method, other, times):
        case = {"target": "tpu-v5e", "case": f"{method}, cnn, batch 1"}
        ours = {"contender": "jaxsal", "times_as_fast": times}
        return [case | ours, case | {"contender": other, "times_as_fast": 1.0}]

    written, unwritten = rows("gradient", records.PLAIN, 2.0), rows("lime", records.UNWRITTEN, 1.0)
    absent = {"target": "h200", "absent": "no plugin"}
    drawn = figure.predictions([{"rows": [*written, *unwritten, absent]}])
    (panel,) = drawn.axes
    assert panel.get_title() == "tpu-v5e" and "plain" not in panel.get_xlabel()
    found = {dots.get_label(): dots.get_offsets().tolist() for dots in panel.collections}
    names = [label.get_text() for label in panel.get_yticklabels()]
    line = {name.split(",")[0]: number for number, name in enumerate(names)}
    labels = [label for _, _, label in figure.AGAINST.values()]
    assert found == dict(
        zip(labels, ([[2.0, line["gradient"]]], [[1.0, line["lime"]]]), strict=True)
    )
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == labels
