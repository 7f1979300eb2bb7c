"""The tests mirror app/ and training/; what they share is in conftest.py, fakes.py and bombs.py."""
