"""Makes Schemathesis send real pictures wherever the API document only says bytes."""

from __future__ import annotations

import schemathesis
from hypothesis import strategies as st

from app.imaging.decode import FORMATS
from tests.fuzz.files import intact_files

PICTURES = st.sampled_from([data for kind in FORMATS for data in intact_files(kind)])

schemathesis.openapi.format("binary", PICTURES)
schemathesis.openapi.media_type("image/*", PICTURES)
schemathesis.openapi.media_type("application/octet-stream", PICTURES)
