"""The commands that classify pictures, and what they share with `python -m app.client`."""
