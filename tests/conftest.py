"""What all tests share."""

from hypothesis import settings

settings.register_profile("busy machine", deadline=None)  # tests never measure time
settings.load_profile("busy machine")
