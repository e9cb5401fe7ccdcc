import pytest

POINTS = pytest.StashKey[dict]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call":
        report.user_properties.append(("stash", repr(item.stash.get(POINTS, None))))
        report.user_properties.append(("attribute", repr(getattr(item, "points", None))))
    return report
