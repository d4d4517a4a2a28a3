"""The speed of the machine that runs these tests must not decide."""

from hypothesis import settings

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
