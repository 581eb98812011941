import elspeth.simulator


def test_public_names_are_the_sorted_all() -> None:
    names = elspeth.simulator.__all__
    assert sorted(names) == names
    assert all(hasattr(elspeth.simulator, name) for name in names)
