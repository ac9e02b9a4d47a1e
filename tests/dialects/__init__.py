"""What the dialects make of the wire."""

import pytest

# A failed comparison of the harness shows both sides, as one in a test does.
pytest.register_assert_rewrite("tests.dialects.corpus")
