"""For authors of plugins: fakes of what the engine gives, and suites of what it expects.

A suite is a class of tests. Derive from it in a test file, so that pytest runs all of it::

    class TestParquetSource(SourceConformance):
        def make_source(self, folder): ...
        def alter(self, folder): ...
"""

from elspeth.testing.fakes import FakeClock, FakeContext, RecordedCall
from elspeth.testing.sinks import SinkConformance
from elspeth.testing.sources import SourceConformance
from elspeth.testing.transforms import TransformConformance

__all__ = [
    "FakeClock",
    "FakeContext",
    "RecordedCall",
    "SinkConformance",
    "SourceConformance",
    "TransformConformance",
]
