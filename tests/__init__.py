"""The tests mirror app/ and training/; what they share is in conftest.py and fakes.py."""
